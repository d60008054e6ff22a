"""Octets of a serial wedge reader."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from drivers.badges.frames import MOST, Frames

identifiers = st.sampled_from([4, 7, 10]).flatmap(lambda size: st.binary(min_size=size, max_size=size))


def heard(octets: bytes, *, reverse: bool = False) -> list[str]:
    return Frames(reverse=reverse).feed(octets)


def test_a_frame_is_an_identifier() -> None:
    assert heard(b"\x0204a1B2c3\x03") == ["04A1B2C3"]
    assert heard(b"\x02 04 A1 B2 C3\r\n\x03") == ["04A1B2C3"]
    assert heard(b"\x0204A1B2C3\x03", reverse=True) == ["C3B2A104"]
    assert heard(b"\x0204A1B2C3\x03\x0204A1B2C3D4E5F6\x03") == ["04A1B2C3", "04A1B2C3D4E5F6"]


def test_what_is_no_identifier_is_noise() -> None:
    for text in (b"04A1B2C3", b"\x02", b"\x0204A1B2", b"\x0204A1B2CX", b"\x0204A1B2C3D4"):
        frames = Frames(reverse=False)
        assert frames.feed(text + b"\x03") == []
        assert frames.noise == 1


def test_a_frame_that_broke_off_does_not_spoil_the_next() -> None:
    assert heard(b"\x0204A1\x0204A1B2C3\x03") == ["04A1B2C3"]


def test_a_line_that_never_ends_a_frame_costs_no_memory() -> None:
    frames = Frames(reverse=False)
    for _ in range(100):
        frames.feed(b"\x02" + b"0" * 1000)
    assert len(frames._heard) <= MOST + 1  # noqa: SLF001 - what must stay small


@given(st.lists(identifiers, max_size=5), st.lists(st.integers(1, 30), min_size=1))
def test_frames_cut_anywhere_are_read_the_same(numbers: list[bytes], cuts: list[int]) -> None:
    octets = b"".join(b"\x02" + number.hex().encode() + b"\x03" for number in numbers)
    frames, found, at = Frames(reverse=False), [], 0
    for cut in [*cuts, len(octets)]:
        found += frames.feed(octets[at : at + cut])
        at += cut
    found += frames.feed(octets[at:])
    assert found == [number.hex().upper() for number in numbers]


@given(st.binary(max_size=200))
def test_any_octets_give_identifiers_or_nothing(octets: bytes) -> None:
    assert all(len(found) in {8, 14, 20} and bytes.fromhex(found) for found in heard(octets))
