"""Who is found on a serial line, and who is not."""

from __future__ import annotations

import pytest

from drivers.modbus.model import meter_models
from drivers.modbus.passes import UNITS
from drivers.modbus.sweep import found
from gateway.ports.field import LineDownError, ScanOrder
from simulators.modbus import Layout, Reply, Unit, layouts_of_models, with_crc
from tests.drivers.modbus.searching import EVERY, LAYOUT, Bus, meter, searched


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


def test_a_meter_that_is_silent_where_others_refuse_is_asked_once_more_than_those() -> None:
    image = {(3, 0): 0}
    layout = Layout(counters=LAYOUT.counters, image={**LAYOUT.image, **image}, serial=LAYOUT.serial)
    silent = Taciturn(address=5, layout=layout, counts={"import": 771234, "export": 3019})
    refusing = Unit(address=5, layout=layout, counts={"import": 771234, "export": 3019})

    [device] = searched(Bus([silent]), order=ScanOrder(units=(5,))).devices
    searched(Bus([refusing]), order=ScanOrder(units=(5,)))

    assert device.facts["model"] == "abb-b23"
    assert silent.asked <= refusing.asked + 1  # its first silence may be an answer that got lost


def test_a_meter_that_counts_while_it_is_looked_at_is_read_the_same_by_models_that_are_alike() -> None:
    class Counting(Unit):
        def hear(self, request: bytes, now: float) -> Reply | None:
            self.advance(200)
            return super().hear(request, now)

    meter = Counting(address=5, layout=layouts_of_models()["eastron-sdm630"], counts={"import": 77123, "export": 3019})
    alike = {name: meter_models()[name] for name in ("eastron-sdm630", "eastron-sdm120", "eastron-sdm72d-m")}

    [device] = searched(Bus([meter]), order=ScanOrder(units=(5,)), models=alike).devices

    assert (device.facts["sure"], device.facts["alike"]) == ("likely", "eastron-sdm120, eastron-sdm72d-m")


def test_an_adapter_that_gives_back_what_is_sent_finds_only_who_is_there() -> None:
    found = searched(Bus([meter(3), meter(4)], echo=True))

    assert found.units == [3, 4]
    assert not found.troubles


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


def test_a_device_that_is_no_meter_takes_no_place_of_one() -> None:
    found = searched(Bus([meter(1), Unit(address=2, layout=Layout(counters={}))]))

    assert [(each.facts["unit"], each.facts["model"]) for each in found.devices] == [(1, "abb-b23"), (2, None)]
