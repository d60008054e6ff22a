"""What a line counts of its meters: repeats, damage, what comes late, the echo, and the time of a read."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING

from drivers.mbus.bus import MBusBus, Wired
from drivers.mbus.link import Timing
from drivers.mbus.model import MODELS
from drivers.mbus.secondary import parse
from gateway.lines import troubles
from gateway.ports.field import FieldError
from simulators.mbus import Bus, Direct, Slave, captured_telegrams
from tests.virtual_time import VirtualTime

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gateway.ports.health import LineHealth, MeterHealth
    from simulators.mbus import Fault

MODEL = "itron-cf-55"


def health(bus: Bus, faults: Sequence[Fault | None], *, secondary: str = "") -> LineHealth:
    """After a read of the first meter with each fault, and of the second after each."""
    first = next(iter(bus.slaves.values()))

    async def connect() -> Direct:
        return Direct(bus)

    async def work() -> LineHealth:
        wired = {str(at): Wired(asked=at, model=MODELS[MODEL], serial=None) for at in bus.slaves}
        if secondary:
            wired["1"] = Wired(asked=parse(secondary), model=MODELS[MODEL], serial=None)
        line = MBusBus(connect, Timing(baud=2400, latency=0.02), wired)
        for fault in faults:
            for meter in wired:
                first.fault = fault
                with suppress(FieldError):
                    await line.read(meter)
        await line.close()
        found = line.health()
        assert [line.repeats(each.meter) for each in found.meters] == [each.repeats for each in found.meters]
        return found

    with asyncio.Runner(loop_factory=VirtualTime) as runner:
        return runner.run(work())


def meters(count: int = 2) -> Bus:
    kind = captured_telegrams()[MODEL]
    return Bus([Slave(address=at, captured=kind, serial=f"1112766{at}") for at in range(1, count + 1)])


def of(faults: Sequence[Fault | None]) -> tuple[MeterHealth, MeterHealth]:
    first, second = health(meters(), faults).meters
    return first, second


def test_a_read_costs_hardly_more_than_the_wire_needs() -> None:
    first, _ = of([None] * 3)
    assert (first.reads, first.failed, first.repeats, first.damaged, first.unasked) == (3, 0, 0, 0, 0)
    assert first.requests == 4, "the link reset and three reads"
    assert first.ms is not None
    assert first.wire_ms == round(((5 + 83) * 11 + 11) / 2400 * 1000)
    assert first.wire_ms <= first.ms <= first.wire_ms + 10


def test_a_selection_is_part_of_what_the_wire_needs() -> None:
    first, _ = health(meters(), [None] * 2, secondary="11127661").meters
    assert first.wire_ms == round(((5 + 83) * 11 + 11 + 18 * 11 + 11) / 2400 * 1000)
    assert first.ms is not None
    assert first.ms <= first.wire_ms + 10


def test_repeats_and_damage_are_those_of_the_meter_that_has_them() -> None:
    first, second = of([None, "bad_checksum", "silence", None])
    assert (first.reads, first.failed) == (2, 2)
    assert first.repeats == 4
    assert first.damaged == 3
    assert (second.reads, second.repeats, second.damaged) == (4, 0, 0)


def test_an_answer_that_comes_while_another_meter_is_asked_is_its_senders() -> None:
    told = health(meters(), ["wrong_address"])
    assert [each.unasked for each in told.meters] == [0, 3], "the first answers with the address of the second"


def test_an_echo_is_seen_and_no_damage() -> None:
    bus = meters()
    assert not health(bus, [None]).echo
    bus = meters()
    bus.echo = True
    told = health(bus, [None])
    assert told.echo
    assert [each.damaged for each in told.meters] == [0, 0]


def test_a_line_that_never_falls_silent_is_not_laid_to_the_baud_rate() -> None:
    (told,) = troubles(health(meters(1), ["babble"] * 4))
    assert "never falls silent" in told
    assert "baud" not in told


def test_another_baud_rate_is_suspected_where_whatever_answers_is_garbage() -> None:
    bus = meters(1)
    bus.noise = lambda octets: bytes(octet ^ 0x5A for octet in octets) if len(octets) > 5 else b"\xff"
    (told,) = troubles(health(bus, ["noise"] * 3))
    assert "no meter answers" in told or "garbage" in told
