"""A meter that encrypts is read with the key in its own file, which may be put right while the gateway runs."""

from __future__ import annotations

import os
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest
from Crypto.Cipher import AES
from pydantic import ValidationError

from drivers.mbus import driver
from drivers.mbus.keys import read_key
from drivers.mbus.settings import BusSettings, MeterSettings
from gateway.clock import SteppedClock
from gateway.ports.field import Rereader, UnreadableAnswerError, WrongAnswerError
from tests.drivers.mbus.slave import Slave, long_frame

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from gateway.ports.field import MeterBus

KEY = "000102030405060708090a0b0c0d0e0f"
ADDRESS = "78034911" + "7704" + "0e" + "16"
"""number, manufacturer, version and medium of a water meter"""


def encrypted() -> bytes:
    """54.321 m3 in security mode 5."""
    records = bytes.fromhex("2f2f" + "041331d40000" + "2f" * 8)
    start = bytes.fromhex("7704" + "78034911" + "0e" + "16" + "2a" * 8)
    hidden = AES.new(bytes.fromhex(KEY), AES.MODE_CBC, iv=start).encrypt(records)
    return long_frame(bytes.fromhex(f"72{ADDRESS}2a101005") + hidden)


@asynccontextmanager
async def wired(key: Path | None) -> AsyncIterator[MeterBus]:
    """A line with one meter that answers twice."""
    async with Slave(encrypted(), encrypted()) as slave:
        line = BusSettings(host="127.0.0.1", port=slave.port, baud=38400, latency=1.0)
        meter = MeterSettings(model="itron-bm-plus-m", address=1, key=None if key is None else str(key))
        bus = driver.open(line, {"water": meter}, SteppedClock())
        try:
            yield bus
        finally:
            await bus.close()


async def test_a_meter_is_read_with_the_key_in_its_file(tmp_path: Path) -> None:
    file = tmp_path / "water.key"
    file.write_text(f"{KEY[:16]} {KEY[16:].upper()}\n")

    async with wired(file) as bus:
        answer = await bus.read("water")

    assert [str(value.index) for value in answer.values] == ["54.321"]
    assert (answer.serial, answer.status, answer.raw) == ("11490378", 0x10, encrypted())


async def test_a_wrong_key_says_so_hands_over_the_answer_and_counts_once_it_is_right(tmp_path: Path) -> None:
    file = tmp_path / "water.key"
    file.write_text(KEY.replace("0f", "0e"))

    async with wired(file) as bus:
        with pytest.raises(UnreadableAnswerError, match="address 1: the key does not fit") as caught:
            await bus.read("water")
        file.write_text(KEY)
        answer = await bus.read("water")

    assert (caught.value.serial, caught.value.status, caught.value.raw) == ("11490378", 0x10, encrypted())
    assert KEY[:8] not in str(caught.value)
    assert [str(value.index) for value in answer.values] == ["54.321"]
    assert isinstance(bus, Rereader)
    assert bus.reread("water", caught.value.raw) == answer
    with pytest.raises(WrongAnswerError, match="address 1: the answer that was kept cannot be read"):
        bus.reread("water", caught.value.raw[1:])


async def test_without_a_key_the_answer_is_handed_over_as_it_came() -> None:
    async with wired(None) as bus:
        with pytest.raises(UnreadableAnswerError, match="name the file with the meter's key") as caught:
            await bus.read("water")

    assert caught.value.raw == encrypted()


@pytest.mark.parametrize(
    ("content", "text"),
    [
        pytest.param(None, r"cannot be read \(No such file or directory\)", id="no file"),
        pytest.param(b"", "holds no key: the key is 32 hex digits", id="empty"),
        pytest.param(b"00" * 15, "holds no key: the key is 32 hex digits", id="too short"),
        pytest.param(b"xy" * 16, "holds no key: the key is 32 hex digits", id="no hex"),
        pytest.param(b"\xff" * 16, "holds no key: the key is 32 hex digits", id="no text"),
        pytest.param(KEY.encode() + b" " * 4000, "holds no key: the key is 32 hex digits", id="too large"),
    ],
)
async def test_a_key_file_that_holds_no_key_is_told_at_the_read(
    tmp_path: Path, content: bytes | None, text: str
) -> None:
    file = tmp_path / "water.key"
    if content is not None:
        file.write_bytes(content)

    async with wired(file) as bus:
        with pytest.raises(WrongAnswerError, match=text):
            await bus.read("water")


@pytest.mark.parametrize("named", ["/dev/zero", "pipe", "folder", "link"])
def test_a_key_file_that_has_no_end_is_refused_at_once(tmp_path: Path, named: str) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "folder").mkdir()
    (tmp_path / "link").symlink_to("/dev/tty")
    reason = "Is a directory" if named == "folder" else "it is a device or a pipe, no file"
    with pytest.raises(WrongAnswerError, match=rf"^key {tmp_path / named} cannot be read \({reason}\); put it there"):
        read_key(str(tmp_path / named), {})


def test_a_credential_is_read_where_systemd_lays_it(tmp_path: Path) -> None:
    (tmp_path / "meter-17").write_text(KEY)

    assert read_key("credential:meter-17", {"CREDENTIALS_DIRECTORY": str(tmp_path)}).hex() == KEY
    with pytest.raises(WrongAnswerError, match=r"LoadCredential=meter-17:/path does"):
        read_key("credential:meter-17", {})


@pytest.mark.parametrize("key", [KEY, "water.key", "/", "/etc/keys/", "credential:", "credential:../water", ""])
def test_the_settings_name_a_file_and_never_hold_a_key(key: str) -> None:
    with pytest.raises(ValidationError, match="key is the path of a file"):
        MeterSettings.model_validate({"model": "itron-bm-plus-m", "address": 1, "key": key})


@pytest.mark.parametrize(
    ("key", "found"),
    [
        (KEY, True),
        (KEY.replace("0f", "0e"), "the key does not fit"),
        ("00", "the key is 32 hex digits (16 octets); correct the key file"),
        (None, "the records are encrypted (security mode 5)"),
    ],
)
def test_a_frame_is_decoded_with_what_the_key_file_holds(key: str | None, found: bool | str) -> None:  # noqa: FBT001 - a parameter
    described = driver.decode(encrypted(), key)

    assert described["ok"] is True if found is True else described["error"].startswith(found)
