from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drivers.modbus import driver
from drivers.modbus.frame import FrameError, frame_bytes, take_frame
from drivers.modbus.pdu import NoFunctionError, RefusedError, answered_words, read_request
from drivers.modbus.plan import Request, Span
from gateway.ports.field import FieldError

REQUEST = Request(function=3, address=10, count=2, spans=(Span(function=3, address=10, words=2),))


@given(st.integers(0, 0xFFFF), st.integers(0, 255), st.binary(min_size=1, max_size=253), st.binary(max_size=9))
def test_a_frame_is_cut_off_a_stream_as_it_was_sent(transaction: int, unit: int, pdu: bytes, rest: bytes) -> None:
    sent = frame_bytes(transaction, unit, pdu)
    assert sent == struct.pack(">HHHB", transaction, 0, len(pdu) + 1, unit) + pdu
    buffer = bytearray(sent + rest)
    frame = take_frame(buffer)
    assert frame is not None
    assert (frame.transaction, frame.unit, frame.pdu, frame.raw) == (transaction, unit, pdu, sent)
    assert bytes(buffer) == rest


@given(st.binary(min_size=1, max_size=253), st.data())
def test_a_frame_that_is_not_complete_is_waited_for(pdu: bytes, data: st.DataObject) -> None:
    sent = frame_bytes(1, 1, pdu)
    buffer = bytearray(sent[: data.draw(st.integers(0, len(sent) - 1))])
    before = bytes(buffer)
    assert take_frame(buffer) is None
    assert bytes(buffer) == before


@pytest.mark.parametrize("header", ["00010001000601", "00010000000101", "0001000000ff01"])
def test_bytes_that_begin_no_frame_are_refused(header: str) -> None:
    with pytest.raises(FrameError, match="no Modbus TCP frame"):
        take_frame(bytearray.fromhex(header))


def test_a_request_is_function_address_and_count() -> None:
    assert read_request(3, 0x0034, 2).hex() == "0300340002"
    assert read_request(4, 0xFFFF, 1).hex() == "04ffff0001"


@given(st.binary(max_size=12))
def test_only_the_whole_right_answer_gives_words(pdu: bytes) -> None:
    try:
        words = answered_words(REQUEST, pdu)
    except FieldError:
        return
    assert pdu == struct.pack(">BBHH", 3, 4, *words)


@pytest.mark.parametrize(("code", "helps"), [(1, False), (2, True), (3, True)])
def test_a_smaller_request_may_help_where_an_address_is_illegal_and_not_where_the_function_is(
    code: int,
    helps: bool,  # noqa: FBT001 - a parameter
) -> None:
    with pytest.raises(RefusedError) as refused:
        answered_words(REQUEST, bytes([0x83, code]))
    assert isinstance(refused.value, NoFunctionError) != helps


@pytest.mark.parametrize(
    ("frame", "expected"),
    [
        (
            "00070000000605 04 0048 0002",
            {"transaction": 7, "unit": 5, "kind": "request", "function": 4, "address": 72, "count": 2},
        ),
        (
            "00070000000705 04 04 42c8 0000",
            {"transaction": 7, "unit": 5, "kind": "answer", "function": 4, "words": [0x42C8, 0]},
        ),
        ("05 04 0048 0002 f059", {"unit": 5, "kind": "request", "function": 4, "address": 72, "count": 2}),
        ("05 84 02 8300", {"unit": 5, "kind": "exception", "function": 4, "exception": 2}),
        ("00070000000305 84 02", {"transaction": 7, "unit": 5, "kind": "exception", "function": 4, "exception": 2}),
    ],
)
def test_decode_shows_a_frame(frame: str, expected: dict[str, object]) -> None:
    assert driver.decode(bytes.fromhex(frame)) == {"ok": True, **expected}


@given(st.one_of(st.binary(max_size=20), st.binary(max_size=9).map(lambda pdu: frame_bytes(1, 1, pdu))))
def test_decode_never_raises(frame: bytes) -> None:
    decoded = driver.decode(frame)
    assert decoded["ok"] or isinstance(decoded["error"], str)


def test_decode_says_in_one_sentence_what_is_wrong() -> None:
    assert driver.decode(b"")["error"] == "no Modbus TCP frame: 0 bytes do not fit its length field"
    assert driver.decode(frame_bytes(1, 1, b"\x06\x00\x01\x00\x02"))["error"].endswith("of function 3 or 4: 0600010002")
