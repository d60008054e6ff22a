"""A search finds every meter, each of them once, whatever the line does to its answers."""

from __future__ import annotations

import asyncio
import random
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import pytest

from drivers.mbus import driver, search
from drivers.mbus.link import Timing
from drivers.mbus.model import MODELS
from drivers.mbus.scan import Speed, scan
from drivers.mbus.search import Search, Step
from drivers.mbus.settings import BusSettings
from gateway.ports.field import Device, ScanOrder, ScanProgress, ScanRefusedError, ScanTrouble
from simulators.mbus import Bus, Direct, Line, Slave, captured_telegrams
from tests.virtual_time import VirtualTime

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from gateway.ports.field import Scanned

KINDS = tuple(captured_telegrams().values())
HEAT = captured_telegrams()["itron-cf-55"]
WATER = captured_telegrams()["itron-bm-plus-m"]


@dataclass
class Found:
    devices: list[Device] = field(default_factory=list)
    troubles: list[ScanTrouble] = field(default_factory=list)
    progress: list[ScanProgress] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def numbers(self) -> list[str]:
        return sorted(str(each.facts["secondary"])[:8] for each in self.devices)


def searched(bus: Bus, *, way: str = "secondary", rest: str = "", steps: int | None = None) -> Found:
    """On a clock that jumps; ends after so many steps."""

    async def connect() -> Direct:
        return Direct(bus)

    async def work() -> Found:
        found, begun = Found(), asyncio.get_running_loop().time()
        speed = Speed(baud=2400, timing=Timing(baud=2400, latency=0.02), connect=connect)
        events = scan(lambda _: speed, (2400,), ScanOrder(way=way, rest=rest))
        async for each in events:
            if isinstance(each, Device):
                found.devices.append(each)
            elif isinstance(each, ScanTrouble):
                found.troubles.append(each)
            else:
                found.progress.append(each)
            if len(found.progress) == steps:
                break
        await events.aclose()
        found.seconds = asyncio.get_running_loop().time() - begun
        return found

    with asyncio.Runner(loop_factory=VirtualTime) as runner:
        return runner.run(work())


def meters(chance: random.Random, count: int, numbers: Sequence[int] = range(10**8)) -> list[Slave]:
    return [
        Slave(address=at, captured=chance.choice(KINDS), serial=f"{number:08}")
        for at, number in enumerate(chance.sample(numbers, count), 1)
    ]


def numbers(slaves: Sequence[Slave]) -> list[str]:
    return sorted(slave.serial for slave in slaves)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(
    ("count", "lot"), [(0, range(1)), (1, range(10**8)), (60, range(10**8)), (30, range(11120000, 11120100))]
)
def test_every_meter_is_found_once(seed: int, count: int, lot: range) -> None:
    slaves = meters(random.Random(seed), count, lot)

    found = searched(Bus(slaves))

    assert found.numbers == numbers(slaves)
    assert not found.troubles
    assert found.progress[-1].percent == 100


@pytest.mark.parametrize("seed", range(2))
def test_every_meter_is_found_although_acknowledgements_do_not_coincide(seed: int) -> None:
    """Their collision is often lost altogether: to a receiver that drops wrong parity it is silence."""
    chance = random.Random(seed)
    slaves = meters(chance, 20)
    for slave in slaves:
        slave.lag = chance.random() * 0.18

    assert searched(Bus(slaves)).numbers == numbers(slaves)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("rate", [0.001, 0.002, 0.01])
def test_every_meter_is_found_on_a_line_that_loses_octets(seed: int, rate: float) -> None:
    """A wrong parity is a lost octet; so may be a selection, and then nobody answers."""
    chance = random.Random(seed)
    slaves = meters(chance, 20)
    bus = Bus(slaves)
    bus.noise = lambda octets: bytes(octet for octet in octets if chance.random() > rate)

    found = searched(bus)

    assert found.numbers == numbers(slaves)
    assert not found.troubles


class Spoiled:
    """Damages the first answers with data."""

    def __init__(self, count: int) -> None:
        self.left = count

    def __call__(self, octets: bytes) -> bytes:
        if self.left and len(octets) > 1 and b"\x16" in octets:
            self.left -= 1
            return octets.replace(b"\x16", b"\x17")
        return octets


@pytest.mark.parametrize("damaged", [0, 1])
def test_noise_is_not_taken_for_a_collision(damaged: int) -> None:
    slaves = meters(random.Random(1), 1)
    bus = Bus(slaves)
    bus.noise = Spoiled(damaged)

    found = searched(bus)

    assert found.numbers == numbers(slaves)
    selections = [each.place[:27] for each in found.progress]
    assert len(set(selections)) == 10, "the first digit is tried, and no second"


def test_a_meter_with_garbage_before_each_answer_is_one_meter() -> None:
    (slave,) = slaves = meters(random.Random(1), 1)
    slave.fault = "noise"

    found = searched(Bus(slaves))

    assert found.numbers == numbers(slaves)
    assert not found.troubles


def test_an_answer_behind_another_one_is_a_collision() -> None:
    """The second meter begins when the first has ended: both frames are whole."""
    quick, slow = (Slave(address=at, captured=WATER, serial=f"1000000{at}") for at in (1, 2))
    bus = Bus([quick, slow], baud=2400)
    bus.baud = 38400
    slow.lag = 66 * 11 / 38400 + 0.002

    async def connect() -> Direct:
        return Direct(bus)

    async def work() -> list[str]:
        speed = Speed(baud=38400, timing=Timing(baud=38400, latency=0.02), connect=connect)
        events = scan(lambda _: speed, (38400,), ScanOrder())
        return [str(each.facts["secondary"])[:8] async for each in events if isinstance(each, Device)]

    with asyncio.Runner(loop_factory=VirtualTime) as runner:
        assert sorted(runner.run(work())) == ["10000001", "10000002"]


def test_meters_of_one_number_are_told_apart_by_their_manufacturer() -> None:
    slaves = [Slave(address=at, captured=kind, serial="12345678") for at, kind in enumerate(KINDS, 1)]

    found = searched(Bus(slaves))

    assert len(found.devices) == len(KINDS)
    assert {str(each.facts["secondary"])[8:] for each in found.devices} == {
        slave.secondary()[4:].hex().upper() for slave in slaves
    }


def marked(address: int, version: int, medium: int) -> Slave:
    """A water meter of the same number and manufacturer as the others."""
    raw = WATER.raw[:13] + bytes([version, medium]) + WATER.raw[15:]
    return Slave(address=address, captured=replace(WATER, raw=raw), serial="12345678")


@pytest.mark.parametrize("marks", [((1, 7), (2, 7), (3, 7)), ((1, 6), (1, 7)), ((200, 7), (1, 6), (1, 7))])
def test_meters_of_one_number_and_manufacturer_are_told_apart_by_medium_and_version(
    marks: tuple[tuple[int, int], ...],
) -> None:
    slaves = [marked(at, *mark) for at, mark in enumerate(marks, 1)]

    found = searched(Bus(slaves))

    assert {str(each.facts["secondary"])[12:] for each in found.devices} == {
        f"{version:02X}{medium:02X}" for version, medium in marks
    }


def test_meters_that_cannot_be_told_apart_are_told_as_such() -> None:
    twins = [Slave(address=at, captured=WATER, serial="12345678", counts={"volume": at}) for at in (1, 2)]

    found = searched(Bus(twins))

    assert not found.devices
    (trouble,) = found.troubles
    assert trouble.place.startswith("secondary address 12345678")
    assert "several meters share this secondary address" in trouble.text


def test_a_search_by_primary_address_finds_every_meter_and_tells_where_two_share_one() -> None:
    slaves = [*meters(random.Random(3), 4), *(Slave(address=9, captured=WATER, serial=f"{n}") for n in (1, 2))]

    found = searched(Bus(slaves), way="primary")

    assert [each.wiring["address"] for each in found.devices] == [1, 2, 3, 4]
    (trouble,) = found.troubles
    assert trouble.place == "address 9"
    assert found.progress[-1].woken == 0


def test_what_is_found_says_how_to_wire_it() -> None:
    found = searched(Bus([Slave(address=5, captured=HEAT, serial="11127667")]))

    (device,) = found.devices
    assert device.wiring == {"model": "itron-cf-55", "secondary": device.facts["secondary"]}
    assert (device.facts["address"], device.facts["manufacturer"], device.speed) == (5, "ACW", 2400)


@pytest.mark.parametrize("steps", [1, 7, 40])
def test_a_search_that_was_interrupted_goes_on_where_it_was(steps: int) -> None:
    slaves = meters(random.Random(5), 30)
    whole = searched(Bus(slaves))
    first = searched(Bus(slaves), steps=steps)
    second = searched(Bus(slaves), rest=first.progress[-1].rest)

    assert sorted(first.numbers + second.numbers) == whole.numbers
    assert len(first.progress) + len(second.progress) == len(whole.progress)


def test_the_search_tells_how_often_everybody_was_woken() -> None:
    slaves = meters(random.Random(5), 10)

    found = searched(Bus(slaves))

    assert all(slave.heard["selection"] == found.progress[-1].woken for slave in slaves)


def test_a_meter_that_answers_at_every_baud_rate_is_found_once() -> None:
    bus = Bus(meters(random.Random(5), 3))

    def at(baud: int) -> Speed:
        async def connect() -> Direct:
            bus.baud = baud
            return Direct(bus)

        return Speed(baud=baud, timing=Timing(baud=baud, latency=0.02), connect=connect)

    async def work() -> list[Scanned]:
        return [each async for each in scan(at, (2400, 9600), ScanOrder())]

    with asyncio.Runner(loop_factory=VirtualTime) as runner:
        events = runner.run(work())
    assert [each.speed for each in events if isinstance(each, Device)] == [2400] * 3
    percents = {each.place[-9:]: each.percent for each in events if isinstance(each, ScanProgress)}
    assert percents == {"2400 baud": 50, "9600 baud": 100}


# what is asked next


def several_everywhere(asked: Callable[[Search, Step], None]) -> Search:
    going = search.begin("secondary", [0x0477])
    step = going.next()
    assert step is not None
    asked(going, step)
    return going


def test_a_crowd_is_divided_without_asking_for_data() -> None:
    going = search.begin("secondary", [])
    going.covered, going.seen = 10**7, [str(number) for number in range(6)]

    assert going.crowded(Step("ask", "1FFFFFFF").asked)
    assert not going.crowded(Step("ask", "12FFFFFF").asked)
    assert not going.crowded(Step("ask", "12345678").asked)


def test_on_a_line_without_damage_a_collision_is_believed_at_once() -> None:
    going = search.begin("secondary", [])
    assert going.asks_again(Step("ask", "1FFFFFFF").asked, 1)
    going.answers = 100

    assert not going.asks_again(Step("ask", "1FFFFFFF").asked, 1)
    assert going.asks_again(Step("ask", "12345678").asked, 2)


def silent_search(answers: int) -> tuple[Search, list[Step]]:
    """The first digits are silent but for one; what is asked behind them."""
    going = search.begin("secondary", [])
    going.answers, again = answers, []
    while (step := going.next()) is not None:
        if step.kind != "ask":
            again.append(step)
        going.silence(step)
    return going, again


@pytest.mark.parametrize(("answers", "count"), [(0, 10), (20, 10), (30, 5), (40, 0), (60, 0)])
def test_silence_is_asked_once_more_where_few_answers_speak_for_the_line(answers: int, count: int) -> None:
    going, again = silent_search(answers)

    assert [step.kind for step in again] == ["check"] * count
    assert going.covered == 10**8


def test_a_meter_found_where_there_was_silence_makes_the_search_ask_all_silent_places_again() -> None:
    going = search.begin("secondary", [])
    kinds = []
    while (step := going.next()) is not None:
        kinds.append(step.kind)
        going.one(step, "a meter") if (step.kind, step.place[0]) == ("check", "7") else going.silence(step)

    assert kinds == ["ask"] * 10 + ["check"] * 10 + ["again"] * 9


def test_where_several_answered_and_one_was_found_silent_places_are_asked_again() -> None:
    def first_digit(going: Search, step: Step) -> None:
        going.several(step, surely=True)
        for digit in range(10):
            one = going.next()
            assert one is not None
            going.one(one, "a meter") if digit == 3 else going.silence(one)

    going = several_everywhere(first_digit)
    again = [going.next() for _ in range(9)]

    assert [each and each.kind for each in again] == ["again"] * 9


# orders


@pytest.mark.parametrize(
    ("order", "text"),
    [
        (ScanOrder(way="tertiary"), '"tertiary" is no way to search an M-Bus line; write secondary or primary'),
        (ScanOrder(rest="{}"), "search from the beginning"),
        (ScanOrder(rest="x"), "search from the beginning"),
        (ScanOrder(speeds=(9600,)), "the level converter's own; set it there"),
        (ScanOrder(speeds=(1234,)), "the level converter's own"),
    ],
)
async def test_an_order_that_cannot_be_carried_out_is_refused(order: ScanOrder, text: str) -> None:
    with pytest.raises(ScanRefusedError, match=text):
        await anext(driver.scan(BusSettings(host="127.0.0.1", port=1), order))


async def test_a_baud_rate_that_the_bus_does_not_know_is_refused() -> None:
    with pytest.raises(ScanRefusedError, match="1234 is no baud rate of the M-Bus"):
        await anext(driver.scan(BusSettings(device="/dev/null"), ScanOrder(speeds=(1234,))))


async def test_a_meter_that_only_an_installers_own_file_knows_is_recognised() -> None:
    line = Line([Slave(address=1, captured=WATER, serial="11127667")], baud=38400)
    bus = BusSettings(host="127.0.0.1", port=await line.start(), baud=38400)
    own = driver.with_models({"our-water": MODELS["itron-bm-plus-m"]})
    async with aclosing(own.scan(bus, ScanOrder(way="primary"))) as events:
        found = next(each for each in [await anext(events) for _ in range(3)] if isinstance(each, Device))
    await line.close()

    assert found.wiring == {"model": "our-water", "address": 1}


async def test_a_parity_is_refused() -> None:
    with pytest.raises(ScanRefusedError, match="even parity everywhere"):
        await anext(driver.scan(BusSettings(device="/dev/null"), ScanOrder(parities=("odd",))))
