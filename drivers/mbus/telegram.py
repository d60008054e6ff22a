"""Telegrams: octets -> header and records. No I/O.

M-Bus documentation 4.8, chapter 6; EN 13757-3. Every octet is accounted for: what does not fit is a `FrameError`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from drivers.mbus import fixed, security
from drivers.mbus.frame import USER_DATA_AT, Frame, FrameError, parse_frame
from drivers.mbus.records import Record, read_records

Kind = Literal["variable", "fixed", "application_error", "master_to_slave", "alarm"]
APPLICATION_BUSY = 8
_CONTROL_AT = 4
_MODE_2 = 0x04
"""bit of the CI field: the most significant octet first"""
_ERROR, _ALARM, _LONG_HEADER, _FIXED, _NO_HEADER, _SHORT_HEADER = 0x70, 0x71, 0x72, 0x73, 0x78, 0x7A
_MORE_FOLLOW = b"\x1f"


@dataclass(frozen=True, slots=True, kw_only=True)
class Header:
    """The fixed data header; what a shorter form of it lacks is None."""

    id: str | None = None
    """identification number, 8 digits"""
    manufacturer: str | None = None
    """three letters"""
    version: int | None = None
    medium: int | None = None
    access_no: int | None = None
    status: int | None = None
    signature: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Telegram:
    """One frame, read to its end."""

    kind: Kind
    control: int
    address: int
    header: Header = Header()
    records: tuple[Record, ...] = ()
    more_records_follow: bool = False
    code: int | None = None
    """of an application error or an alarm"""


def decode(octets: bytes, key: bytes | None = None) -> Telegram:
    """Read one whole frame, its records decrypted with the meter's key of 16 octets.

    Raises `FrameError` and nothing else; `EncryptedError` where the key is missing or does not fit.
    """
    return read_frame(parse_frame(octets), key)


def header_of(octets: bytes) -> Header:
    """The header of an answer whose records may be encrypted; raises `FrameError`."""
    message = parse_frame(octets).user_data
    at = security.authentication(message)[1] if message[0] == security.AUTHENTICATION else 0
    return _header(message[at], message, at)[0]


def read_frame(frame: Frame, key: bytes | None = None) -> Telegram:
    """Read a checked frame; `FrameError` where its user data cannot be believed."""
    if frame.from_master:
        return Telegram(kind="master_to_slave", control=frame.control, address=frame.address)
    if not frame.is_answer or not frame.user_data:
        message = f"C field {frame.control:02x} is no answer of a meter"
        raise FrameError(message, _CONTROL_AT if frame.user_data else 1)
    ci, user_data = frame.user_data[0], frame.user_data[1:]
    if ci in (_ERROR, _ALARM):
        return _report(frame, "alarm" if ci == _ALARM else "application_error", user_data)
    if ci in (_FIXED, _FIXED | _MODE_2):
        return _fixed(frame, user_data, msb_first=ci != _FIXED)
    return _variable(frame, key)


def _report(frame: Frame, kind: Kind, user_data: bytes) -> Telegram:
    code = user_data[0] if user_data else 0
    return Telegram(kind=kind, control=frame.control, address=frame.address, code=code)


def _variable(frame: Frame, key: bytes | None) -> Telegram:
    message, layer, at = frame.user_data, security.NOT_AUTHENTICATED, 0
    if message[0] == security.AUTHENTICATION:
        layer, at = security.authentication(message)
    ci = message[at]
    header, size = _header(ci, message, at)
    start = at + 1 + size
    if ci in (_LONG_HEADER, _SHORT_HEADER):
        message, start = security.plain(message, at, start, layer, key)
    records = read_records(message, start, msb_first=ci == _LONG_HEADER | _MODE_2)
    return Telegram(
        kind="variable",
        control=frame.control,
        address=frame.address,
        header=header,
        records=records,
        more_records_follow=bool(records) and records[-1].meaning.dib_vib == _MORE_FOLLOW,
    )


def _header(ci: int, message: bytes, at: int) -> tuple[Header, int]:
    """The header behind the CI field, and its length in octets."""
    octets = message[at + 1 : at + 13]
    if ci == _NO_HEADER:
        return Header(), 0
    if ci == _SHORT_HEADER:
        if len(octets) < 4:
            text = "the telegram ends inside its short header"
            raise FrameError(text, USER_DATA_AT + len(message))
        return Header(access_no=octets[0], status=octets[1], signature=octets[2] | octets[3] << 8), 4
    if ci not in (_LONG_HEADER, _LONG_HEADER | _MODE_2):
        text = f"CI field {ci:02x} is no answer that is known"
        raise FrameError(text, USER_DATA_AT + at)
    if len(octets) < 12:
        text = "the telegram ends inside its header"
        raise FrameError(text, USER_DATA_AT + len(message))
    return _long_header(octets, "little" if ci == _LONG_HEADER else "big"), 12


def _long_header(octets: bytes, order: Literal["little", "big"]) -> Header:
    maker = int.from_bytes(octets[4:6], order)
    return Header(
        id=f"{int.from_bytes(octets[:4], order):08x}",
        manufacturer="".join(chr(64 + (maker >> shift & 0x1F)) for shift in (10, 5, 0)),
        version=octets[6],
        medium=octets[7],
        access_no=octets[8],
        status=octets[9],
        signature=int.from_bytes(octets[10:12], order),
    )


def _fixed(frame: Frame, octets: bytes, *, msb_first: bool) -> Telegram:
    records = fixed.read_counters(octets, msb_first=msb_first)
    number = int.from_bytes(octets[:4], "big" if msb_first else "little")
    header = Header(id=f"{number:08x}", medium=fixed.medium(octets), access_no=octets[4], status=octets[5])
    return Telegram(kind="fixed", control=frame.control, address=frame.address, header=header, records=records)
