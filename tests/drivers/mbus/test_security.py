"""Encrypted records are read with the meter's key, and with nothing else.

The telegrams are encrypted here by another library (PyCryptodome) than the one that decrypts them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from Crypto.Cipher import AES
from Crypto.Hash import CMAC

from drivers.mbus.frame import FrameError
from drivers.mbus.security import EncryptedError
from drivers.mbus.telegram import decode
from tests.drivers.mbus.slave import long_frame

if TYPE_CHECKING:
    from drivers.mbus.telegram import Telegram

KEY = bytes.fromhex("000102030405060708090a0b0c0d0e0f")
OTHER_KEY = bytes.fromhex("000102030405060708090a0b0c0d0e0e")
NUMBER, MAKER, VERSION, MEDIUM, ACCESS_NO = "78563412", "2440", "01", "07", "2a"
ADDRESS = NUMBER + MAKER + VERSION + MEDIUM
COUNTER = "b30a0000"
RECORDS = bytes.fromhex("2f2f" + "0413e8030000" + "046d1e2f0a15" + "2f2f")
PLAIN = bytes.fromhex("02fd170000")


def cbc(key: bytes, start: bytes, octets: bytes) -> bytes:
    return AES.new(key, AES.MODE_CBC, iv=start).encrypt(octets)


def cmac(key: bytes, octets: bytes) -> bytes:
    return CMAC.new(key, ciphermod=AES, msg=octets).digest()


def mode_5(records: bytes = RECORDS, behind: bytes = b"") -> bytes:
    start = bytes.fromhex(MAKER + NUMBER + VERSION + MEDIUM + ACCESS_NO * 8)
    field = f"{len(records) // 16:x}005"
    return long_frame(bytes.fromhex(f"72{ADDRESS}{ACCESS_NO}00{field}") + cbc(KEY, start, records) + behind)


def mode_7(extension: str = "10", key: bytes = KEY) -> bytes:
    header = bytes.fromhex(f"72{ADDRESS}{ACCESS_NO}001007{extension}")
    return header + cbc(key, bytes(16), RECORDS)


def derived(constant: str) -> bytes:
    return cmac(KEY, bytes.fromhex(constant + COUNTER + NUMBER + "07" * 7))


def authenticated(message: bytes, octets: int = 8, kind: str = "25") -> bytes:
    """Behind an authentication layer with message control, counter and check value."""
    check = cmac(derived("01"), bytes.fromhex(kind + COUNTER) + message)[:octets]
    layer = bytes.fromhex("002c" + kind + COUNTER) + check
    return long_frame(bytes([0x90, len(layer)]) + layer + message)


def values(telegram: Telegram) -> list[str]:
    return [str(record.value) for record in telegram.records]


READ = [str(record.value) for record in decode(long_frame(bytes.fromhex("78") + RECORDS)).records]


def test_mode_5_is_read_with_the_key_and_what_follows_in_plain_text_too() -> None:
    assert values(decode(mode_5(), KEY)) == READ
    assert values(decode(mode_5(behind=PLAIN), KEY)) == [*READ, "0"]
    assert decode(mode_5(), KEY).header.id == "12345678"


def test_mode_5_begins_with_the_address_of_the_meter() -> None:
    octets = bytearray(mode_5())
    octets[11] ^= 1
    octets[-2] = sum(octets[4:-2]) & 0xFF

    with pytest.raises(EncryptedError, match="do not begin with 2f2f"):
        decode(bytes(octets), KEY)


@pytest.mark.parametrize(
    "frame",
    [
        pytest.param(long_frame(mode_7("00")), id="the meter's own key"),
        pytest.param(authenticated(mode_7("10", derived("00"))), id="a derived key"),
        pytest.param(authenticated(mode_7("10", derived("00")), 4, "24"), id="a short check value"),
        pytest.param(authenticated(mode_7("10", derived("00")), 16, "27"), id="a whole check value"),
    ],
)
def test_mode_7_is_read_with_the_key(frame: bytes) -> None:
    assert values(decode(frame, KEY)) == READ


@pytest.mark.parametrize(
    "frame",
    [mode_5(), long_frame(mode_7("00")), authenticated(mode_7("10", derived("00")))],
    ids=["mode 5", "mode 7", "mode 7, derived"],
)
def test_without_the_key_or_with_another_one_nothing_is_read(frame: bytes) -> None:
    with pytest.raises(EncryptedError, match="the records are encrypted"):
        decode(frame)
    with pytest.raises(EncryptedError, match="the key does not fit"):
        decode(frame, OTHER_KEY)


def test_a_message_that_was_changed_is_refused() -> None:
    frame = bytearray(authenticated(mode_7("10", derived("00"))))
    frame[-3] ^= 1  # the last octet of the last block: its own block only, the check octets stay right
    frame[-2] = sum(frame[4:-2]) & 0xFF

    with pytest.raises(EncryptedError, match="check value"):
        decode(bytes(frame), KEY)


@pytest.mark.parametrize(
    ("frame", "reason"),
    [
        pytest.param(long_frame(mode_7("10")), "carries none", id="a derived key without a counter"),
        pytest.param(long_frame(mode_7("20")), "key selection 2 of security mode 7 is reserved", id="reserved"),
        pytest.param(
            authenticated(mode_7("20", derived("00"))),
            "key selection 2 of security mode 7 is reserved",
            id="reserved, with a counter",
        ),
        pytest.param(
            long_frame(bytes.fromhex("7a2a001005") + bytes(range(16))), "short header names no meter", id="CI 7A"
        ),
    ],
)
def test_what_cannot_be_decrypted_says_why(frame: bytes, reason: str) -> None:
    with pytest.raises(EncryptedError, match=reason):
        decode(frame, KEY)


@pytest.mark.parametrize(
    ("layer", "reason"),
    [
        pytest.param("90", "ends inside its authentication layer", id="no length"),
        pytest.param("900f002c25", "ends inside its authentication layer", id="cut"),
        pytest.param("9007002c25b30a000072", "its fields take", id="a length that does not fit"),
        pytest.param("9003004c2572", "is a fragment of a longer one", id="the first fragment"),
        pytest.param("90030224" + "2572", "is a fragment of a longer one", id="the second fragment"),
        pytest.param("9003002025", "ends inside its authentication layer", id="nothing behind"),
    ],
)
def test_a_broken_authentication_layer_is_refused(layer: str, reason: str) -> None:
    with pytest.raises(FrameError, match=reason):
        decode(long_frame(bytes.fromhex(layer)), KEY)


@pytest.mark.parametrize("field", ["1005", "100710"])
@pytest.mark.parametrize("key", [None, KEY])
def test_records_in_plain_text_stay_what_they_are(field: str, key: bytes | None) -> None:
    if field == "100710" and key is not None:
        field = "100700"
    frame = long_frame(bytes.fromhex(f"72{ADDRESS}{ACCESS_NO}00{field}") + RECORDS)

    assert values(decode(frame, key)) == READ


def test_a_key_does_not_disturb_a_meter_that_does_not_encrypt() -> None:
    frame = long_frame(bytes.fromhex(f"72{ADDRESS}{ACCESS_NO}00ffff") + RECORDS)

    assert values(decode(frame, KEY)) == READ
