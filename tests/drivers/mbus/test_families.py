"""Every meter family that a telegram was captured of has a model file, which recognises it and no other."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

import pytest
from pydantic import ValidationError

from drivers.mbus.driver import driver
from drivers.mbus.frame import FrameError
from drivers.mbus.link import split
from drivers.mbus.model import FAMILIES, MODELS, MBusModel, read_registers, stored_values
from drivers.mbus.settings import MeterSettings
from drivers.mbus.telegram import Telegram, decode
from drivers.model import mismatches
from gateway.ports.field import WrongAnswerError
from tests.drivers.mbus.slave import CAPTURED, long_frame

if TYPE_CHECKING:
    from collections.abc import Sequence

HEADER = "72785634122440010755000000"
RECORDS = "0413e8030000" + "4413f4010000" + "426c1f0c"


def answers() -> dict[str, Telegram]:
    """The captured answers that say whose they are."""
    found = {}
    for name, octets in CAPTURED.items():
        with contextlib.suppress(FrameError):  # some were captured for being wrong
            found[name] = decode(octets)
    return {name: telegram for name, telegram in found.items() if telegram.header.manufacturer is not None}


ANSWERS = answers()


def recognised(telegrams: Sequence[Telegram]) -> tuple[str, ...]:
    """Names of the models that this answer fits: identity, and every register with a value."""
    header = telegrams[0].header
    return tuple(name for name, model in FAMILIES.items() if model.is_of(header) and delivers(model, telegrams))


def delivers(model: MBusModel, telegrams: Sequence[Telegram]) -> bool:
    try:
        _, without = read_registers(model, telegrams)
    except WrongAnswerError:
        return False
    return not without


def test_all_captured_answers_are_looked_at() -> None:
    assert len(ANSWERS) == 34


@pytest.mark.parametrize("name", ANSWERS)
def test_a_captured_answer_is_recognised_as_one_family(name: str) -> None:
    assert len(recognised([ANSWERS[name]])) == 1


@pytest.mark.parametrize("name", FAMILIES)
def test_a_model_recognises_its_own_proofs(name: str) -> None:
    for proof in FAMILIES[name].proof:
        assert recognised([decode(octets) for octets in split(proof.octets)]) == (name,)


def test_a_meter_of_a_known_maker_without_the_registers_is_not_recognised() -> None:
    assert recognised([decode(long_frame(bytes.fromhex("72" + "7803491177040e1600000000" + "0c7878034911")))]) == ()


@pytest.mark.parametrize("name", sorted(set(FAMILIES) - set(MODELS)))
def test_a_family_that_is_not_billed_is_recognised_and_not_wired(name: str) -> None:
    model = FAMILIES[name]
    (proof,) = model.proof
    header = decode(proof.octets).header

    assert mismatches(proof, header.id or "", header.status or 0, ()) == []
    assert name not in driver.models()
    with pytest.raises(ValidationError, match="is no model of an M-Bus meter"):
        MeterSettings.model_validate({"model": name, "address": 1})


# storage registers


def model(**changes: object) -> MBusModel:
    register = {"key": "volume", "kind": "volume", "dib_vib": "0413", "unit": "m3", "exponent": -3, "obis": "8-0:1.0.0"}
    storage = {"register": "volume", "dib_vib": "4413", "date": "426c", "taken": "end"} | changes
    return MBusModel.model_validate(
        {
            "protocol": "mbus",
            "make": "Test",
            "models": ["one register"],
            "identity": {"manufacturer": "PAD", "medium": 7},
            "register": [register],
            "storage": [storage],
            "proof": [
                {
                    "origin": "constructed",
                    "source": "here",
                    "raw": "00",
                    "expect": {"serial": "", "status": 0, "volume": ""},
                }
            ],
        }
    )


def stored(records: str, **changes: object) -> list[tuple[str, str, str]]:
    telegram = decode(long_frame(bytes.fromhex(HEADER + records)))
    values = stored_values(model(**changes), [telegram])
    return [(value.at.isoformat(), str(value.index), value.obis) for value in values]


@pytest.mark.parametrize(
    ("date", "changes", "moment"),
    [
        pytest.param("426c1f0c", {}, "2001-01-01T00:00:00", id="at the end of its day"),
        pytest.param("426c1f0c", {"taken": "start"}, "2000-12-31T00:00:00", id="at the start of its day"),
        pytest.param("446d1e2f0a15", {"date": "446d"}, "2008-05-10T15:30:00", id="with its time of day"),
    ],
)
def test_a_stored_value_has_the_moment_that_its_date_record_says(
    date: str, changes: dict[str, object], moment: str
) -> None:
    found = stored("0413e8030000" + "4413f4010000" + date, **changes)

    assert found == [(moment, "0.500", "8-0:1.0.0*1")]


@pytest.mark.parametrize(
    "records",
    [
        pytest.param("4413f4010000", id="no date"),
        pytest.param("4413f4010000" + "426cffff", id="a date that is none"),
        pytest.param("4413f4010000" + "426cfffc", id="a date of every year, and no clock"),
        pytest.param("4413f4010000" + "426cfffc" + "046d80000000", id="a date of every year, and an invalid clock"),
        pytest.param("4413f4010000" + "426cffff" + "046d1e2f0a15", id="a date of every month"),
        pytest.param("426c1f0c", id="no value"),
        pytest.param("441300000080" + "426c1f0c", id="the smallest number, which says that there is none"),
    ],
)
def test_what_has_no_date_or_no_value_is_not_stored(records: str) -> None:
    assert stored("0413e8030000" + records) == []


@pytest.mark.parametrize(
    ("date", "changes", "moment"),
    [
        pytest.param("426cfffc", {}, "2008-01-01T00:00:00", id="31 December"),
        pytest.param("426cfef4", {}, "2008-05-01T00:00:00", id="30 April"),
        pytest.param("426ceaf5", {"taken": "start"}, "2008-05-10T00:00:00", id="the meter's today"),
        pytest.param("426cebf5", {"taken": "start"}, "2007-05-11T00:00:00", id="the meter's tomorrow"),
    ],
)
def test_a_date_of_every_year_is_the_last_one_by_the_meters_own_clock(
    date: str, changes: dict[str, object], moment: str
) -> None:
    clock = "046d1e2f0a15"  # 2008-05-10 15:30
    found = stored("0413e8030000" + "4413f4010000" + date + clock, **changes)

    assert found == [(moment, "0.500", "8-0:1.0.0*1")]


def test_the_29th_of_february_of_every_year_is_one_only_in_a_leap_year() -> None:
    kept = "0413e8030000" + "4413f4010000" + "426cfdf2"
    assert stored(kept + "046d1e2f0a15", taken="start") == [("2008-02-29T00:00:00", "0.500", "8-0:1.0.0*1")]
    assert stored(kept + "046d1e2f4a15", taken="start") == []


def test_the_settings_say_whether_a_meters_clock_goes_with_summer_time() -> None:
    telegram = decode(long_frame(bytes.fromhex(HEADER + "0413e8030000" + "4413f4010000" + "426c1f0c")))
    for said, expected in ((None, False), (True, True)):
        (value,) = stored_values(model(), [telegram], daylight_saving=said)
        assert value.daylight_saving is expected


def test_a_number_that_looks_like_a_date_is_none() -> None:
    assert stored("0413e8030000" + "4413f4010000" + "4c7831120020", date="4c78") == []


# schema


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"register": []}, "a model has registers, or says in `unbilled` why there are none"),
        ({"unbilled": "why"}, "a model has registers, or says in `unbilled` why there are none"),
        ({"read_budget_per_day": 300}, "a battery has both"),
        ({"selections_per_day": 90}, "a battery has both"),
        ({"storage": [{"register": "heat", "dib_vib": "4413", "date": "426c", "taken": "end"}]}, "that there is not"),
        ({"storage": [{"register": "volume", "dib_vib": "4413", "date": "426c"}]}, "taken"),
    ],
)
def test_a_model_file_that_contradicts_itself_is_refused(changes: dict[str, Any], text: str) -> None:
    given = model().model_dump(by_alias=True) | changes

    with pytest.raises(ValidationError, match=text):
        MBusModel.model_validate(given)


def test_a_selection_costs_a_battery_more_than_a_request_by_primary_address() -> None:
    assert driver.reads_per_day(MeterSettings(model="engelmann-waterstar-m", address=1)) == 300
    assert driver.reads_per_day(MeterSettings(model="engelmann-waterstar-m", secondary="04990254")) == 90
    assert driver.reads_per_day(MeterSettings(model="emu-professional-375", secondary="00032629")) is None
