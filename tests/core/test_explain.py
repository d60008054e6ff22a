"""What `submeter explain` says is the arithmetic of the charge."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from gateway.core.building import BillingPoint, Building, Dated, Link
from gateway.core.charge import Charge, charge_id, compare
from gateway.core.explain import Names, explain_charge
from gateway.core.metering import Exchange, Reading
from gateway.core.occupancy import Occupancy
from gateway.core.period import MIN, Period
from gateway.core.tariff import Price
from gateway.core.units import Scaled
from tests.core.worlds import FACILITY, KEY, MONTH, RATE, REGISTER, START, World, worlds_book

NAMES = Names(users={"eva": "Eva E"}, points={"p": "Flat (p)"}, meters={"m": "Heat (m)"})


def _world(*, modulus: str | None = None, last: str = "130.001") -> World:
    """20 of 60 m2 of a register that counted 30.001 kWh, vacant until the eleventh day."""
    values = {KEY: Dated(steps=((MIN, Scaled(60, 0)),))}
    area = {KEY: Dated(steps=((MIN, Scaled(20, 0)),))}
    register = replace(REGISTER, modulus=None if modulus is None else Scaled.parse(modulus), max_per_day=Scaled(100, 0))
    moved = START + timedelta(days=10)
    book = worlds_book(
        buildings={"b": Building(id="b", facility=FACILITY.id, name="b", values=values)},
        points={"p": BillingPoint(id="p", building="b", name="p", kind="apartment", values=area)},
        registers={"r": register},
        links={"l": Link(id="l", register="r", point="p", scope="building", key=KEY)},
        occupancies={"o": Occupancy(id="o", point="p", user="eva", period=Period(moved))},
        rates={"rate": replace(RATE, prices=(Price(version=1, period=Period(), price=Scaled.parse("0.2500")),))},
    )
    indexes = ((MONTH.start, "100.000"), (moved, "110.000"), (MONTH.until, last))
    heard = [Reading(meter="m", register="r", at=at, index=Scaled.parse(text), unit="kWh") for at, text in indexes]
    return World(book=book, readings=tuple(heard))


def _text(charge: Charge) -> str:
    return "\n".join(explain_charge(charge, charge_id(charge), NAMES))


def test_a_share_is_explained_from_the_indexes_to_the_amount() -> None:
    vacant, lived, rest = _world().charges()
    assert "owner pays for Flat (p), because owner owns it, and nobody occupied it in this period." in _text(vacant)
    text = _text(lived)
    assert "Eva E pays for Flat (p), because Eva E lives or works there in this period." in text
    assert "counted: 130.001 - 110.000 = 20.001 kWh" in text
    assert "Flat (p): 20 m2; building b: 60 m2." in text
    assert "Share: 20.001 kWh x 20 / 60 = 6.667 kWh" in text
    assert "6.667 kWh x 0.2500 CHF = 1.66675 CHF, rounded to 0.01: 1.67 CHF" in text
    assert "What is left for the owner: 40 m2; building b: 60 m2." in _text(rest)


def test_the_code_that_a_register_has_on_the_meter_itself_stands_beside_it() -> None:
    one = _world()
    swapped = World(book=one.book, readings=tuple(replace(each, obis="1-0:2.8.0") for each in one.readings))
    assert "  Heat (m), register r (1-0:2.8.0 on the meter):" in _text(swapped.charges()[0])
    assert "  Heat (m), register r:" in _text(one.charges()[0]), "none is known"


def test_what_a_meter_reported_of_itself_with_a_reading_stands_beside_that_reading() -> None:
    charge = _world().charges()[0]
    said = replace(NAMES, statuses={("m", MONTH.start): "power low"})
    (line,) = [each for each in explain_charge(charge, charge_id(charge), said) if "power low" in each]
    assert line.startswith("    at the start  100.000 kWh  on ")
    assert line.endswith(", read from the meter (the meter reported power low)")


def test_a_share_that_takes_no_finite_decimals_is_marked_and_its_rounding_explained() -> None:
    vacant = _world().charges()[0]
    text = _text(vacant)
    assert "Share: 10.000 kWh x 20 / 60 = 3.333333... kWh" in text
    assert "In whole steps of 0.001 kWh, so that all shares together are the 30.001 kWh" in text


def test_a_rollover_is_explained() -> None:
    text = _text(_world(modulus="1000", last="5.000").charges()[1])
    assert (
        "counted: 5.000 - 110.000 + 1000 (the counter passed its highest number and began again at 0) = 895.000" in text
    )


def test_a_reversal_names_the_charge_that_it_takes_back_and_why() -> None:
    published = _world().charges()
    back = compare([], published)[0]
    assert back.kind == "reversal"
    assert f"It takes back charge {back.replaces} (link)" in _text(back)


def test_an_index_of_an_exchange_names_it_and_another_one_read_by_hand_does_not() -> None:
    one = _world()
    at = START + timedelta(days=20)
    exchange = Exchange(at=at, final=Scaled.parse("120.000"), start=Scaled.parse("5.000"))
    book = replace(one.book, registers={"r": replace(one.book.registers["r"], exchanges=(exchange,))})
    last = replace(one.readings[-1], index=Scaled.parse("9.000"), origin="manual")
    charge = World(book=book, readings=(*one.readings[:-1], last)).charges()[1]
    names = replace(NAMES, exchanges={"r": (at,)})
    lines = explain_charge(charge, charge_id(charge), names)
    (ends, begins) = [line.split("  ")[-1] for line in lines if "exchange" in line]
    assert ends == begins == "entered at the exchange of 21.10.2026 00:00"
    assert any("9.000 kWh  on 01.11.2026 00:00, read by hand" in line for line in lines)


def test_an_estimate_that_an_index_entered_by_hand_bounds_says_so_and_another_one_does_not() -> None:
    one = _world()
    first, *_ = one.readings
    after = replace(first, at=MONTH.until + timedelta(days=9), index=Scaled.parse("140.000"))  # of forty days
    by_hand = replace(first, at=START + timedelta(days=20), index=Scaled.parse("135.000"), origin="manual")
    for readings, bounded in (((first, after), False), ((first, by_hand, after), True)):
        (*_, last) = World(book=one.book, readings=readings).charges()
        (line,) = [each for each in explain_charge(last, charge_id(last), NAMES) if "at the end" in each]
        assert ("100.000 on 01.10.2026 00:00 and 140.000 on 10.11.2026 00:00" in line) is True
        assert ("; an index entered by hand or kept by the meter between them bounds it" in line) is bounded


def test_an_estimate_from_an_index_that_a_small_backflow_holds_is_not_laid_to_a_hand_alone() -> None:
    one = _world()
    (first, *_), (register, *_) = one.readings, one.book.registers.values()
    backflow = replace(register, backflow=Scaled.parse("10"))
    fallen = replace(first, at=START + timedelta(days=30), index=Scaled.parse("95.000"))
    after = replace(first, at=MONTH.until + timedelta(days=9), index=Scaled.parse("140.000"))
    book = replace(one.book, registers={register.id: backflow})
    (*_, last) = World(book=book, readings=(first, fallen, after)).charges()
    (line,) = [each for each in explain_charge(last, charge_id(last), NAMES) if "at the end" in each]
    assert line.endswith("bounds it, or a small backflow holds a higher one")
