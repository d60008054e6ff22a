"""Telegrams: octets -> header and records. No I/O.

M-Bus documentation 4.8, chapter 6; EN 13757-3. Every octet is accounted for: what does not fit is a `FrameError`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from drivers.mbus import fixed
from drivers.mbus.frame import Frame, FrameError, parse_frame
from drivers.mbus.records import Record, read_records

Kind = Literal["variable", "fixed", "application_error", "master_to_slave", "alarm"]
APPLICATION_BUSY = 8
_MODE_2 = 0x04
"""bit of the CI field: the most significant octet first"""
_ERROR, _ALARM, _LONG_HEADER, _FIXED, _NO_HEADER, _SHORT_HEADER = 0x70, 0x71, 0x72, 0x73, 0x78, 0x7A
_MORE_FOLLOW = b"\x1f"
_ENCRYPTED = frozenset({5, 7})
"""security modes with AES; what else stands in the signature of plain telegrams is not a mode"""


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


def decode(octets: bytes) -> Telegram:
    """Read one whole frame; raises `FrameError` and nothing else."""
    return read_frame(parse_frame(octets))


def read_frame(frame: Frame) -> Telegram:
    """Read a checked frame; `FrameError` where its user data cannot be believed."""
    if frame.from_master:
        return Telegram(kind="master_to_slave", control=frame.control, address=frame.address)
    if not frame.is_answer or not frame.user_data:
        message = f"C field {frame.control:02x} is no answer of a meter"
        raise FrameError(message)
    ci, user_data = frame.user_data[0], frame.user_data[1:]
    if ci in (_ERROR, _ALARM):
        return _report(frame, "alarm" if ci == _ALARM else "application_error", user_data)
    if ci in (_FIXED, _FIXED | _MODE_2):
        return _fixed(frame, user_data, msb_first=ci != _FIXED)
    header, size = _header(ci, user_data)
    records = user_data[size:]
    _refuse_encrypted(header, records)
    return _variable(frame, header, read_records(records, msb_first=ci == _LONG_HEADER | _MODE_2))


def _report(frame: Frame, kind: Kind, user_data: bytes) -> Telegram:
    code = user_data[0] if user_data else 0
    return Telegram(kind=kind, control=frame.control, address=frame.address, code=code)


def _variable(frame: Frame, header: Header, records: tuple[Record, ...]) -> Telegram:
    return Telegram(
        kind="variable",
        control=frame.control,
        address=frame.address,
        header=header,
        records=records,
        more_records_follow=bool(records) and records[-1].meaning.dib_vib == _MORE_FOLLOW,
    )


def _header(ci: int, octets: bytes) -> tuple[Header, int]:
    """The header and its length in octets."""
    if ci == _NO_HEADER:
        return Header(), 0
    if ci == _SHORT_HEADER:
        if len(octets) < 4:
            message = "the telegram ends inside its short header"
            raise FrameError(message)
        return Header(access_no=octets[0], status=octets[1], signature=octets[2] | octets[3] << 8), 4
    if ci not in (_LONG_HEADER, _LONG_HEADER | _MODE_2):
        message = f"CI field {ci:02x} is no answer that is known"
        raise FrameError(message)
    if len(octets) < 12:
        message = "the telegram ends inside its header"
        raise FrameError(message)
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


def _refuse_encrypted(header: Header, records: bytes) -> None:
    signature = header.signature or 0
    mode, blocks = signature >> 8 & 0x1F, signature >> 4 & 0x0F
    if mode in _ENCRYPTED and 0 < blocks * 16 <= len(records) and records[:2] != b"\x2f\x2f":
        message = f"the records are encrypted (security mode {mode}); switch the encryption of the wired interface off"
        raise FrameError(message)


def _fixed(frame: Frame, octets: bytes, *, msb_first: bool) -> Telegram:
    records = fixed.read_counters(octets, msb_first=msb_first)
    number = int.from_bytes(octets[:4], "big" if msb_first else "little")
    header = Header(id=f"{number:08x}", medium=fixed.medium(octets), access_no=octets[4], status=octets[5])
    return Telegram(kind="fixed", control=frame.control, address=frame.address, header=header, records=records)
