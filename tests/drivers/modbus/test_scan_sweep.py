"""The search of a serial line at all its speeds, against simulated meters, on a clock that jumps."""

from __future__ import annotations

import asyncio
import random
from dataclasses import dataclass, field
from functools import partial
from itertools import groupby
from typing import TYPE_CHECKING

import pytest

from drivers.modbus.model import meter_models
from drivers.modbus.passes import UNITS
from drivers.modbus.rtu import Pace, frame_pause
from drivers.modbus.scan import Place, Wire, scan
from drivers.modbus.speeds import Speed, tried
from drivers.modbus.sweep import found
from gateway.ports.field import Device, LineDownError, ScanOrder, ScanProgress, ScanTrouble
from simulators.modbus import Layout, Reply, RtuBus, Unit, layouts_of_models, with_crc
from simulators.modbus.rtu import BITS
from tests.virtual_time import VirtualTime

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from drivers.modbus.model import RegisterMap
    from drivers.serial import Parity

LAYOUT = layouts_of_models()["abb-b23"]
MODELS = {name: meter_models()[name] for name in ("abb-b23", "eastron-sdm630")}
OWN = Speed(baud=9600, parity="none", stopbits=1)
BRIEF, LONG = 0.12, 0.3
BAUDS: tuple[int, ...] = (9600, 19200, 38400, 115200)
PARITIES: tuple[Parity, ...] = ("none", "even", "odd")
EVERY = tuple(Speed(baud=baud, parity=parity, stopbits=1) for parity in PARITIES for baud in BAUDS)


def meter(address: int, *, baud: int = 9600, late: float = 0.0) -> Unit:
    """Its answers begin 0.005 s and `late` seconds behind a question."""
    unit = Unit(address=address, layout=LAYOUT, counts={"import": 771234, "export": 3019}, baud=baud)
    if late:
        unit.fault, unit.late = "late", late
    return unit


class Bus(RtuBus):
    """With devices of one parity, and somebody else who talks."""

    def __init__(self, units: Iterable[Unit], parity: Parity = "none", *, echo: bool = False) -> None:
        super().__init__(units)
        self.parity = parity
        self.echo = echo
        self.masters = parity
        self.chatter: tuple[bytes, float] | None = None
        """what somebody else says, and how often a second"""
        self.asked: set[int] = set()

    def answer(self, address: int, request: bytes) -> bytes:
        self.asked.add(address)
        return super().answer(address, request) if self.masters == self.parity else b""


class Direct:
    """A port on that bus."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        self._clock = asyncio.get_running_loop().time
        self._chattered = self._clock()

    async def send(self, octets: bytes) -> None:
        self._bus.send(octets, self._clock())

    async def receive(self, seconds: float) -> bytes:
        end = self._clock() + max(seconds, 0)
        while True:
            self._chat(end)
            if octets := self._bus.take(self._clock()):
                return octets
            due = self._bus.due(0.002)
            if due is None or due > end:
                await asyncio.sleep(end - self._clock())
                return self._bus.take(self._clock())
            await asyncio.sleep(due - self._clock() + 1e-9)

    async def close(self) -> None:
        self._bus.drop()

    def _chat(self, end: float) -> None:
        if self._bus.chatter is not None:
            octets, often = self._bus.chatter
            while self._chattered + 1 / often < end:
                self._chattered += 1 / often
                self._bus.talk(octets, max(self._chattered, self._clock()))


@dataclass
class Found:
    devices: list[Device] = field(default_factory=list)
    troubles: list[ScanTrouble] = field(default_factory=list)
    progress: list[ScanProgress] = field(default_factory=list)
    heard_at: list[float] = field(default_factory=list)
    """seconds after which each device was found"""
    seconds: float = 0.0

    @property
    def passes(self) -> list[str]:
        """The speeds in the order in which all units were asked."""
        return [speed for speed, _ in groupby(each.place.partition(" at ")[2] for each in self.progress)]

    @property
    def units(self) -> list[int]:
        return [int(str(each.facts["unit"])) for each in self.devices]


def searched(
    bus: Bus,
    speeds: tuple[Speed, ...] = (OWN,),
    order: ScanOrder | None = None,
    steps: int | None = None,
    models: Mapping[str, RegisterMap] = MODELS,
) -> Found:
    """Ends after so many steps."""

    def opened(speed: Speed) -> Wire:
        baud = speed.baud or 0

        async def connect() -> Direct:
            bus.baud, bus.masters = baud, speed.parity or "none"
            return Direct(bus)

        pace = Pace(octet_s=BITS / baud, pause_s=frame_pause(baud), gap_s=0.05)
        return Wire(connect=connect, pace=pace, brief=BRIEF)

    async def work() -> Found:
        all_, clock = Found(), asyncio.get_running_loop().time
        events = scan(Place(open=opened, wait=LONG, models=models), speeds, order or ScanOrder())
        async for each in events:
            if isinstance(each, Device):
                all_.devices.append(each)
                all_.heard_at.append(clock())
            elif isinstance(each, ScanTrouble):
                all_.troubles.append(each)
            else:
                all_.progress.append(each)
            if len(all_.progress) == steps:
                break
        await events.aclose()
        all_.seconds = clock()
        return all_

    with asyncio.Runner(loop_factory=VirtualTime) as runner:
        return runner.run(work())


def test_a_silent_line_is_searched_at_every_speed_and_parity_within_minutes() -> None:
    found = searched(Bus([]), EVERY)

    assert not found.devices
    assert not found.troubles
    assert found.seconds < 8 * 60


def test_the_time_left_is_told_from_the_beginning_and_the_way_only_grows() -> None:
    found = searched(Bus([]), EVERY)

    first = found.progress[5]
    assert first.seconds_left == pytest.approx(found.seconds, rel=0.1)
    percents = [each.percent for each in found.progress]
    assert percents == sorted(percents)
    assert percents[len(percents) // 2] == pytest.approx(50, abs=8)
    assert percents[-1] == 100
    assert percents.count(100) == 1
    assert found.progress[-1].seconds_left == 0


@pytest.mark.parametrize("speed", [OWN, Speed(baud=19200, parity="even", stopbits=1)])
def test_a_meter_is_found_at_its_speed_and_nowhere_else(speed: Speed) -> None:
    bus = Bus([meter(17, baud=speed.baud or 0)], speed.parity or "none")

    found = searched(bus, EVERY)

    [device] = found.devices
    assert (device.speed, device.facts["unit"], device.facts["parity"]) == (speed.baud, 17, speed.parity)
    assert device.line == {"baud": speed.baud, "parity": speed.parity, "stopbits": 1}
    assert device.facts["sure"] == "certain"


def test_usual_meters_are_found_in_the_first_half_minute_of_a_line() -> None:
    found = searched(Bus([meter(address) for address in (1, 30, 247)]))

    assert sorted(found.units) == [1, 30, 247]
    assert max(found.heard_at) < 45
    assert not found.troubles
    assert [each.place.partition(" at ")[0] for each in found.progress].count("unit 2") == 2


@pytest.mark.parametrize("late", [0.1, 0.15, 0.2, 0.25, 0.28])
def test_slow_meters_are_found_once_and_as_themselves(late: float) -> None:
    found = searched(Bus([meter(address, late=late) for address in (1, 30, 31, 247)]))

    assert sorted(found.units) == [1, 30, 31, 247]
    assert not found.troubles


class Forgetful(Unit):
    """Loses one answer."""

    lost: int = 0

    def hear(self, request: bytes, now: float) -> Reply | None:
        reply = super().hear(request, now)
        return None if self.asked == self.lost else reply


class Taciturn(Unit):
    """Says nothing where others refuse."""

    def hear(self, request: bytes, now: float) -> Reply | None:
        reply = super().hear(request, now)
        return None if reply is None or reply.pdu[0] & 0x80 else reply


@pytest.mark.parametrize("lost", range(1, 12))
def test_a_meter_of_which_an_answer_gets_lost_is_still_known_by_its_makers_words(lost: int) -> None:
    lossy = Forgetful(address=5, layout=LAYOUT, counts={"import": 771234, "export": 3019})
    lossy.lost = lost

    [device] = searched(Bus([lossy]), order=ScanOrder(units=(5,))).devices

    assert (device.facts["model"], device.facts["sure"]) == ("abb-b23", "certain")


def test_a_meter_that_is_silent_where_others_refuse_is_asked_no_more_than_those() -> None:
    image = {(3, 0): 0}
    layout = Layout(counters=LAYOUT.counters, image={**LAYOUT.image, **image}, serial=LAYOUT.serial)
    silent = Taciturn(address=5, layout=layout, counts={"import": 771234, "export": 3019})
    refusing = Unit(address=5, layout=layout, counts={"import": 771234, "export": 3019})

    [device] = searched(Bus([silent]), order=ScanOrder(units=(5,))).devices
    searched(Bus([refusing]), order=ScanOrder(units=(5,)))

    assert device.facts["model"] == "abb-b23"
    assert silent.asked <= refusing.asked


def test_a_meter_that_counts_while_it_is_looked_at_is_read_the_same_by_models_that_are_alike() -> None:
    class Counting(Unit):
        def hear(self, request: bytes, now: float) -> Reply | None:
            self.advance(200)
            return super().hear(request, now)

    meter = Counting(address=5, layout=layouts_of_models()["eastron-sdm630"], counts={"import": 77123, "export": 3019})
    alike = {name: meter_models()[name] for name in ("eastron-sdm630", "eastron-sdm120", "eastron-sdm72d-m")}

    [device] = searched(Bus([meter]), order=ScanOrder(units=(5,)), models=alike).devices

    assert (device.facts["sure"], device.facts["alike"]) == ("likely", "eastron-sdm120, eastron-sdm72d-m")


def test_slow_meters_are_also_looked_for_at_another_speed_where_one_was_heard() -> None:
    quick, slow = meter(200, baud=38400), meter(201, baud=38400, late=0.25)
    slow.fault = None
    bus = Bus([quick, slow])
    bus.units[201].fault = "late"

    found = searched(bus, EVERY)

    assert sorted(found.units) == [200, 201]


def test_an_adapter_that_gives_back_what_is_sent_finds_only_who_is_there() -> None:
    found = searched(Bus([meter(3), meter(4)], echo=True))

    assert found.units == [3, 4]
    assert not found.troubles


def test_the_way_does_not_become_longer_in_the_middle_of_it() -> None:
    found = searched(Bus([meter(5, baud=19200)]), EVERY)

    percents = [each.percent for each in found.progress]
    assert percents == sorted(percents)
    assert percents.count(100) == 1
    assert percents[-1] == 100
    assert found.passes[-2:] == ["19200 baud, parity none", "9600 baud, parity none"]
    assert len(found.passes) == 12 + 2


def test_who_answers_twice_is_two_devices_of_one_unit() -> None:
    class Twice(Bus):
        def answer(self, address: int, request: bytes) -> bytes:
            return 2 * super().answer(address, request)

    found = searched(Twice([meter(5)]))

    assert not found.devices
    assert [each.place for each in found.troubles] == ["unit 5 at 9600 baud, parity none"]


def test_devices_that_share_a_unit_are_told_once() -> None:
    both = meter(5)
    both.fault = "noise_after"

    found = searched(Bus([both, meter(9)]))

    assert found.units == [9]
    assert [each.place for each in found.troubles] == ["unit 5 at 9600 baud, parity none"]
    assert "several devices have this unit id" in found.troubles[0].text


def test_who_talks_at_another_speed_or_as_a_second_master_is_told_and_costs_minutes_not_hours() -> None:
    bus = Bus([meter(40)])
    bus.chatter = (bytes.fromhex("00ff6803a7"), 3.7)

    found = searched(bus)

    assert {each.place for each in found.troubles} == {"the line at 9600 baud, parity none"}
    assert "a second master" in found.troubles[0].text
    assert found.units == [40]
    assert found.seconds < 5 * 60


def test_one_device_that_answers_for_every_unit_is_one() -> None:
    found = searched(Bus([meter(address) for address in UNITS]), EVERY)

    assert found.units == [1]
    [trouble] = found.troubles
    assert trouble.text == "one device answers for every unit id: it is asked as unit 1 only"


def test_at_another_baud_rate_others_are_looked_for_beside_one_that_answers_for_all() -> None:
    bus = Bus([meter(address) for address in UNITS if address != 40] + [meter(40, baud=19200)])

    assert searched(bus, EVERY[:2]).units == [1, 40]


def test_nobody_is_asked_by_broadcast_whatever_is_heard() -> None:
    class Spoilt(Bus):
        def answer(self, address: int, request: bytes) -> bytes:
            return super().answer(address, request) + b"\0"

    bus = Spoilt([meter(address) for address in UNITS])
    searched(bus, steps=12)

    assert bus.asked <= set(UNITS)


def test_answers_to_a_second_master_are_nobody_who_was_asked() -> None:
    bus = Bus([meter(40)])
    bus.chatter = (with_crc(bytes.fromhex("6f0302 0001")), 3.7)

    found = searched(bus, order=ScanOrder(units=tuple(range(30, 60))))

    assert found.units == [40]
    assert "a second master" in found.troubles[0].text


def test_meters_at_the_end_of_the_range_are_no_device_that_answers_for_all() -> None:
    found = searched(Bus([meter(address) for address in (245, 246, 247)]))

    assert found.units == [245, 246, 247]


def test_only_the_wanted_units_are_asked() -> None:
    bus = Bus([meter(4), meter(6)])

    found = searched(bus, order=ScanOrder(units=(5, 6, 7)))

    assert found.units == [6]
    assert {each.place.split(" at ")[0] for each in found.progress} == {"unit 5", "unit 6", "unit 7"}
    assert found.progress[-1].percent == 100


@pytest.mark.parametrize("seed", range(6))
def test_a_search_that_is_interrupted_anywhere_finds_the_same_on_the_same_way(seed: int) -> None:
    chance = random.Random(seed)
    units = chance.sample(UNITS, 4)
    bus = Bus([meter(address, late=chance.choice((0.0, 0.2))) for address in units])
    speeds = EVERY[:3]
    whole = searched(bus, speeds)
    rest, parts = "", []
    for steps in [chance.randrange(1, 240) for _ in range(4)]:
        parts.append(searched(bus, speeds, ScanOrder(rest=rest), steps))
        rest = parts[-1].progress[-1].rest

    parts.append(searched(bus, speeds, ScanOrder(rest=rest)))

    assert sorted(unit for each in parts for unit in each.units) == sorted(units) == sorted(whole.units)
    way = [(each.place, each.percent) for part in parts for each in part.progress]
    assert way == [(each.place, each.percent) for each in whole.progress]


def test_a_converter_that_hangs_up_is_called_again_and_one_that_is_gone_ends_the_search() -> None:
    class Flaky(Bus):
        hangs_up_at: set[int]

        def send(self, octets: bytes, now: float) -> None:
            if octets[0] in self.hangs_up_at:
                self.hangs_up_at.remove(octets[0])
                message = "the converter closed the connection"
                raise LineDownError(message)
            super().send(octets, now)

    bus = Flaky([meter(2), meter(30)])
    bus.hangs_up_at = {21, 22, 35, 45, 55}
    assert searched(bus).units == [2, 30]
    bus.hangs_up_at = {21, 22, 23}
    with pytest.raises(LineDownError, match="closed the connection"):
        searched(bus)


def test_noise_before_an_answer_is_none_and_behind_it_spoils_it() -> None:
    answer, refusal = with_crc(bytes.fromhex("070302 1234")), with_crc(bytes.fromhex("078302"))

    assert found(answer) == ([(7, True)], False)
    assert found(b"\0\xff" + refusal + answer) == ([(7, True), (7, True)], False)
    assert found(answer + b"\0") == ([(7, True)], True)
    assert found(answer[:-1]) == ([], True)
    assert found(with_crc(bytes.fromhex("07830b"))) == ([(7, False)], False)


def order_of(own: tuple[int, str], order: ScanOrder) -> list[tuple[int, str]]:
    return tried(own, order, every=order.way == "all")


def test_the_lines_own_speed_is_tried_first_then_the_usual_ones_and_odd_parity_last() -> None:
    found = order_of((4800, "even"), ScanOrder(way="all"))

    assert found[:5] == [(4800, "even"), (9600, "none"), (9600, "even"), (19200, "even"), (19200, "none")]
    assert len(found) == len(set(found)) == 18
    assert {parity for _, parity in found[12:]} == {"odd"}


def test_what_is_named_is_tried_in_its_order() -> None:
    named = partial(order_of, (9600, "none"))

    assert named(ScanOrder(speeds=(38400, 9600))) == [(38400, "none"), (9600, "none")]
    assert named(ScanOrder(parities=("odd", "even"))) == [(9600, "odd"), (9600, "even")]
    assert named(ScanOrder(way="all", speeds=(19200,))) == [(19200, "even"), (19200, "none"), (19200, "odd")]
    assert named(ScanOrder()) == [(9600, "none")]


def test_a_device_that_is_no_meter_takes_no_place_of_one() -> None:
    found = searched(Bus([meter(1), Unit(address=2, layout=Layout(counters={}))]))

    assert [(each.facts["unit"], each.facts["model"]) for each in found.devices] == [(1, "abb-b23"), (2, None)]
