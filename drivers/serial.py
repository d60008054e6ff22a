"""A serial line: an adapter of this machine, or a pseudo-terminal in tests.

pyserial opens and sets the line up; its octets then go through the event loop, never through a thread.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import fcntl
import grp
import os
import pwd
import stat
import termios
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import serial

from gateway.ports.field import LineDownError

Parity = Literal["none", "even", "odd"]
StopBits = Literal[1, 2]

_PARITIES = {"none": serial.PARITY_NONE, "even": serial.PARITY_EVEN, "odd": serial.PARITY_ODD}
_CHUNK = 4096
_INPUT_FLAGS, _CONTROL_CHARACTERS = 0, 6
"""places in what termios.tcgetattr gives"""
_GONE = frozenset({errno.ENOENT, errno.ENODEV, errno.ENXIO})
_TAKEN = frozenset({errno.EAGAIN, errno.EBUSY})


@dataclass(frozen=True, slots=True, kw_only=True)
class LineSettings:
    """A serial device and how octets travel on its line: always eight bits of data."""

    device: str
    baud: int
    parity: Parity
    stop_bits: StopBits = 1
    drops_damaged: bool = True
    """whether octets with a wrong parity are dropped; otherwise they come as they are, and show a collision"""

    def octets(self, count: int) -> float:
        """Seconds that `count` octets are under way."""
        return count * (1 + 8 + (self.parity != "none") + self.stop_bits) / self.baud


class SerialLine:
    """An open serial device that nobody else reads. LineDownError from any method once the device is gone."""

    def __init__(self, device: str, port: serial.Serial) -> None:
        self._device = device
        self._port = port
        self._fd: int = port.fileno()

    async def send(self, octets: bytes) -> None:
        """Hand the octets to the line; they are under way when this returns."""
        try:
            written = os.write(self._fd, octets)
        except OSError as error:
            raise self._lost(error) from error
        if written != len(octets):
            message = f"{self._device} takes no more octets; check the adapter"
            raise LineDownError(message)

    async def receive(self, seconds: float) -> bytes:
        """The octets that have come, at least one; none where `seconds` pass in silence. Cancelling loses none."""
        await asyncio.sleep(0)  # on a line that never falls silent the other lines have their turn all the same
        octets = self._read()
        if not octets and seconds > 0:
            await self._readable(seconds)
            octets = self._read()  # also when time is over: the machine may have been busy when they came
        return octets

    async def close(self) -> None:
        """Let go of the device; once more does nothing."""
        if not self._port.is_open:
            return
        with contextlib.suppress(OSError, termios.error):  # already gone
            termios.tcflush(self._fd, termios.TCIOFLUSH)  # else closing may wait half a minute for what is unsent
            fcntl.ioctl(self._fd, termios.TIOCNXCL)
        self._fd = -1
        with contextlib.suppress(OSError):
            self._port.close()

    def _read(self) -> bytes:
        try:
            octets = os.read(self._fd, _CHUNK)
        except BlockingIOError:
            return b""
        except OSError as error:
            raise self._lost(error) from error
        if not octets:  # with VMIN = 1 that is the end of the line and not silence
            raise self._lost(None)
        return octets

    async def _readable(self, seconds: float) -> None:
        loop, fd = asyncio.get_running_loop(), self._fd
        came = asyncio.Event()
        loop.add_reader(fd, came.set)
        try:
            async with asyncio.timeout(seconds):
                await came.wait()
        except TimeoutError:
            return
        finally:
            loop.remove_reader(fd)

    def _lost(self, error: OSError | None) -> LineDownError:
        reason = f" ({error.strerror.lower()})" if error is not None and error.strerror else ""
        return LineDownError(f"{self._device} was unplugged or lost its power{reason}; it is tried again at each read")


async def connect(line: LineSettings) -> SerialLine:
    """Open the device and keep every other program out; LineDownError with one sentence where that fails."""
    port = serial.Serial(
        baudrate=line.baud,
        parity=_PARITIES["none" if _is_pty(line.device) else line.parity],
        stopbits=line.stop_bits,
        timeout=0,
        exclusive=True,
    )
    port.port = line.device
    try:
        port.open()
        _set_up(port.fileno(), line)
    except (OSError, termios.error) as error:
        port.close()
        raise _refusal(line, error) from error
    return SerialLine(line.device, port)


def _is_pty(device: str) -> bool:
    """A pseudo-terminal holds no parity: the kernel refuses it there."""
    return os.path.realpath(device).startswith("/dev/pts/")


def _set_up(fd: int, line: LineSettings) -> None:
    """What pyserial leaves open: whether octets with a wrong parity are dropped, and that nothing read is the end.

    TIOCEXCL keeps out programs that do not look at the lock. On a pty it would outlive a killed process.
    """
    attributes = termios.tcgetattr(fd)
    attributes[_CONTROL_CHARACTERS][termios.VMIN] = 1
    if line.parity != "none" and line.drops_damaged:
        attributes[_INPUT_FLAGS] |= termios.INPCK | termios.IGNPAR
    termios.tcsetattr(fd, termios.TCSANOW, attributes)
    if not _is_pty(line.device):
        fcntl.ioctl(fd, termios.TIOCEXCL)


def _refusal(line: LineSettings, error: OSError | termios.error) -> LineDownError:
    """The sentence for a device that cannot be opened."""
    device, number = line.device, getattr(error, "errno", None)
    if number in _GONE:
        text = f"{device} is not there; plug the adapter in, or name one that `ls -l /dev/serial/by-id` shows"
    elif number in _TAKEN:
        text = f"{device} is in use by another program; `sudo fuser -v {device}` names it: end that one"
    elif number == errno.EPERM:
        text = f"{device} is not allowed to this service; add `DeviceAllow={device} rw` to its unit, then restart"
    elif number == errno.EACCES:
        text = _forbidden(device)
    else:
        text = f"{device} is no serial line that takes {line.baud} baud and parity {line.parity}; correct the settings"
    return LineDownError(text)


def _forbidden(device: str) -> str:
    try:
        found = Path(device).stat()
    except OSError:
        return f"the folder of {device} may not be entered; correct device or the permissions of the folder"
    return _who_may(device, found.st_mode, found.st_gid)


def _who_may(device: str, mode: int, group: int) -> str:
    """Which group the user must join; where joining one would not help, what to do instead."""
    if group and mode & stat.S_IRGRP and mode & stat.S_IWGRP:
        name = _group(group)
        return f"{device} belongs to group {name}: sudo usermod -aG {name} {_user()}, then restart"
    return f"{device} is open to no group: sudo chgrp dialout {device} && sudo chmod g+rw {device}, and a udev rule"


def _group(number: int) -> str:
    try:
        return grp.getgrgid(number).gr_name
    except KeyError:
        return str(number)


def _user() -> str:
    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        return str(os.geteuid())
