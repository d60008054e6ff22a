"""A session whose indexes are in doubt is held until a person has said what they are."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from gateway.core.charge import charge_session, settle
from gateway.core.metering import Exchange, Reading
from gateway.core.track import track
from gateway.core.units import Scaled
from tests.core.test_session_charges import POWER, house, wash
from tests.core.worlds import HOURS, TERMS, at

if TYPE_CHECKING:
    from datetime import datetime

    from gateway.core.charge import EndedSession, Settlement
    from gateway.core.metering import Register

WASH = wash(10, 11, 100, 950)
HALF_PAST = at(10) + timedelta(minutes=30)
DAILY = replace(POWER, max_per_day=Scaled(100, 0))


def read(when: datetime, wh: int, serial: str = "4711") -> Reading:
    return Reading(meter="m", register="r", at=when, index=Scaled(wh, -3), unit="kWh", serial=serial)


def settled(register: Register, session: EndedSession, *heard: Reading) -> Settlement:
    """A month of which this was read, and its first and its last instant."""
    course = track(register, [read(at(0), 0), *heard, read(at(HOURS), 30_000, heard[-1].serial)])
    return settle(replace(house(), registers={"r": register}), {"r": course}, TERMS, {}, [session])


def billed(found: Settlement) -> list[str]:
    return [str(one.quantity) for one in found.charges if one.session is not None and one.component == "energy"]


def held(found: Settlement) -> list[str]:
    return [hold.code for hold in found.holds if hold.session == "s-1"]


@pytest.mark.parametrize(
    ("named", "first", "last", "code"),
    [
        ("4711", "4711", "4711", None),
        ("00 4711", "4711", "0004711", None),
        ("", "4711", "4711", None),
        ("4711", "", "", None),
        ("4711", "", "4712", "identity_changed"),
        ("4711", "4712", "4712", "identity_changed"),
        ("4711", "4712", "4711", "identity_changed"),
        ("", "4711", "4712", "identity_changed"),
    ],
)
def test_a_session_that_another_meter_counted_is_held(named: str, first: str, last: str, code: str | None) -> None:
    """Also before its readings were looked at: as when the session ends."""
    book = replace(house(), registers={"r": replace(POWER, serial=named)})
    charges, holds = charge_session(book, TERMS, replace(WASH, first_serial=first, serial=last))
    assert [hold.code for hold in holds] == ([] if code is None else [code])
    assert [str(one.quantity) for one in charges] == (["0.850", "1"] if code is None else [])
    if code:
        assert holds[0].text.startswith(
            "session s-1: nothing is charged for it until its indexes are believed: another"
        )


def test_a_session_of_a_meter_that_property_data_do_not_name_is_held_where_the_readings_say_another() -> None:
    stranger = replace(WASH, first_serial="4712", serial="4712")
    found = settled(POWER, stranger, read(at(9), 90), read(at(10), 100, "4712"), read(at(11), 950, "4712"))
    assert (held(found), billed(found)) == (["identity_changed"], [])


@pytest.mark.parametrize(("first", "last"), [(50_000, 50_850), (100, 50_850)])
def test_a_session_that_begins_or_ends_with_a_reading_that_cannot_be_is_held(first: int, last: int) -> None:
    session = wash(10, 11, first, last)
    found = settled(DAILY, session, read(at(9), 90), read(at(10), first), read(at(11), last), read(at(12), 960))
    assert (held(found), billed(found)) == (["index_jump"], [])


def test_a_wrong_reading_between_two_right_ones_holds_no_session() -> None:
    middle = read(HALF_PAST, 50_000, "4712")
    found = settled(POWER, WASH, read(at(10), 100), middle, read(at(11), 950))
    assert (held(found), billed(found)) == ([], ["0.850"])


def test_a_session_in_which_the_meter_was_exchanged_is_charged_what_both_counted_once_the_exchange_is_entered() -> None:
    session = replace(wash(10, 11, 100, 40), first_serial="4711", serial="4712")
    heard = (read(at(10), 100), read(at(11), 40, "4712"))
    assert held(settled(POWER, session, *heard)) == ["identity_changed"]
    exchange = Exchange(at=HALF_PAST, final=Scaled(400, -3), start=Scaled(10, -3), serial="4712")
    found = settled(replace(POWER, exchanges=(exchange,)), session, *heard)
    assert (held(found), billed(found)) == ([], ["0.330"])
    (energy,) = [one for one in found.charges if one.session is not None and one.component == "energy"]
    assert [(one.serial, str(one.quantity)) for one in energy.segments] == [("4711", "0.300"), ("4712", "0.030")]
    wrong = replace(exchange, serial="4713")
    assert held(settled(replace(POWER, exchanges=(wrong,)), session, *heard)) == ["identity_changed"]
