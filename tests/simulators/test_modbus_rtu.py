"""The serial line with Modbus devices: when octets come, the silence between frames, and speeds. Nothing waits here."""

from __future__ import annotations

import random

import pytest

from simulators.modbus import RtuBus, Unit, layouts, with_crc
from simulators.modbus.rtu import BITS, frame_pause
from simulators.pty import Noise

ASK = with_crc(bytes.fromhex("01 04 0048 0004"))
ANSWER = with_crc(bytes.fromhex("01 04 08 3f000000 3e800000"))
LONG = 1000.0


def meter(address: int = 1) -> Unit:
    return Unit(address=address, layout=layouts()["eastron-sdm630"], counts={"import": 50, "export": 25})


@pytest.mark.parametrize(
    ("baud", "words", "turnaround", "per_second"),
    [(9600, 2, 0.005, 30.8), (9600, 2, 0.05, 12.9), (19200, 2, 0.02, 29.6), (115200, 2, 0.005, 98.8)],
)
def test_a_round_takes_what_the_line_allows(baud: int, words: int, turnaround: float, per_second: float) -> None:
    """Octets of 11 bits, two silences and the turnaround: 13 + 2n octets."""
    bus = RtuBus([meter()], baud=baud, turnaround=turnaround)
    request, now, rounds = with_crc(bytes.fromhex("01 04 0048") + words.to_bytes(2, "big")), 0.0, 100
    for _ in range(rounds):
        bus.send(request, now)
        due = bus.due(LONG)
        assert due is not None
        assert len(bus.take(due)) == 5 + 2 * words
        now = due + frame_pause(baud)
    assert rounds / now == pytest.approx(per_second, abs=0.05)
    assert bus.too_early == 0


def test_octets_come_one_after_the_other() -> None:
    bus = RtuBus([meter()], baud=1200, turnaround=0.1)
    bus.send(ASK, 0.0)
    octet = BITS / 1200
    first = len(ASK) * octet + 3.5 * octet + 0.1
    assert bus.take(first + 0.99 * octet) == b""
    assert bus.take(first + 1.01 * octet) == ANSWER[:1]
    assert bus.take(first + 5.01 * octet) == ANSWER[1:5]
    assert bus.take(LONG) == ANSWER[5:]


@pytest.mark.parametrize("bits", [10, 11, 12])
def test_an_octet_is_as_long_as_its_bits(bits: int) -> None:
    bus = RtuBus([meter()], baud=1200, turnaround=0.1)
    bus.bits = bits
    bus.send(ASK, 0.0)
    octet = bits / 1200
    first = len(ASK) * octet + 3.5 * octet + 0.1
    assert bus.take(first + 0.99 * octet) == b""
    assert bus.take(first + 1.01 * octet) == ANSWER[:1]


@pytest.mark.parametrize("baud", [1200, 9600, 115200])
def test_a_request_before_the_silence_is_over_is_counted_and_answered(baud: int) -> None:
    bus = RtuBus([meter()], baud=baud)
    bus.send(ASK, 0.0)
    end = bus.due(LONG)
    assert end is not None
    bus.send(ASK, end + 0.9 * frame_pause(baud))
    assert bus.too_early == 1
    assert bus.take(LONG) == ANSWER * 2
    bus.send(ASK, LONG)
    bus.send(ASK, LONG + 1)
    assert bus.too_early == 1
    bus.send(ASK, LONG + 1)
    assert bus.too_early == 2


def test_a_request_into_an_answer_is_too_early_and_one_before_a_late_answer_is_not() -> None:
    bus = RtuBus([meter(1), meter(2)], baud=9600)
    bus.send(ASK, 0.0)
    end = bus.due(LONG)
    assert end is not None
    bus.send(ASK, end - 5 * BITS / 9600)
    assert bus.too_early == 1
    bus.units[1].fault = "late"
    bus.send(ASK, LONG)
    bus.send(ASK, LONG + 1)
    assert bus.too_early == 1


def test_a_late_answer_comes_later_by_as_much() -> None:
    bus = RtuBus([meter()], baud=9600)
    bus.send(ASK, 0.0)
    usual = bus.due(LONG)
    bus.take(LONG)
    bus.units[1].fault, bus.units[1].late = "late", 1.25
    bus.send(ASK, LONG)
    assert usual is not None
    assert bus.due(LONG) == pytest.approx(LONG + usual + 1.25)


def test_a_meter_with_a_speed_of_its_own_is_deaf_at_others() -> None:
    bus = RtuBus([meter()], baud=9600)
    bus.units[1].baud = 19200
    bus.send(ASK, 0.0)
    assert bus.due(LONG) is None
    bus.baud = 19200
    bus.send(ASK, LONG)
    assert bus.take(2 * LONG) == ANSWER


def test_an_echo_comes_first_and_is_no_frame_of_its_own() -> None:
    bus = RtuBus([meter()], baud=9600)
    bus.echo = True
    bus.send(ASK, 0.0)
    assert bus.take(LONG) == ASK + ANSWER
    assert bus.too_early == 0


def test_noise_spoils_both_ways() -> None:
    bus = RtuBus([meter()], baud=9600)
    bus.noise = Noise(chance=random.Random(1), rate=0.05, parity=False)
    good = 0
    for turn in range(200):
        bus.send(ASK, turn * 1.0)
        good += bus.take(turn + 0.99) == ANSWER
    assert 20 < good < 180
    assert bus.requests < 200


def test_who_is_not_there_and_a_line_that_says_nothing() -> None:
    bus = RtuBus([meter(2)], baud=9600)
    bus.send(ASK, 0.0)
    bus.units[1] = meter()
    bus.mute = True
    bus.send(ASK, 1.0)
    assert bus.take(LONG) == b""
    assert bus.requests == 2
    bus.mute = False
    bus.send(ASK, 2.0)
    assert bus.take(LONG) == ANSWER


def test_without_a_speed_everything_is_there_at_once() -> None:
    bus = RtuBus([meter()], baud=0, turnaround=0.0)
    bus.send(ASK, 5.0)
    assert bus.take(5.0) == ANSWER


def test_what_is_dropped_never_comes() -> None:
    bus = RtuBus([meter()], baud=9600)
    bus.send(ASK, 0.0)
    bus.drop()
    assert bus.due(LONG) is None
