"""A register that a meter gives no value for, from the wire to the store: told where it is billed, until it has one."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from drivers.modbus import driver
from drivers.modbus.settings import BusSettings, MeterSettings
from gateway.ports.field import NoValue, UnreadableAnswerError, WrongAnswerError
from gateway.service.incomplete import METER_INCOMPLETE
from gateway.service.judge import Judge
from gateway.service.polled import alone, polled, unread
from gateway.service.records import PropertyChange
from gateway.store import Store
from tests.adapters.stores import reading
from tests.drivers.modbus.peer import Peer
from tests.steady_time import LoopClock

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

START = datetime(2026, 10, 1, tzinfo=UTC)
QUARTER = timedelta(minutes=15)
UNIT, EXPORT = 7, 0x4E
NOTHING, SOMETHING = (0xFFFF, 0x7FFF), (0x0046, 0x0000)
COUNTER = {"energy_source": "electricity", "unit": "kWh", "resolution": "0.1", "max_per_day": "500"}
IDS = {"import": "pv-in", "export": "pv-out"}


class Roof:
    """A meter in both directions on a Modbus line."""

    def __init__(self, peer: Peer, store: Store) -> None:
        self.peer = peer
        self.store = store
        self.quarter = 0
        meters = {"pv": MeterSettings(model="carlo-gavazzi-em340", address=UNIT)}
        self.bus = driver.open(BusSettings(host="127.0.0.1", port=peer.port, timeout=10), meters, LoopClock())
        self.restart()

    def restart(self) -> None:
        self.judge = Judge(self.store, self.store, self.store)

    async def bills(self, *keys: str) -> None:
        """Property data have these registers, and of the others none."""
        tables: list[tuple[str, str, dict[str, Any] | None]] = [
            ("facility", "f", {"id": "f", "name": "F", "time_zone": "UTC", "currency": "CHF"}),
            ("meter", "pv", {"id": "pv", "facility": "f", "name": "PV"}),
        ]
        for key, name in IDS.items():
            row = COUNTER | {"id": name, "meter": "pv", "key": key}
            tables.append(("register", name, row if key in keys else None))
        changes = [
            PropertyChange(kind=kind, id=name, value=None if row is None else json.dumps(row))
            for kind, name, row in tables
        ]
        await self.store.record_property(changes, "test", START, [])
        self.judge.refresh()

    async def read(self, *export: int) -> None:
        """A round in which the export holds these words."""
        self.peer.put(UNIT, 3, EXPORT, *export)
        answer = await self.bus.read("pv")
        at = START + self.quarter * QUARTER
        self.quarter += 1
        await self.judge.keep([polled(answer, at, "boot-1", trusted=True)])

    async def kept(self, key: str) -> int:
        found = await self.store.readings(["pv"], START, START + timedelta(days=1))
        return len(found.get(("pv", key), ()))

    async def open(self) -> list[str]:
        return [alarm.text for alarm in await self.store.open_alarms() if alarm.code == METER_INCOMPLETE]

    async def told(self) -> int:
        """How many alarms have begun or ended."""
        name = next((each.name for each in await self.store.streams() if each.kind == "alarm"), None)
        return 0 if name is None else len(await self.store.events(name, 0, 99))


@pytest.fixture
async def roof(store_url: str) -> AsyncIterator[Roof]:
    peer = Peer()
    await peer.start()
    peer.put(UNIT, 3, 0x34, 0xE240, 0x0001)
    peer.put(UNIT, 3, 0x5000, *b"274123S")
    async with Store(store_url) as store:
        roof = Roof(peer, store)
        await roof.bills("import", "export")
        yield roof
        await roof.bus.close()
    await peer.stop()


async def test_what_has_a_value_is_kept_and_what_has_none_is_told_once_and_counted(roof: Roof) -> None:
    await roof.read(*SOMETHING)
    for _ in range(3):
        await roof.read(*NOTHING)
    assert (await roof.kept("import"), await roof.kept("export")) == (4, 1)
    (text,) = await roof.open()
    assert "gives no value for export (not available (0x7fffffff)), so nothing of that is billed" in text
    assert text.endswith("submeter register end pv-out")
    assert await roof.told() == 1
    assert roof.judge.counts["pv-out", "no_value"] == 3
    (alarm,) = await roof.store.open_alarms()
    assert (alarm.source, alarm.since) == ("pv", START + QUARTER)


async def test_the_alarm_ends_with_the_first_value(roof: Roof) -> None:
    await roof.read(*NOTHING)
    await roof.read(*SOMETHING)
    await roof.read(*SOMETHING)
    assert await roof.open() == []
    assert (await roof.told(), await roof.kept("export")) == (2, 2)


async def test_a_register_that_comes_and_goes_is_told_until_it_has_had_a_value_for_an_hour(roof: Roof) -> None:
    for _ in range(6):
        await roof.read(*NOTHING)
        await roof.read(*SOMETHING)
    assert (len(await roof.open()), await roof.told(), await roof.kept("export")) == (1, 3, 6)

    await roof.read(*SOMETHING)
    await roof.read(*SOMETHING)
    assert len(await roof.open()) == 1
    await roof.read(*SOMETHING)
    assert (await roof.open(), await roof.told()) == ([], 4)


async def test_one_that_was_without_a_value_an_hour_ago_is_not_restless(roof: Roof) -> None:
    await roof.read(*NOTHING)
    for _ in range(5):
        await roof.read(*SOMETHING)
    await roof.read(*NOTHING)
    await roof.read(*SOMETHING)
    assert (await roof.open(), await roof.told()) == ([], 4)


async def test_one_that_comes_and_goes_and_is_billed_no_more_ends_at_once(roof: Roof) -> None:
    for _ in range(2):
        await roof.read(*NOTHING)
        await roof.read(*SOMETHING)
    assert len(await roof.open()) == 1
    await roof.bills("import")
    await roof.read(*NOTHING)
    assert await roof.open() == []


async def test_what_the_meter_says_instead_may_change_and_is_told_once(roof: Roof) -> None:
    await roof.read(*NOTHING)
    answer = await roof.bus.read("pv")
    for why in ("the display code eeee0001", "the display code eeee0002"):
        roof.quarter += 1
        other = replace(answer, without=(NoValue(register="export", why=why),))
        await roof.judge.keep([polled(other, START + roof.quarter * QUARTER, "boot-1", trusted=True)])
    assert (len(await roof.open()), await roof.told()) == (1, 1)


async def test_a_register_that_nobody_is_billed_for_raises_nothing(roof: Roof) -> None:
    await roof.bills("import")
    await roof.read(*NOTHING)
    assert (await roof.told(), await roof.kept("import")) == (0, 1)

    await roof.bills("import", "export")
    await roof.read(*NOTHING)
    assert len(await roof.open()) == 1

    await roof.bills("import")
    await roof.read(*NOTHING)
    assert await roof.open() == []


async def test_it_is_told_once_over_a_restart_and_ended_after_it(roof: Roof) -> None:
    await roof.read(*NOTHING)
    roof.restart()
    await roof.read(*NOTHING)
    assert (len(await roof.open()), await roof.told()) == (1, 1)

    roof.restart()
    await roof.read(*SOMETHING)
    assert (await roof.open(), await roof.told()) == ([], 2)


async def test_only_an_answer_of_the_meter_ends_it(roof: Roof) -> None:
    """Neither what a person reads off nor an answer that cannot be read yet."""
    await roof.read(*NOTHING)
    read_off = reading(START + QUARTER / 2, "70.0", meter="pv", register="export")
    await roof.judge.keep([alone(read_off)])
    assert len(await roof.open()) == 1

    with_another_key = UnreadableAnswerError("is encrypted", serial="274123S", status=0, raw=b"\x72")
    await roof.judge.keep([unread("pv", with_another_key, START + QUARTER, "boot-1", trusted=True)])
    assert len(await roof.open()) == 1


async def test_a_meter_without_any_value_is_refused_and_the_alarm_stays(roof: Roof) -> None:
    await roof.read(*NOTHING)
    roof.peer.put(UNIT, 3, 0x34, *NOTHING)
    with pytest.raises(WrongAnswerError, match="gives no value for register import: not available"):
        await roof.read(*NOTHING)
    assert len(await roof.open()) == 1
