"""Whom property data named before an exchange is not forgotten: what another meter has counted there stays held."""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta
from fractions import Fraction
from typing import TYPE_CHECKING

import pytest

from gateway.service.command_execute import Commander
from gateway.service.command_schema import Exchange, Set, VoidSpan
from gateway.service.judge import Judge
from gateway.service.property import book_of
from gateway.service.records import PropertyChange
from gateway.store import Store
from tests.adapters.importing import HOUSE, Desk, new_desk
from tests.adapters.stores import new_store, poll, reading
from tests.adapters.test_exchange import EXCHANGES, WIRED
from tests.adapters.test_settle import NOVEMBER, OCTOBER, PROPERTY, House

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping
    from pathlib import Path

    from gateway.service.command_schema import Command

BARE = WIRED.replace('serial = "100"\n', "")
FIRST, SECOND = "2026-03-12T12:00:00+01:00", "2026-03-13T12:00:00+01:00"
MIDNIGHT = "2026-03-12T00:00:00+01:00"
DAYS = ("2026-03-11", "2026-03-12", "2026-03-13")
"""before, between and after the two exchanges, from 13:00 on"""
INDEXES = {
    FIRST: ("--final", "import=500", "--final", "lift=50", "--start", "import=10", "--start", "lift=0"),
    SECOND: ("--final", "import=30", "--final", "lift=1", "--start", "import=0", "--start", "lift=0"),
}


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    """A meter with two registers, whose serial number is 100."""
    one = new_desk(tmp_path)
    assert one.take(WIRED).exit_code == 0
    return one


def exchange(desk: Desk, at: str, *words: str) -> None:
    done = desk.submeter("exchange", "power", "--at", at, *words)
    assert done.exit_code == 0, done.output


def exchanged(desk: Desk, at: str, serial: str | None) -> None:
    exchange(desk, at, *INDEXES[at], *(() if serial is None else ("--serial", serial)))


def serial_set(desk: Desk, serial: str) -> None:
    assert desk.submeter("meter", "set", "power", "--serial", serial).exit_code == 0


def named(desk: Desk, register: str = "power-1") -> list[str]:
    """Who is there before, between and after the exchanges, as property data say; at last the meter's own entry."""
    book = book_of(desk.rows())
    instants = [datetime.fromisoformat(f"{day}T13:00+01:00") for day in DAYS]
    return [*(book.registers[register].named(at) for at in instants), book.meters["power"].serial]


def a_file(*exchanges: str, serial: str = "", house: str = WIRED) -> str:
    """The house, with these exchanges of its first register, and the serial of its meter where one is given."""
    place = 'max_per_day = "500"\n'
    told = house.replace(place, f"{place}exchanges = [{', '.join(exchanges)}]\n", 1)
    return told.replace('serial = "100"', f'serial = "{serial}"', 1) if serial else told


def step(at: str, final: str, start: str, serial: str = "", old: str = "") -> str:
    said = "".join(f', {key} = "{value}"' for key, value in (("serial", serial), ("old_serial", old)) if value)
    return f'{{ at = {at}, final = "{final}", start = "{start}"{said} }}'


@pytest.mark.parametrize("serial", ["200", None])
@pytest.mark.parametrize("register", ["power-1", "power-lift"])
def test_an_exchange_keeps_whom_property_data_named_before(desk: Desk, register: str, serial: str | None) -> None:
    exchanged(desk, FIRST, serial)
    assert named(desk, register)[:3] == ["100", serial or "", serial or ""]
    (told,) = (one for one in desk.rows() if one.id == register)
    assert '"old_serial":"100"' in (told.value or "")


def test_two_exchanges_in_a_row_name_each_meter_in_whatever_order_they_are_entered(tmp_path: Path) -> None:
    for folder, order in (("a", (FIRST, SECOND)), ("b", (SECOND, FIRST))):
        (tmp_path / folder).mkdir()
        desk = new_desk(tmp_path / folder)
        desk.take(WIRED)
        for at in order:
            exchanged(desk, at, {FIRST: "200", SECOND: "300"}[at])
        assert named(desk) == ["100", "200", "300", "300"], folder


def test_the_first_of_two_that_is_taken_back_leaves_whom_it_ended(desk: Desk) -> None:
    exchanged(desk, FIRST, "200")
    exchanged(desk, SECOND, "300")
    exchange(desk, FIRST, "--mistaken")
    assert named(desk) == ["100", "100", "300", "300"]
    exchange(desk, SECOND, "--mistaken")
    assert named(desk) == ["100"] * 4
    exchanged(desk, SECOND, "200")
    assert named(desk) == ["100", "100", "200", "200"]


@pytest.mark.parametrize("serial", ["200", None])
def test_a_mistaken_exchange_gives_the_meter_its_name_back_whatever_it_was_called_meanwhile(
    desk: Desk, serial: str | None
) -> None:
    exchanged(desk, FIRST, serial)
    serial_set(desk, "2O0")
    serial_set(desk, "201")
    exchange(desk, FIRST, "--mistaken")
    assert named(desk) == ["100"] * 4


def test_an_exchange_of_a_store_that_kept_no_name_is_given_it_by_entering_it_again(desk: Desk) -> None:
    exchanged(desk, FIRST, "200")
    kept = [row for row in desk.rows() if row.kind == "register" and "old_serial" in (row.value or "")]
    older = [
        PropertyChange(kind=row.kind, id=row.id, value=(row.value or "").replace('"old_serial":"100",', ""))
        for row in kept
    ]

    async def forgotten() -> None:
        async with Store(desk.url) as store:
            await store.record_property(older, "an earlier release", OCTOBER)

    asyncio.run(forgotten())
    assert named(desk) == ["", "200", "200", "200"]
    exchange(desk, FIRST, "--mistaken")
    assert named(desk) == ["100"] * 4
    exchanged(desk, FIRST, "200")
    assert named(desk) == ["100", "200", "200", "200"]


def test_a_mistaken_exchange_gives_the_meter_the_serial_that_is_told(desk: Desk) -> None:
    exchanged(desk, FIRST, None)
    exchange(desk, FIRST, "--mistaken", "--serial", "101")
    assert named(desk) == ["101"] * 4


def test_a_typing_mistake_in_the_old_serial_is_corrected_by_entering_the_exchange_again(desk: Desk) -> None:
    serial_set(desk, "10O")
    exchanged(desk, FIRST, "200")
    assert named(desk)[0] == "10O"
    exchange(desk, FIRST, "--mistaken")
    serial_set(desk, "100")
    exchanged(desk, FIRST, "200")
    assert named(desk) == ["100", "200", "200", "200"]


def test_it_is_corrected_by_a_file_too(desk: Desk) -> None:
    exchanged(desk, FIRST, "200")
    now = desk.submeter("export").stdout
    assert desk.take(now.replace('old_serial = "100"', 'old_serial = "101"')).exit_code == 0
    assert named(desk) == ["101", "200", "200", "200"]


def test_the_name_of_the_new_meter_is_none_of_the_old_one(desk: Desk) -> None:
    """Who corrects the serial first, and enters the exchange then, has named the meter that is there."""
    serial_set(desk, "00 200")
    exchanged(desk, FIRST, "200")
    assert named(desk)[:3] == ["", "200", "200"]


def test_an_earlier_exchange_that_put_the_named_meter_there_leaves_the_first_one_without_a_name(desk: Desk) -> None:
    exchanged(desk, SECOND, "300")
    exchanged(desk, FIRST, "100")
    assert named(desk) == ["", "100", "300", "300"]


def test_a_file_that_names_the_new_serial_and_the_exchange_does_not_forget_the_old_one(desk: Desk) -> None:
    text = a_file(step(FIRST, "500", "10", "200"), serial="200")
    assert desk.take(text).exit_code == 0
    assert named(desk) == ["100", "200", "200", "200"]
    assert desk.take(text).stdout.splitlines()[-1].startswith("0 added, 0 changed")
    assert named(desk)[0] == "100"


def test_a_file_that_adds_an_earlier_exchange_keeps_the_first_name(desk: Desk) -> None:
    assert desk.take(a_file(step(SECOND, "500", "10", "300"), serial="300")).exit_code == 0
    both = step(FIRST, "400", "10", "200"), step(SECOND, "500", "10", "300")
    assert desk.take(a_file(*both, serial="300")).exit_code == 0
    assert named(desk) == ["100", "200", "300", "300"]


def test_the_first_name_stays_where_its_meter_came_back_later(desk: Desk) -> None:
    steps = step(FIRST, "400", "10", "200"), step(SECOND, "50", "500", "100"), step(MIDNIGHT, "300", "9", "050")
    for known in range(1, 4):
        assert desk.take(a_file(*steps[:known])).exit_code == 0
        assert named(desk)[:3] == ["100", "200", "200" if known == 1 else "100"]


def test_what_is_exported_names_the_old_meters_of_an_empty_store(desk: Desk, tmp_path: Path) -> None:
    exchanged(desk, FIRST, "200")
    exchanged(desk, SECOND, "300")
    now = desk.submeter("export").stdout
    (tmp_path / "other").mkdir()
    other = new_desk(tmp_path / "other")
    assert other.take(now).exit_code == 0
    assert (named(other), other.submeter("export").stdout) == (named(desk), now)


@pytest.mark.parametrize("known", [BARE, ""], ids=["a meter without a name", "an empty store"])
def test_a_file_may_say_whom_the_first_exchange_ended_and_no_other(tmp_path: Path, known: str) -> None:
    desk = new_desk(tmp_path)
    if known:
        assert desk.take(known).exit_code == 0
    (told,) = desk.refused(a_file(step(FIRST, "5", "1", "200"), step(SECOND, "5", "1", "300", "200"), house=BARE))
    assert told.partition(": ")[2] == (
        "register[0].exchanges: power-1: old_serial belongs to the first exchange; whose meter a later one ends, the"
        " serial of the one before it says; remove it"
    )
    assert desk.take(a_file(step(FIRST, "5", "1", "200", "100"), step(SECOND, "5", "1", "300"))).exit_code == 0
    assert named(desk)[:3] == ["100", "200", "300"]


def test_exchanges_that_are_set_as_a_whole_keep_it(desk: Desk) -> None:
    exchanges = '[{"at": "2026-03-12T12:00:00+01:00", "final": "500", "start": "10", "serial": "200"}]'
    for _ in range(2):
        assert desk.submeter("register", "set", "power-1", "--exchanges", exchanges).exit_code == 0
        assert named(desk)[:3] == ["100", "200", "200"]


def test_where_nothing_named_the_meter_before_nothing_is_kept(tmp_path: Path) -> None:
    desk = new_desk(tmp_path)
    desk.take(HOUSE.replace(EXCHANGES, ""))
    exchanged(desk, FIRST, "200")
    assert named(desk) == ["", "200", "200", ""]
    assert "old_serial" not in desk.submeter("export").stdout


# ---- what is billed

DAY = timedelta(days=1)
DECEMBER, JANUARY = NOVEMBER + 30 * DAY, NOVEMBER + 61 * DAY
CROSSED = (OCTOBER + 20 * DAY, DECEMBER + 9 * DAY)
EXCHANGED = JANUARY + DAY / 2
MONTHS = ("2026-10", "2026-11", "2026-12")


class Crossed(House):
    """4711 counts 10 kWh a day; 4799 answers in its place for seven weeks; then it is really exchanged, for 4712."""

    async def heard(self) -> None:
        judge = Judge(self.store, self.store, self.store)
        midnights = [OCTOBER + n * DAY for n in range(31)] + [NOVEMBER + n * DAY for n in range(64)]
        for day, at in enumerate(midnights):
            index, serial = day * 10, "4711"
            if CROSSED[0] <= at < CROSSED[1]:
                index, serial = index * 3 + 50, "4799"
            elif at > EXCHANGED:
                index, serial = index - 920, "4712"
            await judge.keep([poll(reading(at, str(index), serial=serial))])

    async def did(self, command: Command) -> None:
        commander = Commander(store=self.store, clock=self.clock, seal=lambda identifier: identifier)
        answer = await commander.execute(command, "meier")
        assert answer.applied, answer

    async def exchange(self, serial: str | None = "4712") -> None:
        given = {"meter": "heat-01", "at": EXCHANGED.isoformat(), "final": {"heat": "925"}, "start": {"heat": "5"}}
        await self.did(Exchange.model_validate(given | ({} if serial is None else {"serial": serial})))

    async def energy(self) -> Mapping[str, Fraction]:
        """What stands billed of each month, after it was settled often enough."""
        self.clock.shown = JANUARY + 4 * DAY
        for _ in range(3):
            await self.settler.settle_due()
            self.clock.shown += DAY
        found = dict.fromkeys(MONTHS, Fraction(0))
        for charge in await self.published():
            found[charge["closing"]] += Fraction(charge["quantity"]) * (1 if charge["kind"] == "charge" else -1)
        return found

    async def void(self) -> None:
        edges = {"from": CROSSED[0].isoformat(), "to": CROSSED[1].isoformat()}
        await self.did(VoidSpan.model_validate({"meter": "heat-01", "reason": "crossed", "yes": True, **edges}))


@pytest.fixture
async def crossed(tmp_path: Path) -> AsyncIterator[Crossed]:
    async with Store(new_store(tmp_path)) as store:
        one = Crossed(store)
        meter = {"id": "heat-01", "facility": "f", "name": "Heat", "serial": "4711"}
        await one.told(PROPERTY | {"meter": [meter, *PROPERTY["meter"][1:]]})
        yield one


HELD = dict(zip(MONTHS, (Fraction(190), Fraction(0), Fraction(220)), strict=True))


@pytest.mark.parametrize("serial", ["4712", None])
async def test_what_another_meter_counted_stays_held_after_a_later_exchange_and_is_billed_once_it_is_decided(
    crossed: Crossed, serial: str | None
) -> None:
    await crossed.heard()
    assert await crossed.energy() == HELD
    await crossed.exchange(serial)
    assert await crossed.energy() == HELD
    assert ("reading_implausible", "heat-01-heat") in await crossed.alarms()
    await crossed.void()
    assert sum((await crossed.energy()).values()) == 920


async def test_an_exchange_that_is_corrected_bills_nothing_of_the_other_meter_either(crossed: Crossed) -> None:
    await crossed.heard()
    await crossed.exchange("4722")
    await crossed.did(Set.model_validate({"kind": "meter", "id": "heat-01", "value": {"serial": "4712"}}))
    back = {"meter": "heat-01", "at": EXCHANGED.isoformat(), "mistaken": True}
    await crossed.did(Exchange.model_validate(back))
    assert await crossed.energy() == HELD
    await crossed.exchange()
    assert await crossed.energy() == HELD


async def test_what_is_held_after_an_exchange_is_not_said_to_be_another_meter_than_the_first(crossed: Crossed) -> None:
    crossed.clock.shown = NOVEMBER + 4 * DAY
    await crossed.counted(OCTOBER, "0")
    given = {"meter": "heat-01", "at": (OCTOBER + DAY).isoformat(), "final": {"heat": "10"}, "start": {"heat": "5"}}
    await crossed.did(Exchange.model_validate(given | {"serial": "4712"}))
    await crossed.store.keep([poll(reading(NOVEMBER, "15", serial="4799"))])
    await crossed.settler.settle_due()
    (told,) = (each.text for each in await crossed.store.open_alarms() if each.code == "identity_changed")
    assert told == "another serial number answered: record the exchange, or void the readings of the stranger"


async def test_the_alarm_of_who_answers_after_an_exchange_names_who_should(crossed: Crossed) -> None:
    crossed.clock.shown = EXCHANGED + 3 * DAY
    await crossed.exchange()
    judge = Judge(crossed.store, crossed.store, crossed.store)
    await judge.keep([poll(reading(EXCHANGED - DAY, "915", serial="4711"))])
    await judge.keep([poll(reading(EXCHANGED + DAY, "15", serial="4799"))])
    (alarm,) = await crossed.store.open_alarms()
    assert alarm.text.startswith(
        "meter 4799 answers since 2027-01-02T11:00:00Z where property data say 4712: take the exchange back (submeter"
        " exchange heat-01 --mistaken), correct the serial and enter it again, or correct the address in the settings"
    )
