"""What goes wrong at a meter, on demand or by chance."""

from __future__ import annotations

from typing import Literal, get_args

from simulators.mbus.frames import CONFIRM
from simulators.mbus.telegrams import ADDRESS, NUMBER, with_checksum

Fault = Literal[
    "silence",
    "noise",
    "noise_within",
    "noise_after",
    "bad_checksum",
    "bit_flip",
    "half_frame",
    "lost_octet",
    "wrong_address",
    "wrong_number",
    "late",
    "busy",
    "more_follows",
    "babble",
]
"""silence: no answer at all, no confirmation either. noise, noise_within, noise_after: five octets that nobody meant.
bad_checksum, bit_flip, half_frame, lost_octet: what arrives is not what was sent. wrong_address, wrong_number: a good
telegram of somebody else. late: after `Slave.late` seconds more. busy: application error 8. more_follows: DIF 1F
without end. babble: 4096 octets without a pause.
"""
FAULTS: tuple[Fault, ...] = get_args(Fault)

_GARBAGE = bytes.fromhex("00ff6803a7")
_BABBLE = 4096


def spoilt(answer: bytes, fault: Fault | None) -> bytes:
    """What arrives of a slave's answer; a confirmation is only kept back, delayed or surrounded."""
    match fault:
        case "silence":
            return b""
        case "noise":
            return _GARBAGE + answer
        case "noise_after":
            return answer + _GARBAGE
        case "babble":
            return (answer * (_BABBLE // len(answer) + 1))[:_BABBLE]
    return answer if answer == CONFIRM else _spoilt_frame(answer, fault)


def _spoilt_frame(answer: bytes, fault: Fault | None) -> bytes:
    frame, half = bytearray(answer), len(answer) // 2
    match fault:
        case "half_frame":
            return answer[:half]
        case "lost_octet":
            return answer[:half] + answer[half + 1 :]
        case "noise_within":
            return answer[:half] + _GARBAGE + answer[half:]
        case "bit_flip":
            frame[half] ^= 0x10
        case "bad_checksum":
            frame[-2] ^= 0xFF
        case "wrong_address":
            frame[ADDRESS] = frame[ADDRESS] % 250 + 1
            return with_checksum(frame)
        case "wrong_number":
            frame[NUMBER] ^= 0x01
            return with_checksum(frame)
    return bytes(frame)
