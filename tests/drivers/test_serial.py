"""The serial line itself, on a pseudo-terminal."""

from __future__ import annotations

import asyncio
import errno
import fcntl
import os
import pwd
import struct
import termios
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from serial import Serial

from drivers import serial
from drivers.serial import LineSettings, SerialLine, connect
from gateway.ports.field import LineDownError
from simulators.pty import MBusWire

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

TIOCGEXCL = 0x80045440
NOBODY = 65534


@pytest.fixture
async def wire(tmp_path: Path) -> AsyncIterator[MBusWire]:
    """A plugged device without meters."""
    wire = MBusWire(tmp_path / "ttyUSB0", [], baud=38400)
    wire.plug()
    yield wire
    wire.unplug()


@pytest.fixture
async def line(wire: MBusWire) -> AsyncIterator[SerialLine]:
    line = await connect(settings(wire.link))
    yield line
    await line.close()


def settings(device: Path, parity: serial.Parity = "even") -> LineSettings:
    return LineSettings(device=str(device), baud=38400, parity=parity)


async def refusal(device: Path) -> str:
    with pytest.raises(LineDownError) as caught:
        await connect(settings(device))
    return str(caught.value)


async def test_octets_come_as_they_are_and_silence_is_no_octets(wire: MBusWire, line: SerialLine) -> None:
    octets = bytes(range(256))
    wire.say(octets)
    heard = b""
    while len(heard) < len(octets):
        heard += await line.receive(5.0)
    assert heard == octets
    assert await line.receive(0) == b""
    assert await line.receive(0.01) == b""


async def test_what_came_while_the_machine_was_busy_is_not_taken_for_silence(wire: MBusWire, line: SerialLine) -> None:
    listening = asyncio.create_task(line.receive(0.01))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    ends = wire._ends  # noqa: SLF001 - past the simulator's loop, which is as busy as the line's
    assert ends is not None
    os.write(ends[0], b"\xe5")
    time.sleep(0.05)  # the busy machine
    assert await listening == b"\xe5"


@pytest.mark.parametrize("parity", ["none", "even", "odd"])
async def test_a_pty_is_opened_with_every_parity(wire: MBusWire, parity: serial.Parity) -> None:
    Serial(str(wire.link), 38400, timeout=0).close()  # where only the parity is to be changed, the kernel refuses
    line = await connect(settings(wire.link, parity))
    wire.say(b"\xff\x00")
    assert await line.receive(5.0)
    await line.close()


async def test_reading_a_line_again_and_again_leaves_the_others_their_turn(line: SerialLine) -> None:
    turns = 0

    async def other() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    task = asyncio.create_task(other())
    for _ in range(100):
        await line.receive(0)
    task.cancel()
    assert turns >= 99


def test_how_long_octets_take_follows_from_their_bits() -> None:
    seconds: dict[tuple[serial.Parity, serial.StopBits], int] = {
        ("even", 1): 11,
        ("none", 1): 10,
        ("none", 2): 11,
        ("odd", 2): 12,
    }
    for (parity, stop_bits), bits in seconds.items():
        line = LineSettings(device="/dev/ttyUSB0", baud=1200, parity=parity, stop_bits=stop_bits)
        assert line.octets(1200) == bits


async def test_a_device_that_is_missing_is_one_sentence(tmp_path: Path) -> None:
    device = tmp_path / "ttyUSB7"
    assert await refusal(device) == (
        f"{device} is not there; plug the adapter in, or name one that `ls -l /dev/serial/by-id` shows"
    )


async def test_what_is_no_serial_device_is_one_sentence() -> None:
    device = "/dev/null"
    text = f"{device} is no serial line that takes 38400 baud and parity even; correct the settings"
    assert await refusal(Path(device)) == text


async def test_a_device_in_use_is_one_sentence_and_free_again_once_closed(wire: MBusWire) -> None:
    first = await connect(settings(wire.link))
    assert await refusal(wire.link) == (
        f"{wire.link} is in use by another program; `sudo fuser -v {wire.link}` names it: end that one"
    )
    await first.close()
    second = await connect(settings(wire.link))
    await second.close()


async def test_programs_that_look_at_no_lock_are_kept_out_while_it_is_open(
    wire: MBusWire, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(serial, "_is_pty", lambda _: False)
    line = await connect(settings(wire.link, "none"))
    ends = wire._ends  # noqa: SLF001 - the kernel is asked at the other end of the same line
    assert ends is not None
    assert is_exclusive(ends[1])
    await line.close()
    assert not is_exclusive(ends[1])


def is_exclusive(fd: int) -> bool:
    flag: tuple[int] = struct.unpack("i", fcntl.ioctl(fd, TIOCGEXCL, bytes(4)))
    return flag != (0,)


@pytest.fixture
def device(wire: MBusWire) -> Path:
    """The device file itself: nobody else may enter a test's folder."""
    return wire.link.resolve()


def without_rights(device: Path, mode: int, group: int) -> str:
    """Who is refused; root is refused as nobody."""
    device.chmod(mode)
    if os.geteuid() == 0:
        os.chown(device, 0, group)
        os.seteuid(NOBODY)
    return pwd.getpwuid(os.geteuid()).pw_name


@pytest.fixture
async def refused(device: Path, request: pytest.FixtureRequest) -> tuple[Path, str, str]:
    """Device, user and the sentence."""
    mode, group = request.param
    before = os.geteuid()
    user = without_rights(device, mode, group)
    try:
        return device, user, await refusal(device)
    finally:
        os.seteuid(before)


@pytest.mark.parametrize("refused", [(0o060, 5)], indirect=True)
async def test_a_refused_permission_names_the_group_to_join(refused: tuple[Path, str, str]) -> None:
    device, user, text = refused
    assert text == f"{device} belongs to group tty: sudo usermod -aG tty {user}, then restart"


@pytest.mark.parametrize("refused", [(0o000, 5), (0o020, 5), (0o040, 5)], indirect=True)
async def test_where_joining_a_group_would_not_help_the_sentence_says_what_does(refused: tuple[Path, str, str]) -> None:
    device, _, text = refused
    assert text == no_group(str(device))


def test_nobody_is_told_to_join_the_group_root() -> None:
    assert serial._who_may("/dev/ttyS0", 0o660, 0) == no_group("/dev/ttyS0")  # noqa: SLF001 - a device of root's is needed


def no_group(device: str) -> str:
    return f"{device} is open to no group: sudo chgrp dialout {device} && sudo chmod g+rw {device}, and a udev rule"


async def test_a_folder_that_may_not_be_entered_is_one_sentence(wire: MBusWire) -> None:
    folder, before = wire.link.parent, os.geteuid()
    folder.chmod(0o000)
    if before == 0:
        os.seteuid(NOBODY)
    try:
        text = await refusal(wire.link)
    finally:
        os.seteuid(before)
        folder.chmod(0o700)
    assert text == f"the folder of {wire.link} may not be entered; correct device or the permissions of the folder"


def test_a_unit_that_forbids_the_device_is_told_what_to_allow() -> None:
    line = settings(Path("/dev/ttyUSB0"))
    assert str(serial._refusal(line, PermissionError(errno.EPERM, "Operation not permitted"))) == (  # noqa: SLF001 - no test can make a unit of systemd
        "/dev/ttyUSB0 is not allowed to this service; add `DeviceAllow=/dev/ttyUSB0 rw` to its unit, then restart"
    )


async def test_unplugging_ends_a_wait_at_once_and_every_call_after_it(wire: MBusWire, line: SerialLine) -> None:
    waiting = asyncio.create_task(line.receive(3600))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    wire.unplug()
    lost = f"{wire.link} was unplugged or lost its power"
    with pytest.raises(LineDownError, match=lost):
        await waiting
    with pytest.raises(LineDownError, match=lost):
        await line.receive(0)
    with pytest.raises(LineDownError, match=lost):
        await line.send(b"\x10")
    await line.close()


async def test_octets_with_a_wrong_parity_are_dropped_by_the_kernel(wire: MBusWire, line: SerialLine) -> None:
    ends = wire._ends  # noqa: SLF001 - the kernel is asked at the other end of the same line
    assert ends is not None
    await line.send(b"\x10")
    wanted = termios.INPCK | termios.IGNPAR
    assert termios.tcgetattr(ends[1])[0] & (wanted | termios.PARMRK) == wanted


async def test_a_line_that_takes_no_more_octets_is_down(wire: MBusWire, line: SerialLine) -> None:
    ends = wire._ends  # noqa: SLF001 - nobody may read what is sent
    assert ends is not None
    asyncio.get_running_loop().remove_reader(ends[0])
    with pytest.raises(LineDownError):
        await line.send(bytes(1_000_000))
