from __future__ import annotations

from datetime import date
from typing import TYPE_CHECKING

import pytest

from simulators import pricing, truth

if TYPE_CHECKING:
    from pathlib import Path

HEAD = """
name = "Test"
time_zone = "Europe/Zurich"
month = 2026-10-01
seed = 1
quantum = "0.001"
currency = "CHF"
owner = "landlord"
[building]
surface = "100"
[[line]]
id = "m"
protocol = "mbus"
[[profile]]
id = "flat"
weekday = [1, 1, 1, 1, 1, 1, 1, 1]
weekend = [1, 1, 1, 1, 1, 1, 1, 1]
spread = 0
[[meter]]
id = "m1"
line = "m"
model = "emu-professional-375"
address = 1
serial = "1"
[[price]]
source = "electricity"
from = 2026-01-01
price = "1.00"
"""
COUNTER = '[[meter.counters]]\nregister = "r"\nkey = "import"\nsource = "electricity"\nstart = "0"\nprofile = "flat"\n'
HOURS = 31 * 24 + 1  # October has an hour more


def devices(counter: str, rest: str) -> str:
    """The file with one counter that takes 0.001 kWh an hour, and these places and further prices."""
    meter, _, price = HEAD.partition("[[price]]")
    return f"{meter}{COUNTER}{counter}\n[[price]]{price}{rest}"


def october(folder: Path, text: str) -> list[pricing.Line]:
    (folder / "devices.toml").write_text(text)
    building = truth.load(folder)
    return pricing.month(building, building.midnight(date(2026, 10, 1)), building.midnight(date(2026, 11, 1)))


def month(folder: Path, counter: str, places: str) -> list[tuple[str, str, int]]:
    """(place, payer, quanta) of every line of October."""
    return [(line.place, line.payer, line.quantity) for line in october(folder, devices(counter, places))]


def place(name: str, surface: str, stays: str = "") -> str:
    return f'[[place]]\nid = "{name}"\nsurface = {surface}\nstays = [{stays}]\n'


def test_a_move_and_a_vacancy_cut_at_local_midnight(tmp_path: Path) -> None:
    stays = '{ who = "ann", from = 2020-01-01, until = 2026-10-11 }, { who = "bob", from = 2026-10-26 }'
    assert month(tmp_path, 'place = "a"', place("a", '"20"', stays)) == [
        ("a", "ann", 240),
        ("a", "landlord", 361),  # the hour more is in the night to the 25th
        ("a", "bob", 144),
    ]


def test_building_scope_leaves_a_remainder_to_the_owner(tmp_path: Path) -> None:
    shared = 'shared = { scope = "building", key = "surface", places = ["a", "b"] }'
    lines = month(tmp_path, shared, place("a", '"20"') + place("b", '"40"', '{ who = "bob", from = 2020-01-01 }'))
    assert lines == [("a", "landlord", 149), ("b", "bob", 298), ("_remainder", "landlord", 298)]


def test_unit_scope_shares_everything_between_the_places(tmp_path: Path) -> None:
    shared = 'shared = { scope = "unit", key = "surface", places = ["b", "a"] }'
    lines = month(tmp_path, shared, place("a", '"20"') + place("b", '"40"'))
    assert lines == [("a", "landlord", 248), ("b", "landlord", 497)]  # 248.33 and 496.67


def test_a_value_that_changes_cuts_a_piece_with_its_own_shares(tmp_path: Path) -> None:
    shared = 'shared = { scope = "unit", key = "surface", places = ["a", "b"] }'
    changing = '[{ value = "40" }, { from = 2026-10-11, value = "20" }]'
    lines = month(tmp_path, shared, place("a", '"20"') + place("b", changing))
    assert lines == [
        ("a", "landlord", 80),
        ("b", "landlord", 160),
        ("a", "landlord", 253),  # 252.5 each: the spare quantum goes to the earlier line
        ("b", "landlord", 252),
    ]


def test_no_place_with_any_weight_leaves_all_to_the_owner(tmp_path: Path) -> None:
    shared = 'shared = { scope = "unit", key = "surface", places = ["a"] }'
    assert month(tmp_path, shared, place("a", '"0"')) == [("_remainder", "landlord", HOURS)]


def test_a_price_change_cuts_only_the_places_concerned_and_half_a_cent_is_rounded_up(tmp_path: Path) -> None:
    prices = (
        '[[price]]\nsource = "electricity"\nfrom = 2026-10-11\nprice = "2.00"\n'
        '[[price]]\nsource = "electricity"\nfrom = 2026-01-01\nprice = "1.25"\nplaces = ["b"]\n'
    )
    shared = 'shared = { scope = "unit", key = "surface", places = ["a", "b"] }'
    lines = october(tmp_path, devices(shared, prices + place("a", '"20"') + place("b", '"20"')))
    assert [(line.place, line.quantity, line.amount) for line in lines] == [
        ("a", 120, 12),
        ("a", 253, 51),  # 252.5 and 372.5: the tie goes to the earlier line; 50.6 and 46.5 are rounded half up
        ("b", 372, 47),
    ]


def test_the_truth_is_the_same_every_time_and_only_grows(tmp_path: Path) -> None:
    text = devices('place = "a"', place("a", '"20"'))
    (tmp_path / "devices.toml").write_text(text.replace("spread = 0", "spread = 50").replace("1, 1, 1", "90, 0, 7"))
    buildings = truth.load(tmp_path), truth.load(tmp_path)
    courses = []
    for building, hours in zip(buildings, (range(100), reversed(range(100))), strict=True):
        counter = building.devices[0].counters[0]
        courses.append({hour: building.counts(counter, building.begins + hour * truth.HOUR) for hour in hours})
    assert courses[0] == courses[1]
    assert sorted(courses[0].values()) == [courses[0][hour] for hour in range(100)]
    assert courses[0][99] > 0


@pytest.mark.parametrize(
    ("wrong", "right", "said"),
    [
        ('owner = "landlord"', "", "'owner' is missing"),
        ("Europe/Zurich", "Europe/Zorich", "Zorich"),
        ('start = "0"', 'start = "0.0001"', "not a whole number"),
        ("emu-professional-375", "emu", "'emu' is missing or named nowhere"),
        ("seed = 1", "seed = ", "Invalid value"),
    ],
)
def test_a_building_that_cannot_be_used_is_one_sentence(tmp_path: Path, wrong: str, right: str, said: str) -> None:
    text = devices('place = "a"', place("a", '"20"'))
    assert wrong in text
    (tmp_path / "devices.toml").write_text(text.replace(wrong, right))
    with pytest.raises(truth.TruthError, match=said) as refused:
        truth.load(tmp_path)
    assert str(tmp_path / "devices.toml") in str(refused.value)


def test_a_folder_without_building_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(truth.TruthError, match="Give a folder"):
        truth.load(tmp_path)


LAUNDRY = """
[[machine]]
id = "washer"
access_point = "washer"
line = "m"
relay = 9
meter = "m1"
[[price]]
source = "cycle"
from = 2026-01-01
price = "1.20"
[[price]]
source = "electricity"
from = 2026-10-05
price = "2.00"
[[wash]]
machine = "washer"
at = 2026-10-04T10:10:00
minutes = 30
badge = "04A1B2C3"
who = "bob"
place = "b"
energy = "0.850"
[[wash]]
machine = "washer"
at = 2026-10-04T12:10:00
badge = "04A1B2C4"
"""


def test_a_wash_is_its_badges_at_the_prices_of_its_start_and_the_counter_counts_it(tmp_path: Path) -> None:
    places = place("a", '"20"') + place("b", '"20"')
    lines = october(tmp_path, devices('place = "a"', places + LAUNDRY))
    of_bob = [(line.register, line.place, line.quantity, line.amount) for line in lines if line.payer == "bob"]
    assert of_bob == [("r", "b", 850, 85), ("r (cycles)", "b", 1000, 120)]
    assert sum(line.quantity for line in lines if line.place == "a") == HOURS
    building = truth.load(tmp_path)
    (counter,) = building.devices[0].counters
    green, red = building.washes
    assert (green.lamp, red.lamp) == ("green", "red")
    before, after = (building.counts(counter, at) - building.unbadged(counter, at) for at in (green.start, green.until))
    assert (before, after) == (0, 850)


def test_a_wash_must_end_before_the_meters_are_read(tmp_path: Path) -> None:
    text = devices('place = "a"', place("a", '"20"') + LAUNDRY.replace("minutes = 30", "minutes = 55"))
    with pytest.raises(truth.TruthError, match="goes beyond its hour"):
        october(tmp_path, text)
