"""Tells systemd how the daemon is (sd_notify(3)): one datagram a message, nothing without NOTIFY_SOCKET."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

READY = "READY=1"
STOPPING = "STOPPING=1"
WATCHDOG = "WATCHDOG=1"
_MICROSECONDS = 1_000_000

_log = logging.getLogger(__name__)


class Notifier:
    """The way to systemd that the environment names."""

    def __init__(self, environment: Mapping[str, str] = os.environ) -> None:
        self._address = environment.get("NOTIFY_SOCKET", "").replace("@", "\0", 1)
        for_us = environment.get("WATCHDOG_PID", str(os.getpid())) == str(os.getpid())
        self._watchdog = int(environment.get("WATCHDOG_USEC", "0")) / _MICROSECONDS if for_us else 0.0

    @property
    def watched(self) -> bool:
        """Whether systemd expects `WATCHDOG` messages."""
        return bool(self._address) and self._watchdog > 0

    def tell(self, message: str) -> None:
        """Send one message. Where nobody listens this is logged: a daemon nobody watches still works."""
        if not self._address:
            return
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as way:
                way.sendto(message.encode(), self._address)
        except OSError as error:
            _log.warning("systemd cannot be told %s through NOTIFY_SOCKET: %s", message, error)

    async def feed(self, healthy: Callable[[], bool]) -> None:
        """Feed the watchdog twice within its time as long as everything is healthy. Only where `watched`."""
        while True:
            if healthy():
                self.tell(WATCHDOG)
            await asyncio.sleep(self._watchdog / 2)
