"""Meters are read by their secondary address and by their fabrication number, and never for each other."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
from pydantic import ValidationError

from drivers.mbus import driver, secondary
from drivers.mbus.bus import MBusBus, Wired
from drivers.mbus.link import Timing, select
from drivers.mbus.master import Master
from drivers.mbus.model import MODELS
from drivers.mbus.secondary import Pattern
from drivers.mbus.settings import BusSettings, MeterSettings
from gateway.ports.field import FieldError, NoAnswerError, WrongAnswerError
from simulators.mbus import Bus, Direct, Frame, Slave, captured_telegrams
from simulators.pty import MBusWire
from tests.drivers.mbus.slave import long_frame
from tests.virtual_time import VirtualTime

if TYPE_CHECKING:
    from collections.abc import Coroutine
    from datetime import datetime
    from pathlib import Path

    from drivers.mbus.master import Taken

MODEL = "itron-cf-55"
HEAT = captured_telegrams()[MODEL]
TIMING = Timing(baud=2400, latency=0.02)
SELECTION = bytes.fromhex("68 0b 0b 68 53 fd 52 67 76 12 11 ff ff ff ff 9e 16")


class NoClock:
    """The time-outs of a line are the event loop's."""

    def now(self) -> datetime:
        raise AssertionError

    def monotonic(self) -> float:
        raise AssertionError


def slaves(*numbers: str, **properties: float) -> list[Slave]:
    return [
        Slave(address=at, captured=HEAT, serial=number, counts={"heat": at}, **properties)  # type: ignore[arg-type] # some are whole
        for at, number in enumerate(numbers, 1)
    ]


def run(work: Coroutine[object, object, None]) -> None:
    """On a clock that jumps: no test waits for a wire."""
    with asyncio.Runner(loop_factory=VirtualTime) as runner:
        runner.run(work)


def number(taken: tuple[Taken, ...]) -> str:
    (one,) = taken
    return one.telegram.header.id or ""


def test_a_selection_is_what_the_documentation_says() -> None:
    assert select(secondary.parse("11127667")) == SELECTION


@pytest.mark.parametrize("text", ["11127667", "11127667FFFFFFFF", "1112766777040A0C", "111FFFFFFFFFFFFF"])
def test_a_secondary_address_is_written_as_it_is_printed(text: str) -> None:
    assert str(secondary.parse(text)) == text.ljust(16, "F")


def test_a_fabrication_number_follows_the_secondary_address() -> None:
    pattern = secondary.parse(secondary.ANY_NUMBER, "12345678")

    assert pattern.octets.hex() == "ffffffffffffffff" + "0c78" + "78563412"


async def test_a_meter_is_read_by_its_secondary_address_over_a_serial_line(tmp_path: Path) -> None:
    wire = MBusWire(tmp_path / "ttyUSB0", slaves("11127667", "11127668"), baud=38400)
    wire.plug()
    meters = {"heat": MeterSettings(model=MODEL, secondary="11127668")}
    bus = driver.open(BusSettings(device=str(wire.link), baud=38400), meters, NoClock())
    try:
        answer = await bus.read("heat")
    finally:
        await bus.close()
        wire.unplug()
    assert answer.serial == "11127668"


def test_each_of_many_meters_is_read_by_its_number_and_by_all_of_its_address() -> None:
    async def work() -> None:
        bus = Bus(slaves("11127667", "11127668", "21127667"))
        master = Master(Direct(bus), TIMING)
        for slave in bus.slaves.values():
            assert number(await master.read(Pattern(number=slave.serial))) == slave.serial
            full = slave.secondary()
            exact = secondary.parse(slave.serial + full[4:].hex())
            assert number(await master.read(exact)) == slave.serial
        assert [slave.wakes for slave in bus.slaves.values()] == [6 + 2] * 3

    run(work())


def test_a_meter_stays_selected_no_longer_than_until_another_one_is_read() -> None:
    async def work() -> None:
        bus = Bus(slaves("11127667", "11127668"))
        master = Master(Direct(bus), TIMING)
        await master.read(Pattern(number="11127667"))
        await master.read(Pattern(number="11127668"))
        assert [slave.selected for slave in bus.slaves.values()] == [False, True]
        await master.read(1)
        assert not any(slave.selected for slave in bus.slaves.values())

    run(work())


def test_a_number_that_nobody_has_is_silence() -> None:
    async def work() -> None:
        master = Master(Direct(Bus(slaves("11127667"))), TIMING)
        with pytest.raises(NoAnswerError, match="secondary address 11127669FFFFFFFF stays silent through 3 requests"):
            await master.read(Pattern(number="11127669"))

    run(work())


def test_two_meters_of_one_number_are_never_read_for_one_of_them() -> None:
    async def work() -> None:
        master = Master(Direct(Bus(slaves("11127667", "11127667"))), TIMING)
        with pytest.raises(FieldError):
            await master.read(Pattern(number="11127667"))

    run(work())


class Eager(Slave):
    """Answers at 253 although it was never selected."""

    def hear(self, frame: Frame) -> bytes:
        self.selected = True
        return Slave.hear(self, frame)


def test_the_answer_of_a_meter_that_was_not_selected_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    async def work() -> None:
        wanted, eager = slaves("11127667", "11127668")
        wanted.fault = "silence"
        bus = Bus([wanted, Eager(address=2, captured=HEAT, serial=eager.serial)])
        master = Master(Direct(bus), TIMING)
        monkeypatch.setattr(master, "select", _nobody_acknowledges)
        with pytest.raises(WrongAnswerError, match="comes from the meter 11127668"):
            await master.read(Pattern(number="11127667"))

    run(work())


async def _nobody_acknowledges(pattern: Pattern) -> None:
    """As if noise had been taken for an acknowledgement."""


@pytest.mark.parametrize(
    ("text", "objection"),
    [
        ("11127667", None),
        ("1112766777040A0C", None),
        ("1112FFFF7704FFFF", None),
        ("11127668", "comes from the meter 1112766777040A0C"),
        ("1112766778040A0C", "comes from the meter"),
        ("1112766777040B0C", "comes from the meter"),
        ("1112766777040A0D", "comes from the meter"),
    ],
)
def test_every_part_of_the_header_must_be_what_was_selected(text: str, objection: str | None) -> None:
    header = bytes.fromhex("72 67761211 7704 0a 0c 01 00 0000")
    found = secondary.parse(text).objection(header)

    assert found is None if objection is None else objection in (found or "")


def test_a_header_with_the_most_significant_octet_first_is_the_same_meter() -> None:
    assert secondary.parse("1112766777040A0C").objection(bytes.fromhex("76 11127667 0477 0a 0c 01 00 0000")) is None


def test_an_answer_without_identity_is_not_believed_after_a_selection() -> None:
    assert "does not say whose it is" in (Pattern().objection(bytes.fromhex("7a 01 00 0000")) or "")


def test_the_fixed_structure_tells_its_number_only() -> None:
    found = secondary.identity(bytes.fromhex("73 78563412 0a 00 e97e 01000000 35010000"))

    assert found is not None
    assert (found.number, found.manufacturer, str(found)) == ("12345678", None, "12345678FFFFFFFF")


# settings


@pytest.mark.parametrize(
    "keys",
    [
        {},
        {"address": 1, "secondary": "11127667"},
        {"address": 1, "fabrication": "1"},
    ],
)
def test_a_meter_has_one_kind_of_address(keys: dict[str, object]) -> None:
    assert mistake(keys) == ("name either the address, or the secondary address or fabrication number, and not both")


@pytest.mark.parametrize("text", ["1112766", "111276671", "11127667A", "1112g667", "11127667770A0C"])
def test_a_secondary_address_has_8_or_16_digits(text: str) -> None:
    assert "is no secondary address; write the 8 digits of the number" in mistake({"secondary": text})


def mistake(keys: dict[str, object]) -> str:
    with pytest.raises(ValidationError) as caught:
        MeterSettings.model_validate({"model": MODEL, **keys})
    (error,) = caught.value.errors()
    return error["msg"].removeprefix("Value error, ")


# fabrication number


@pytest.mark.parametrize(("carried", "believed"), [("11127667", True), ("11127668", False)])
async def test_the_answer_must_carry_the_fabrication_number_that_was_selected(
    tmp_path: Path, carried: str, *, believed: bool
) -> None:
    wire = MBusWire(tmp_path / "ttyUSB0", [Fabricated(address=1, captured=HEAT, serial=carried)], baud=38400)
    wire.plug()
    meters = {"heat": MeterSettings(model=MODEL, fabrication="11127667")}
    bus = driver.open(BusSettings(device=str(wire.link), baud=38400), meters, NoClock())
    try:
        if believed:
            assert (await bus.read("heat")).serial == carried
        else:
            with pytest.raises(WrongAnswerError, match="carries no fabrication number 11127667"):
                await bus.read("heat")
    finally:
        await bus.close()
        wire.unplug()


class Fabricated(Slave):
    """Feels meant by every selection."""

    def hear(self, frame: Frame) -> bytes:
        if frame.data[:1] == b"\x52":
            self.selected = True
            return b"\xe5"
        return Slave.hear(self, frame)


# what is told


def test_data_go_with_a_frame_count_bit_of_their_own() -> None:
    async def work() -> None:
        bus = Bus(slaves("11127667"))
        line = Recorded(bus)
        master = Master(line, TIMING)
        await master.read(1)
        await master.tell(1, b"\x50\x10")
        await master.tell(1, b"\x50\x10")
        await master.read(1)
        controls = [octets[1] if octets[0] == 0x10 else octets[4] for octets in line.sent]
        assert controls == [0x40, 0x7B, 0x73, 0x53, 0x5B]

    run(work())


class Recorded(Direct):
    """Remembers what was sent."""

    def __init__(self, bus: Bus) -> None:
        super().__init__(bus)
        self.sent: list[bytes] = []

    async def send(self, octets: bytes) -> None:
        self.sent.append(octets)
        await super().send(octets)


def test_an_alarm_is_asked_for_and_told() -> None:
    class Alarming(Slave):
        def hear(self, frame: Frame) -> bytes:
            if frame.control & ~0x20 == 0x5A:
                return long_frame(b"\x71\x04", address=1) if self.access else b"\xe5"
            return Slave.hear(self, frame)

    async def work() -> None:
        slave = Alarming(address=1, captured=HEAT, serial="11127667")
        master = Master(Direct(Bus([slave])), TIMING)
        told = [await master.alarm(1)]
        slave.access = 1
        told.append(await master.alarm(1))
        assert told == [None, 4]

    run(work())


def test_an_echo_is_noticed() -> None:
    async def work() -> None:
        bus = Bus(slaves("11127667"))
        master = Master(Direct(bus), TIMING)
        await master.read(1)
        noticed = [master.echo]
        bus.echo = True
        await master.read(1)
        assert [*noticed, master.echo] == [False, True]
        assert number(await master.read(Pattern(number="11127667"))) == "11127667"

    run(work())


def test_the_application_is_reset_before_each_read_where_the_settings_say_so() -> None:
    async def work() -> None:
        line = Recorded(Bus(slaves("11127667")))

        async def connect() -> Recorded:
            return line

        wired = Wired(asked=1, model=MODELS[MODEL], serial=None, application_reset=0x10)
        bus = MBusBus(connect, TIMING, {"heat": wired})
        for _ in range(2):
            await bus.read("heat")
        told = [octets[6:-2].hex() for octets in line.sent if octets[0] == 0x68]
        assert told == ["5010", "5010"]

    run(work())
