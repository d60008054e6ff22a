"""What goes wrong at a Modbus device, on demand or by chance."""

from __future__ import annotations

from typing import Literal, get_args

Fault = Literal[
    "silence",
    "late",
    "other_request",
    "wrong_unit",
    "wrong_function",
    "short_count",
    "exception",
    "not_available",
    "noise",
    "noise_within",
    "noise_after",
    "close",
    "reboot",
    "reset",
]
"""silence: no answer, and nothing done. late: after `Device.late` seconds more. other_request: what the request before
was to be answered with, and over TCP under its number; the first time silence. wrong_unit, wrong_function: of somebody
else, of something else. short_count: a register less than asked for. exception: `Device.code`. not_available: every
counter has its pattern for "no value". noise, noise_within, noise_after: five octets that nobody meant. close: half an
answer, and over TCP the end of the conversation. reboot: half an answer, then nothing for `Device.boot` seconds. reset:
from this answer on all counters begin anew at 0. (wrap is no fault of an answer: `Unit.wind`.)
"""
FAULTS: tuple[Fault, ...] = get_args(Fault)

_GARBAGE = bytes.fromhex("00ff6803a7")
_UNITS = 247
_READS = (3, 4)


def refusal(function: int, code: int) -> bytes:
    """An exception PDU (Modbus Application Protocol V1.1b3, 7)."""
    return bytes((function | 0x80, code))


def lied_address(address: int, fault: Fault | None) -> int:
    """The unit that the answer names."""
    return address % _UNITS + 1 if fault == "wrong_unit" else address


def lied_pdu(pdu: bytes, fault: Fault | None) -> bytes:
    """The answer PDU as a device with the fault frames it: good to look at, and wrong."""
    match fault:
        case "wrong_function":
            return bytes([pdu[0] ^ 7]) + pdu[1:]
        case "short_count" if pdu[0] in _READS:
            return bytes((pdu[0], pdu[1] - 2)) + pdu[2:-2]
    return pdu


def spoilt(frame: bytes, fault: Fault | None) -> bytes:
    """What arrives of an answer's frame."""
    half = len(frame) // 2
    match fault:
        case "noise":
            return _GARBAGE + frame
        case "noise_within":
            return frame[:half] + _GARBAGE + frame[half:]
        case "noise_after":
            return frame + _GARBAGE
        case "close" | "reboot":
            return frame[:half]
    return frame
