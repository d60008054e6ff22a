"""Whatever octets come: a telegram or a FrameError, and nothing else. MUTANTS=10000000 for as many."""

from __future__ import annotations

import json
import os
import random

from hypothesis import given
from hypothesis import strategies as st

from drivers.mbus import records
from drivers.mbus.frame import FrameError
from drivers.mbus.link import Receiver
from drivers.mbus.report import describe
from drivers.mbus.telegram import decode
from tests.drivers.mbus.slave import CAPTURED, from_address, long_frame

FRAMES = int(os.environ.get("MUTANTS", "200000"))
SEED = 20261001
KEYS = (None, bytes(range(16)))
SECURE = ("72785634122440010755001005", "7278563412244001075500100710", "90030020257278563412244001075500100700")
"""headers of encrypted records, the last behind an authentication layer"""


def mutant(chance: random.Random, seeds: list[bytes]) -> bytes:
    """A captured telegram with some octets changed, dropped or added, mostly in a frame that is right again."""
    data = bytearray(chance.choice(seeds))
    for _ in range(chance.randint(1, 4)):
        at = chance.randrange(len(data))
        match chance.randrange(4):
            case 0:
                data[at] = chance.randrange(256)
            case 1:
                data[at] ^= 1 << chance.randrange(8)
            case 2:
                del data[at:]
                data += b"\x00"
            case _:
                data[at:at] = chance.randbytes(chance.randint(1, 3))
    frame = long_frame(bytes(data[:250]))
    return frame if chance.random() < 0.95 else frame[: chance.randrange(len(frame))]


def seeds() -> list[bytes]:
    """User data of the captured telegrams and of encrypted ones."""
    captured = [frame[6:-2] for frame in CAPTURED.values() if frame[:1] == b"h" and len(frame) > 9]
    return captured + [bytes.fromhex(header) + bytes(range(48)) for header in SECURE]


def test_mutants_give_a_telegram_or_a_frame_error_at_one_of_their_octets() -> None:
    chance = random.Random(SEED)
    data = seeds()
    accepted, elsewhere = 0, []
    for number in range(FRAMES):
        frame = mutant(chance, data)
        try:
            decode(frame, KEYS[number % 2])
        except FrameError as error:
            if not 0 <= error.offset <= len(frame):
                elsewhere.append((error.offset, frame.hex()))
            continue
        accepted += 1

    assert FRAMES / 10 < accepted < FRAMES
    assert elsewhere == []


def test_what_was_read_before_changes_nothing_and_is_bounded() -> None:
    chance = random.Random(SEED)
    data = seeds()
    frames = [mutant(chance, data) for _ in range(20_000)]
    warm = [describe(frame) for frame in frames]
    cold = []
    for frame in frames[:2_000]:
        records.PLANS.clear()
        cold.append(describe(frame))

    assert warm[:2_000] == cold
    assert [describe(frame) for frame in frames] == warm
    assert 1_000 < len(records.PLANS) <= 2_048


@given(st.binary(max_size=300))
def test_any_octets_give_a_telegram_or_a_frame_error(octets: bytes) -> None:
    assert describe(octets)["ok"] in (True, False)


@given(st.binary(max_size=240), st.sampled_from([0x72, 0x73, 0x76, 0x77, 0x78, 0x7A, 0x70, 0x71]))
def test_any_user_data_gives_a_json_object(user_data: bytes, ci: int) -> None:
    found = describe(long_frame(bytes([ci]) + user_data))

    assert json.loads(json.dumps(found)) == found


@given(st.binary(max_size=40), st.data(), st.sampled_from(sorted(CAPTURED)))
def test_an_answer_is_found_behind_any_noise_in_any_pieces(noise: bytes, data: st.DataObject, name: str) -> None:
    if CAPTURED[name][:1] != b"h" or CAPTURED[name][4] != 0x08:
        return
    answer = from_address(CAPTURED[name], 3)
    octets = noise + answer
    cuts = sorted(data.draw(st.lists(st.integers(0, len(octets)), max_size=4)))
    receiver = Receiver(3, "data")

    found = None
    for start, end in zip([0, *cuts], [*cuts, len(octets)], strict=True):
        found = found or receiver.feed(octets[start:end])

    assert (found or receiver.finish()) == answer
