"""Encrypted records: security modes 5 and 7 with one AES-128 key per meter. No I/O.

EN 13757-7:2018 and OMS volume 2: the configuration field (the header's signature) names the mode and how many blocks
of 16 octets are encrypted; the decrypted records begin with 2F 2F. Mode 5 chains from the meter's address and access
number. Mode 7 chains from zero, with a configuration field extension behind the field; its key is the meter's own or
is derived from it and the message counter, which an authentication layer (CI 90) in front carries with its check value.

What else stands in the signature of plain telegrams is not a mode, and records in plain text stay what they are.
Not read: fragments of several frames, a header without the meter's number (CI 7A), modes other than 5 and 7.
"""

from __future__ import annotations

import hmac
from dataclasses import dataclass

from drivers.mbus.frame import USER_DATA_AT, FrameError

KEY_LENGTH = 16
AUTHENTICATION = 0x90
_BLOCK = 16
_MODES = _MODE_5, _MODE_7 = 5, 7
_CHECK = b"\x2f\x2f"
_LONG_HEADER = 12
"""octets: number, manufacturer, version, medium, access number, status, configuration field"""
_PERSISTENT, _DERIVED = 0, 1
"""key selection of mode 7"""
_ENCRYPTION, _AUTHENTICATION = b"\x00", b"\x01"
"""derivation constants for what comes from the meter"""
_FRAGMENT, _CONTROL, _LENGTH, _COUNTER, _CHECK_VALUE, _KEY = 0x4000, 0x2000, 0x1000, 0x0800, 0x0400, 0x0200
"""bits of the fragmentation control field: more fragments follow, and which fields are there"""
_CHECK_LENGTHS = {3: 2, 4: 4, 5: 8, 6: 12, 7: 16}
"""octets of the check value by authentication type: AES-CMAC, cut"""


class EncryptedError(FrameError):
    """The records are encrypted and there is no key for them, or a wrong one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Authentication:
    """The authentication and fragmentation layer of a message in one frame."""

    control: bytes
    """message control field, one octet, or nothing"""
    counter: bytes
    """message counter, four octets, or nothing"""
    length: bytes
    """message length, two octets, or nothing"""
    check: bytes
    """check value over all these and the message"""


NOT_AUTHENTICATED = Authentication(control=b"", counter=b"", length=b"", check=b"")


def authentication(user_data: bytes) -> tuple[Authentication, int]:
    """The layer that begins with CI 90, and the octet behind it; FrameError where it is not whole or only a part."""
    behind = 2 + user_data[1] if len(user_data) > 1 else len(user_data) + 1
    if behind >= len(user_data):
        message = "the telegram ends inside its authentication layer"
        raise FrameError(message, USER_DATA_AT + len(user_data))
    flags = int.from_bytes(user_data[2:4], "little")
    if flags & _FRAGMENT or (flags & 0xFF) > 1:
        message = "the telegram is a fragment of a longer one; fragments are not put together"
        raise FrameError(message, USER_DATA_AT + 2)
    at = 4
    fields: dict[int, bytes] = {}
    for bit in (_CONTROL, _KEY, _COUNTER, _CHECK_VALUE, _LENGTH):
        control = fields.get(_CONTROL, b"")
        fields[bit] = user_data[at : at + _field_length(bit, control)] if flags & bit else b""
        at += len(fields[bit])
    if at != behind:
        message = f"the authentication layer has {behind - 2} octets, its fields take {at - 2}"
        raise FrameError(message, USER_DATA_AT + 1)
    layer = Authentication(
        control=fields[_CONTROL], counter=fields[_COUNTER], length=fields[_LENGTH], check=fields[_CHECK_VALUE]
    )
    return layer, behind


def _field_length(bit: int, control: bytes) -> int:
    if bit == _CHECK_VALUE:
        return _CHECK_LENGTHS.get(control[0] & 0x0F, 0) if control else 0
    return {_CONTROL: 1, _KEY: 2, _COUNTER: 4, _LENGTH: 2}[bit]


def plain(message: bytes, ci_at: int, start: int, layer: Authentication, key: bytes | None) -> tuple[bytes, int]:
    """User data with the records readable, and the octet that they begin at.

    The CI field stands at `ci_at`, behind the header come the records at `start`. EncryptedError where the key is
    missing or does not fit, or where nothing tells how it is used.
    """
    mode, size = message[start - 1] & 0x1F, (message[start - 2] >> 4) * _BLOCK
    first = start + (mode == _MODE_7)
    end = first + size
    if mode not in _MODES or size == 0 or end > len(message):
        return message, start
    in_plain = message[first : first + len(_CHECK)] == _CHECK
    if not in_plain or (key is not None and start - ci_at > _LONG_HEADER):
        records = _decrypted(_Encrypted(message, ci_at, start, layer), message[first:end], key)
        if records[: len(_CHECK)] == _CHECK:
            return message[:first] + records + message[end:], first
        if not in_plain:
            text = f"the key does not fit (security mode {mode}): decrypted, the records do not begin with 2f2f"
            text += "; correct the meter's key"
            raise EncryptedError(text, USER_DATA_AT + first)
    return message, first


@dataclass(frozen=True, slots=True)
class _Encrypted:
    """What decides how the records of a message were encrypted."""

    message: bytes
    ci_at: int
    start: int
    layer: Authentication

    @property
    def mode(self) -> int:
        return self.message[self.start - 1] & 0x1F

    @property
    def number(self) -> bytes:
        return self.message[self.ci_at + 1 : self.ci_at + 5]

    @property
    def address(self) -> bytes:
        """Manufacturer, number, version and medium, in the order of the initial vector."""
        return (
            self.message[self.ci_at + 5 : self.ci_at + 7] + self.number + self.message[self.ci_at + 7 : self.ci_at + 9]
        )


def _decrypted(encrypted: _Encrypted, records: bytes, key: bytes | None) -> bytes:
    if encrypted.start - encrypted.ci_at <= _LONG_HEADER:
        text = f"the records are encrypted (security mode {encrypted.mode}), and the short header names no meter"
        raise EncryptedError(text, USER_DATA_AT + encrypted.start)
    if key is None:
        text = f"the records are encrypted (security mode {encrypted.mode}); name the file with the meter's key"
        raise EncryptedError(text, USER_DATA_AT + encrypted.start)
    if encrypted.mode == _MODE_5:
        access_no = encrypted.message[encrypted.ci_at + 9 : encrypted.ci_at + 10]
        return _cbc(key, encrypted.address + access_no * 8, records)
    return _cbc(_key_of_mode_7(encrypted, key), bytes(_BLOCK), records)


def _key_of_mode_7(encrypted: _Encrypted, key: bytes) -> bytes:
    selection = encrypted.message[encrypted.start] >> 4 & 3
    if selection == _PERSISTENT:
        return key
    layer = encrypted.layer
    if selection != _DERIVED or not layer.counter:
        text = f"key selection {selection} of security mode 7 is reserved"
        if selection == _DERIVED:
            text = "the key of security mode 7 is derived from a message counter, and the telegram carries none"
        raise EncryptedError(text, USER_DATA_AT + encrypted.start)
    own = layer.counter + encrypted.number + b"\x07" * 7
    _check_value(_cmac(key, _AUTHENTICATION + own), encrypted)
    return _cmac(key, _ENCRYPTION + own)


def _check_value(key: bytes, encrypted: _Encrypted) -> None:
    layer = encrypted.layer
    found = _cmac(key, layer.control + layer.counter + layer.length + encrypted.message[encrypted.ci_at :])
    if not hmac.compare_digest(found[: len(layer.check)], layer.check):
        text = "the key does not fit, or the telegram was changed: its check value is another; correct the meter's key"
        raise EncryptedError(text, USER_DATA_AT + encrypted.ci_at - len(layer.check))


def _cbc(key: bytes, start: bytes, octets: bytes) -> bytes:
    from cryptography.hazmat.primitives.ciphers import (  # noqa: PLC0415 - who has no encrypted meter spares 10 MB
        Cipher,
        algorithms,
        modes,
    )

    decryptor = Cipher(algorithms.AES(key), modes.CBC(start)).decryptor()
    return decryptor.update(octets) + decryptor.finalize()


def _cmac(key: bytes, octets: bytes) -> bytes:
    from cryptography.hazmat.primitives.ciphers import algorithms  # noqa: PLC0415 - as above
    from cryptography.hazmat.primitives.cmac import CMAC  # noqa: PLC0415 - as above

    code = CMAC(algorithms.AES(key))
    code.update(octets)
    return code.finalize()
