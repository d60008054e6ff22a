"""Orders of an installer reach the meter that is meant and nobody else, and are done once the meter shows it."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

import pytest

from drivers.mbus import driver, orders
from drivers.mbus.link import Timing
from drivers.mbus.master import Master
from drivers.mbus.orders import Target, target
from drivers.mbus.scan import Speed
from drivers.mbus.settings import BusSettings, MeterSettings
from gateway.ports.field import FieldError, NoAnswerError, OrderRefusedError, WrongAnswerError
from simulators.mbus import Bus, Direct, Slave, captured_telegrams
from simulators.pty import MBusWire
from tests.virtual_time import VirtualTime

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    from gateway.ports.field import Done, Seen

HEAT = captured_telegrams()["itron-cf-55"]
WATER = captured_telegrams()["itron-bm-plus-m"]
NUMBERS = ("11127667", "11127668", "40000001")
ZURICH = ZoneInfo("Europe/Zurich")


class Deaf(Slave):
    """Acknowledges whatever it is told, and does nothing of it."""

    def _obey(self, data: bytes) -> None:
        pass


class Lost(Slave):
    """Goes to another baud rate than the one that it was told."""

    def answered(self) -> None:
        if self._next_baud is not None:
            self.baud, self._next_baud = 300, None


def meters(kind: type[Slave] = Slave, *, unset: bool = False) -> Bus:
    return Bus(
        [kind(address=0 if unset else at, captured=HEAT, serial=number) for at, number in enumerate(NUMBERS, 1)],
        baud=2400,
    )


def done(bus: Bus, work: Callable[[Master], Awaitable[Done]]) -> Done:
    async def run() -> Done:
        return await work(Master(Direct(bus), Timing(baud=2400, latency=0.02)))

    with asyncio.Runner(loop_factory=VirtualTime) as runner:
        return runner.run(run())


def set_baud(bus: Bus, asked: str, baud: int) -> Done:
    def at(speed: int) -> Speed:
        async def connect() -> Direct:
            bus.baud = speed
            return Direct(bus)

        return Speed(baud=speed, timing=Timing(baud=speed, latency=0.02), connect=connect)

    with asyncio.Runner(loop_factory=VirtualTime) as runner:
        return runner.run(orders.set_baud(at, 2400, target(asked), baud))


def addresses(bus: Bus) -> dict[str, int]:
    return {slave.serial: slave.address for slave in bus.slaves.values()}


# addresses


def test_of_meters_without_addresses_the_one_that_is_meant_gets_one() -> None:
    bus = meters(unset=True)

    told = done(bus, lambda master: orders.set_address(master, target("11127668"), 7))

    assert addresses(bus) == {"11127667": 0, "11127668": 7, "40000001": 0}
    assert told.text == "meter 11127668 has address 7 now; it had 0"
    assert told.settings == {"address": 7}


def test_an_address_that_answers_already_is_refused_and_nothing_is_sent() -> None:
    bus = meters()

    with pytest.raises(OrderRefusedError, match="address 3 answers already"):
        done(bus, lambda master: orders.set_address(master, target("11127668"), 3))

    assert addresses(bus) == {number: at for at, number in enumerate(NUMBERS, 1)}
    assert not any(slave.heard["data"] for slave in bus.slaves.values())


def test_an_address_that_several_have_is_taken_too() -> None:
    """Their acknowledgements collide: that is no silence."""
    bus = meters()
    for slave, lag in zip(bus.slaves.values(), (0, 0.0007, 0.0021), strict=True):
        slave.address, slave.lag = 9, lag
    bus.slaves[99] = Slave(address=1, captured=WATER, serial="555")

    with pytest.raises(OrderRefusedError, match="address 9 answers already"):
        done(bus, lambda master: orders.set_address(master, target("1"), 9))


def test_the_address_that_it_has_is_left_alone() -> None:
    bus = meters()

    told = done(bus, lambda master: orders.set_address(master, target("11127668"), 2))

    assert told.text == "meter 11127668 has address 2 already; nothing was changed"
    assert not bus.slaves[2].heard["data"]


def test_an_order_by_primary_address_goes_to_the_meter_that_was_identified_there() -> None:
    bus = meters()

    done(bus, lambda master: orders.set_address(master, target("3"), 30))

    assert addresses(bus)["40000001"] == 30


def test_an_order_for_another_meter_than_the_wired_one_is_not_carried_out() -> None:
    bus = meters()

    with pytest.raises(WrongAnswerError, match="the meter 11127667 answers instead of 99999999; nothing was changed"):
        done(bus, lambda master: orders.set_address(master, Target(asked=1, serial="99999999"), 30))

    assert addresses(bus)["11127667"] == 1


@pytest.mark.parametrize("new", [0, 251, 253, -1])
def test_what_is_no_address_of_one_meter_is_refused(new: int) -> None:
    with pytest.raises(OrderRefusedError, match="write 1 to 250"):
        done(meters(), lambda master: orders.set_address(master, target("1"), new))


@pytest.mark.parametrize("text", ["251", "x", "1234567", "", "112233445566778", "²"])
def test_what_names_no_meter_is_refused(text: str) -> None:
    with pytest.raises(OrderRefusedError, match="write 0 to 250, or the 8 or 16 digits"):
        target(text)


def test_a_meter_that_acknowledges_and_keeps_its_address_is_told() -> None:
    with pytest.raises(WrongAnswerError, match="has acknowledged address 9, but does not answer there"):
        done(meters(Deaf), lambda master: orders.set_address(master, target("1"), 9))


# baud rates


def test_a_meter_is_found_again_at_its_new_baud_rate() -> None:
    bus = meters()

    told = set_baud(bus, "11127668", 9600)

    assert told.text == "meter 11127668 answers at 9600 baud now"
    assert {slave.serial: slave.baud for slave in bus.slaves.values()} == {
        "11127667": None,
        "11127668": 9600,
        "40000001": None,
    }


def test_a_meter_that_stays_at_its_baud_rate_is_told() -> None:
    bus = meters(Deaf)
    for slave in bus.slaves.values():
        slave.baud = 2400

    with pytest.raises(WrongAnswerError, match="has acknowledged 9600 baud, but answers at 2400 baud as before"):
        set_baud(bus, "1", 9600)


def test_a_meter_that_is_lost_is_told_with_the_way_back() -> None:
    with pytest.raises(NoAnswerError, match=r"within ten minutes.*scan mbus BUS --baud 9600 --baud 2400"):
        set_baud(meters(Lost), "1", 9600)


def test_the_baud_rate_that_it_has_is_left_alone() -> None:
    bus = meters()

    assert "at 2400 baud already" in set_baud(bus, "1", 2400).text
    assert not bus.slaves[1].heard["data"]


def test_an_unknown_baud_rate_is_refused() -> None:
    with pytest.raises(OrderRefusedError, match="1234 is no baud rate of the M-Bus; write one of 300"):
        set_baud(meters(), "1", 1234)


async def test_behind_a_converter_the_baud_rate_is_refused() -> None:
    with pytest.raises(OrderRefusedError, match="level converter's own"):
        await driver.set_baud(BusSettings(host="127.0.0.1", port=1), "1", 9600)


# clocks


@pytest.mark.parametrize(
    ("daylight_saving", "shown"),
    [(False, datetime(2026, 7, 1, 12, 0, tzinfo=UTC)), (True, datetime(2026, 7, 1, 13, 0, tzinfo=UTC))],
)
def test_a_clock_is_set_to_standard_time_unless_it_goes_with_summer_time(
    daylight_saving: bool,  # noqa: FBT001 - pytest's
    shown: datetime,
) -> None:
    bus = meters()
    now = datetime(2026, 7, 1, 10, 59, 40, tzinfo=UTC).astimezone(ZURICH)

    told = done(bus, lambda master: orders.set_clock(master, target("11127668"), now, daylight_saving=daylight_saving))

    assert bus.slaves[2].at == shown
    assert told.text == f"meter 11127668 has its clock at {shown:%Y-%m-%d %H:%M} now"
    assert bus.slaves[1].at is None


def test_summer_time_is_marked_where_the_clock_goes_with_it() -> None:
    at = datetime(2026, 7, 1, 13, 5)  # noqa: DTZ001 - a meter's clock has no zone

    assert orders.type_f(at, summer=True).hex() == "058d4137"
    assert orders.type_f(at, summer=False).hex() == "050d4137"


def test_a_clock_that_does_not_take_its_time_is_told() -> None:
    with pytest.raises(WrongAnswerError, match="its clock shows"):
        done(
            meters(Deaf),
            lambda master: orders.set_clock(
                master, target("1"), datetime(2026, 7, 1, tzinfo=ZURICH), daylight_saving=False
            ),
        )


# what a meter says


def seen(asked: str) -> Seen:
    bus = meters()
    bus.slaves[2].alarm = 0b101

    async def run() -> Seen:
        return await orders.inspect(Master(Direct(bus), Timing(baud=2400, latency=0.02)), target(asked))

    with asyncio.Runner(loop_factory=VirtualTime) as runner:
        return runner.run(run())


def test_an_alarm_is_told_beside_what_the_meter_says() -> None:
    assert seen("2").alarm == "alarm 05: bits 0, 2 set; the maker's manual says what they mean"
    assert seen("11127668").alarm is not None
    assert seen("1").alarm is None
    assert seen("1").frames[0]["header"]["id"] == "11127667"


async def test_the_driver_carries_orders_out_over_a_serial_line(tmp_path: Path) -> None:
    slaves = [Slave(address=at, captured=HEAT, serial=number) for at, number in enumerate(NUMBERS, 1)]
    wire = MBusWire(tmp_path / "ttyUSB0", slaves, baud=9600)
    line = BusSettings(device=str(wire.link), baud=9600)
    wire.plug()
    try:
        meter = MeterSettings(model="itron-cf-55", secondary=NUMBERS[0], serial=NUMBERS[0], daylight_saving=True)
        await driver.set_address(line, meter, 17)
        await driver.set_clock(line, meter, datetime(2026, 7, 1, 12, tzinfo=ZURICH))
        told = await driver.set_baud(line, meter, 38400)
        found = await driver.inspect(BusSettings(device=str(wire.link), baud=38400), "17")
        with pytest.raises(FieldError):
            await driver.inspect(line, "17")
    finally:
        wire.unplug()
    assert told.settings == {"baud": 38400}
    assert found.raw[5] == 17
    assert slaves[0].at == datetime(2026, 7, 1, 12, tzinfo=UTC)
    assert "046d" in driver.model_file(found.raw, "here")
