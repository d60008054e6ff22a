"""What is sent and what is found in what comes back, without a line."""

from __future__ import annotations

import pytest

from drivers.mbus.frame import ACK, FrameError, parse_frame
from drivers.mbus.link import Receiver, Timing, req_ud2, snd_nke, split
from tests.drivers.mbus.slave import CAPTURED, from_address, long_frame, request

ANSWER = from_address(CAPTURED["itron_bm_+m"], 1)


def test_requests_are_short_frames() -> None:
    assert snd_nke(1) == bytes.fromhex("1040014116")
    assert req_ud2(1, fcb=True) == bytes.fromhex("107b017c16")
    assert req_ud2(250, fcb=False) == bytes.fromhex("105bfa5516")


def test_timing_follows_from_the_baud_rate() -> None:
    slow = Timing(baud=300, latency=0.0)
    assert slow.answer() == pytest.approx(1.15)
    assert Timing(baud=2400, latency=0.1).answer() == pytest.approx(0.2875)
    assert Timing(baud=2400, latency=0.1, timeout=2.0).answer() == 2.0
    assert slow.octets(5) == pytest.approx(0.18333, rel=1e-4)
    assert slow.silence() == pytest.approx(0.11)


def test_three_tries_of_a_dead_meter_take_two_thirds_of_a_second_at_2400_baud() -> None:
    timing = Timing(baud=2400, latency=0.0)

    assert 3 * (timing.octets(5) + timing.answer()) == pytest.approx(0.63, abs=0.01)


def test_an_answer_is_found_as_soon_as_its_last_octet_is_there() -> None:
    receiver = Receiver(1, "data")

    assert [receiver.feed(ANSWER[at : at + 1]) for at in range(len(ANSWER))] == [None] * (len(ANSWER) - 1) + [ANSWER]


def test_an_echo_is_no_problem() -> None:
    receiver = Receiver(1, "data")

    assert receiver.feed(request("ud2+")) is None
    assert receiver.finish() is None
    assert receiver.problem is None


def test_an_acknowledgement_is_taken_only_where_one_is_awaited() -> None:
    assert Receiver(1, "ack").feed(ACK) == ACK
    assert Receiver(1, "data").feed(ACK) is None


def test_octet_e5_inside_an_echo_acknowledges_nothing() -> None:
    receiver = Receiver(0xE5, "ack")

    assert receiver.feed(snd_nke(0xE5)) is None
    assert receiver.feed(ACK) == ACK


def test_data_do_not_acknowledge_but_what_follows_them_may() -> None:
    receiver = Receiver(1, "ack")

    assert receiver.feed(ANSWER) is None
    assert receiver.problem == "data came instead of an acknowledgement"
    assert receiver.feed(ACK) == ACK


def test_a_frame_that_no_slave_sends_is_skipped() -> None:
    receiver = Receiver(1, "data")
    foreign = long_frame(ANSWER[6:-2], control=0x0B)

    assert receiver.feed(foreign + ANSWER) == ANSWER
    assert receiver.problem == "C field 0b is no answer of a meter"


@pytest.mark.parametrize("control", [0x08, 0x18, 0x28, 0x38])
def test_access_demand_and_data_flow_bits_do_not_matter(control: int) -> None:
    frame = long_frame(ANSWER[6:-2], control=control)

    assert Receiver(1, "data").feed(frame) == frame


def test_a_start_that_claims_more_than_comes_is_given_up_at_the_end() -> None:
    receiver = Receiver(1, "data")

    assert receiver.feed(bytes.fromhex("68ffff6808") + ANSWER) is None
    assert receiver.finish() == ANSWER


@pytest.mark.parametrize(
    ("octets", "reason"),
    [
        (ANSWER[:1] + b"\x3d" + ANSWER[2:], "two lengths differ"),
        (ANSWER[:3] + b"\x69" + ANSWER[4:], "second start is 69"),
        (ANSWER[:-2] + b"\x00\x16", "checksum is 00"),
        (ANSWER[:-1] + b"\x17", "stops with 17"),
        (ANSWER[:-1], "has 65 octets, its length field says 66"),
        (ANSWER + b"\x16", "has 67 octets, its length field says 66"),
        (bytes.fromhex("6802026808010916"), "no room for C, A and CI"),
        (bytes.fromhex("6800006800" + "16"), "no room for C, A and CI"),
    ],
)
def test_a_frame_is_accepted_only_whole(octets: bytes, reason: str) -> None:
    with pytest.raises(FrameError, match=reason):
        parse_frame(octets)


def test_frames_behind_each_other_are_split() -> None:
    assert split(ANSWER + ANSWER) == [ANSWER, ANSWER]
    with pytest.raises(FrameError):
        split(ANSWER + b"\x00\x00\x00\x00")
