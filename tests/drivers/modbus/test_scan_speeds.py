"""The speeds that a search of a serial line tries, and its way through them."""

from __future__ import annotations

import random
from functools import partial

import pytest

from drivers.modbus.passes import UNITS
from drivers.modbus.speeds import Speed, tried
from gateway.ports.field import ScanOrder
from tests.drivers.modbus.searching import EVERY, OWN, Bus, meter, searched


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


def test_slow_meters_are_also_looked_for_at_another_speed_where_one_was_heard() -> None:
    quick, slow = meter(200, baud=38400), meter(201, baud=38400, late=0.25)
    slow.fault = None
    bus = Bus([quick, slow])
    bus.units[201].fault = "late"

    found = searched(bus, EVERY)

    assert sorted(found.units) == [200, 201]


def test_the_way_does_not_become_longer_in_the_middle_of_it() -> None:
    found = searched(Bus([meter(5, baud=19200)]), EVERY)

    percents = [each.percent for each in found.progress]
    assert percents == sorted(percents)
    assert percents.count(100) == 1
    assert percents[-1] == 100
    assert found.passes[-2:] == ["19200 baud, parity none", "9600 baud, parity none"]
    assert len(found.passes) == 12 + 2


def test_at_another_baud_rate_others_are_looked_for_beside_one_that_answers_for_all() -> None:
    bus = Bus([meter(address) for address in UNITS if address != 40] + [meter(40, baud=19200)])

    assert searched(bus, EVERY[:2]).units == [1, 40]


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
