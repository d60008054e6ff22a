from __future__ import annotations

import asyncio
import os
import socket
from typing import TYPE_CHECKING

import pytest

from gateway.notify import READY, WATCHDOG, Notifier

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def systemd(tmp_path: Path) -> Iterator[tuple[socket.socket, str]]:
    path = str(tmp_path / "notify.sock")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as receiver:
        receiver.bind(path)
        receiver.settimeout(0)
        yield receiver, path


async def heard(receiver: socket.socket) -> str:
    return (await asyncio.get_running_loop().sock_recv(receiver, 100)).decode()


async def test_a_message_arrives_as_one_datagram(systemd: tuple[socket.socket, str]) -> None:
    receiver, path = systemd
    Notifier({"NOTIFY_SOCKET": path}).tell(READY)
    assert await heard(receiver) == "READY=1"


async def test_an_abstract_socket_is_reached() -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as receiver:
        name = f"submeter-test-{os.getpid()}"
        receiver.bind(f"\0{name}")
        receiver.settimeout(0)
        Notifier({"NOTIFY_SOCKET": f"@{name}"}).tell(READY)
        assert await heard(receiver) == "READY=1"


def test_without_systemd_nothing_is_told_and_nothing_watched() -> None:
    notifier = Notifier({"WATCHDOG_USEC": "1000000"})
    notifier.tell(READY)
    assert not notifier.watched


def test_a_socket_where_nobody_listens_is_logged_and_stops_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    Notifier({"NOTIFY_SOCKET": str(tmp_path / "gone")}).tell(READY)
    assert len(caplog.messages) == 1
    assert "NOTIFY_SOCKET" in caplog.messages[0]


@pytest.mark.parametrize(
    ("environment", "watched"),
    [
        ({}, False),
        ({"WATCHDOG_USEC": "0"}, False),
        ({"WATCHDOG_USEC": "60000000"}, True),
        ({"WATCHDOG_USEC": "60000000", "WATCHDOG_PID": str(os.getpid())}, True),
        ({"WATCHDOG_USEC": "60000000", "WATCHDOG_PID": "1"}, False),
    ],
)
def test_the_watchdog_is_fed_only_where_systemd_expects_it_of_this_process(
    environment: dict[str, str], *, watched: bool
) -> None:
    assert Notifier({"NOTIFY_SOCKET": "/x", **environment}).watched is watched


async def test_the_watchdog_is_fed_only_while_everything_is_healthy(systemd: tuple[socket.socket, str]) -> None:
    receiver, path = systemd
    healthy, asked = True, asyncio.Event()

    def ask() -> bool:
        asked.set()
        return healthy

    notifier = Notifier({"NOTIFY_SOCKET": path, "WATCHDOG_USEC": "2000"})
    feeding = asyncio.ensure_future(notifier.feed(ask))
    assert [await heard(receiver) for _ in range(3)] == [WATCHDOG] * 3
    healthy = False
    for _ in range(3):  # asked again and again, with the answer no
        asked.clear()
        await asked.wait()
    while True:
        try:
            receiver.recv(100)  # what was sent before
        except BlockingIOError:
            break
    for _ in range(3):
        asked.clear()
        await asked.wait()
    with pytest.raises(BlockingIOError):
        receiver.recv(100)
    feeding.cancel()
