"""Another meter answers and nobody has said what happened: nothing is billed from then on, whatever month it is."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from fractions import Fraction
from typing import TYPE_CHECKING

import pytest

from gateway.core.charge import Terms
from gateway.core.metering import Stranger
from gateway.core.period import MIN, Period
from gateway.service.accruals import ACCRUALS, Accruals
from gateway.service.command_execute import Commander
from gateway.service.command_schema import Exchange, Set, VoidSpan
from gateway.service.foresee import foreseen
from gateway.service.judge import Judge
from gateway.service.property import book_of
from gateway.service.settlement import settled
from gateway.store import Store
from tests.adapters.stores import new_store, poll, reading
from tests.adapters.test_settle import NOVEMBER, OCTOBER, PROPERTY, House

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Collection, Mapping
    from datetime import datetime
    from pathlib import Path

    from gateway.core.canonical import Json
    from gateway.core.problem import Hold
    from gateway.service.command_schema import Command

DAY = timedelta(days=1)
HOUR = timedelta(hours=1)
DECEMBER = NOVEMBER + 30 * DAY
END = DECEMBER + 31 * DAY
MONTHS = [Period(OCTOBER, NOVEMBER), Period(NOVEMBER, DECEMBER), Period(DECEMBER, END)]
CHANGED = NOVEMBER - 16 * DAY
"""a day after the old meter's last reading"""
LAST = CHANGED - DAY
REGISTER = "heat-01-heat"
WHOLE = [745, 720, 744]
"""kWh of each month"""


def shown(at: datetime, serial: str = "4711") -> str:
    return str((at - OCTOBER) // HOUR + (1000 if serial == "4712" else 0))


def hours(start: datetime, until: datetime) -> int:
    return (until - start) // HOUR


class Street(House):
    """A house whose first meter counts 1 kWh an hour until January, read each day and judged."""

    async def heard(self, *, changed: datetime = CHANGED, back: datetime = END + DAY, old: str = "4711") -> None:
        """`back`: when the first meter answers again."""
        judge = Judge(self.store, self.store, self.store)
        polls = []
        for at in (OCTOBER, *(NOVEMBER + n * DAY for n in range(-30, 62))):
            serial = "4712" if changed <= at < back else old
            polls.append(poll(reading(at, shown(at, serial), serial=serial)))
        first = next(place for place, one in enumerate(polls) if one.at >= changed)
        for together in (polls[:first], polls[first : first + 1], polls[first + 1 :]):
            await judge.keep(together)

    async def settle(self, now: datetime = END + 3 * DAY) -> None:
        self.clock.shown = now
        await self.settler.settle_due()

    async def did(self, command: Command) -> None:
        commander = Commander(store=self.store, clock=self.clock, seal=lambda identifier: identifier)
        answer = await commander.execute(command, "meier")
        assert answer.applied, answer

    async def energy(self) -> list[Fraction]:
        """What is billed of each month."""
        found = {f"2026-{number}": Fraction(0) for number in (10, 11, 12)}
        for charge in await self.published():
            found[charge["closing"]] += Fraction(charge["quantity"])
        return list(found.values())

    async def held(self, period: Period) -> list[Hold]:
        book = book_of(await self.store.property_rows(None))
        terms = Terms(gateway="gw", facility="f", period=period, closing="c")
        found = await settled(self.store, book, terms)
        return [hold for hold in found.holds if hold.register == REGISTER]

    async def exchange(self, **named: str) -> None:
        at = CHANGED - DAY / 2
        final, start = ({"heat": shown(at, serial)} for serial in ("4711", "4712"))
        told = {"meter": "heat-01", "at": at.isoformat(), "final": final, "start": start, **named}
        await self.did(Exchange.model_validate(told))


@pytest.fixture
async def street(tmp_path: Path) -> AsyncIterator[Street]:
    async with Store(new_store(tmp_path)) as store:
        one = Street(store)
        await one.told(PROPERTY)
        yield one


async def test_the_months_after_an_unnoticed_exchange_are_held_until_it_is_entered(street: Street) -> None:
    await street.heard()
    await street.settle()
    assert await street.energy() == [hours(OCTOBER, LAST), 0, 0], "what the old meter counted"
    for period in MONTHS[1:]:
        (hold,) = await street.held(period)
        assert (hold.code, hold.start, hold.until) == ("identity_changed", period.start, period.until)
        assert "meter 4712 answers since 2026-10-15T23:00:00Z where 4711 did: record the exchange" in hold.text
        assert "(submeter exchange heat-01)" in hold.text
    alarms = {each for each in await street.alarms() if each[1] == REGISTER}
    assert alarms == {("reading_implausible", REGISTER)}, "one anomaly, one alarm"

    await street.exchange(serial="4712")
    await street.settle()
    assert await street.energy() == WHOLE
    assert await street.held(MONTHS[1]) == []


async def test_a_month_that_is_settled_while_nobody_has_decided_is_told_where_no_alarm_of_polling_is(
    street: Street,
) -> None:
    await street.heard()
    for alarm in await street.store.open_alarms():
        await street.store.end_alarm(alarm.code, alarm.source, END)
    await street.settle()
    assert ("identity_changed", REGISTER) in await street.alarms()
    assert await street.energy() == [hours(OCTOBER, LAST), 0, 0]


async def test_they_are_billed_once_the_number_is_in_property_data(street: Street) -> None:
    await street.heard()
    await street.settle()
    await street.did(Set.model_validate({"kind": "meter", "id": "heat-01", "value": {"serial": "4712"}}))
    await street.settle()
    assert await street.energy() == [hours(OCTOBER, LAST), *WHOLE[1:]], "what is published of October stays"


@pytest.mark.parametrize("stretch", [(OCTOBER, CHANGED), (CHANGED, END + DAY)], ids=["the first", "the second"])
async def test_they_are_billed_or_pending_once_the_readings_of_one_are_void(
    street: Street, stretch: tuple[datetime, datetime]
) -> None:
    await street.heard()
    await street.settle()
    edges = {"from": stretch[0].isoformat(), "to": stretch[1].isoformat()}
    await street.did(VoidSpan.model_validate({"meter": "heat-01", "reason": "crossed", "yes": True, **edges}))
    await street.settle()
    if stretch[0] == OCTOBER:
        assert await street.energy() == [hours(CHANGED, NOVEMBER), *WHOLE[1:]]
    else:
        assert await street.energy() == [hours(OCTOBER, LAST), 0, 0]
        assert {hold.code for period in MONTHS for hold in await street.held(period)} == {"outside"}


async def test_months_in_which_the_first_meter_answers_again_are_billed(street: Street) -> None:
    await street.heard(back=NOVEMBER - 5 * DAY)
    await street.settle()
    assert (await street.energy())[1:] == WHOLE[1:]


async def test_the_first_number_counts_however_long_none_was_read_between(street: Street) -> None:
    """Of a meter that gave none for a month nobody knows when the other one took its place."""
    await street.heard(changed=DECEMBER, old="")
    await street.store.keep([poll(reading(OCTOBER + HOUR, "1", serial="4711"))])
    await street.settle()
    assert await street.energy() == [WHOLE[0], hours(NOVEMBER, DECEMBER - DAY), 0]
    (hold,) = await street.held(MONTHS[2])
    assert "meter 4712 answers since 2026-11-30T23:00:00Z where 4711 did" in hold.text


async def test_a_number_that_was_not_read_before_is_no_stranger(street: Street) -> None:
    await street.heard(old="")
    await street.settle()
    assert not [hold for hold in await street.held(MONTHS[2]) if hold.code == "identity_changed"]


async def test_after_an_exchange_without_a_number_the_first_one_read_counts(street: Street) -> None:
    await street.heard()
    await street.exchange()
    await street.settle()
    assert await street.energy() == WHOLE
    await street.store.keep([poll(reading(CHANGED - HOUR, shown(CHANGED - HOUR), serial="4711"))])
    assert [hold.code for hold in await street.held(MONTHS[2])] == ["identity_changed"], "the crossed one is believed"


class Board:
    """What is shown."""

    def __init__(self) -> None:
        self.shown: dict[str, dict[str, Json]] = {}

    def put_all(self, branch: str, bodies: Mapping[str, Json], *, anew: Collection[str] = ()) -> None:
        assert not anew
        self.shown[branch] = dict(bodies)


async def test_accruals_and_forecasts_say_what_settling_does(street: Street) -> None:
    await street.heard()
    street.clock.shown = NOVEMBER + 20 * DAY
    board = Board()
    accruals = Accruals(
        store=street.store,
        board=board,
        clock=street.clock,
        bell=None,  # type: ignore[arg-type] # nobody waits
        gateway="gw",
        beat=lambda: None,
    )
    await accruals.show()
    assert board.shown[ACCRUALS]["flat-1"] is None, "nothing is counted of what is not decided"
    book = book_of(await street.store.property_rows(None))
    told = await foreseen(street.store, book, [("f", "2026-11")])
    assert told is not None
    assert told[0].charged == 0
    assert ("identity_changed", REGISTER) in [(one.code, one.register_) for one in told[0].held]


# ---- what the store finds


async def at_heat(store: Store, until: datetime, serial: str, since: datetime = MIN) -> Stranger | None:
    return await store.stranger("heat-01", "heat", Period(since, until), serial)


async def test_the_store_knows_who_answered_first_and_since_when_another_does(store_url: str) -> None:
    async with Store(store_url) as store:
        for hour, serial in enumerate(["", "4711", "4712", "00 4711", "4713", "4713"]):
            await store.keep([poll(reading(OCTOBER + hour * HOUR, str(hour), serial=serial))])
        assert await at_heat(store, NOVEMBER, "4711") is None
        assert await at_heat(store, NOVEMBER, "0004711") is None
        found = Stranger(known="4711", serial="4713", since=OCTOBER + 4 * HOUR)
        assert await at_heat(store, NOVEMBER, "4713") == found
        between = Stranger(known="4711", serial="4712", since=OCTOBER + 2 * HOUR)
        assert await at_heat(store, OCTOBER + 2 * HOUR, "4712") == between, "the last instant is its own first reading"
        assert await at_heat(store, NOVEMBER, "4713", OCTOBER + 3 * HOUR) is None, "the edges do not count"
        assert await store.stranger("heat-01", "volume", Period(MIN, NOVEMBER), "4713") is None
        assert await store.stranger("heat-02", "heat", Period(MIN, NOVEMBER), "4713") is None


@pytest.mark.parametrize("why", ["void", "untrusted", "stored"])
async def test_what_does_not_count_makes_nobody_a_stranger(street: Street, why: str) -> None:
    trouble = {"untrusted": {"clock_trusted": False}, "stored": {"origin": "stored"}}.get(why, {})
    await street.store.keep([poll(replace(reading(OCTOBER, "5", serial="4711"), **trouble))])  # type: ignore[arg-type] # its own fields
    await street.store.keep([poll(reading(OCTOBER + DAY, "15", serial="4712"))])
    if why == "void":
        assert await at_heat(street.store, NOVEMBER, "4712") is not None
        edges = {"from": OCTOBER.isoformat(), "to": (OCTOBER + HOUR).isoformat()}
        await street.did(VoidSpan.model_validate({"meter": "heat-01", "reason": "crossed", "yes": True, **edges}))
    assert await at_heat(street.store, NOVEMBER, "4712") is None


async def test_a_second_value_of_an_instant_counts_for_who_answered_first(store_url: str) -> None:
    async with Store(store_url) as store:
        await store.keep([poll(reading(OCTOBER, "5", serial=""))])
        await store.keep([poll(reading(OCTOBER, "6", serial="4711"))])
        await store.keep([poll(reading(OCTOBER + DAY, "15", serial="4712"))])
        found = await at_heat(store, NOVEMBER, "4712")
        assert found == Stranger(known="4711", serial="4712", since=OCTOBER + DAY)
