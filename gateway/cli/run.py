"""The command `run`: the daemon in the foreground."""

from __future__ import annotations

import asyncio
import ctypes
import logging
import os
from typing import TYPE_CHECKING

import click

from gateway import daemon
from gateway.cli.exits import Refused
from gateway.cli.wiring import load_settings
from gateway.store import StoreError

if TYPE_CHECKING:
    from gateway.cli import Options

_PRIORITIES = ((logging.ERROR, 3), (logging.WARNING, 4), (logging.INFO, 6))
"""of syslog(3), as systemd reads them at the start of a line: sd-daemon(3)"""
_ARENA_MAX = -8
"""of mallopt(3): how many heaps there may be"""
_log = logging.getLogger(__name__)


@click.command
@click.pass_obj
def run(options: Options) -> None:
    """Read, settle and deliver until SIGTERM or Ctrl-C.

    SIGTERM ends it with 0; in the first moment, before Python has started, with 143.
    """
    share_one_heap()
    settings = load_settings(options)
    _log_to_stderr(for_journal="JOURNAL_STREAM" in os.environ)
    try:
        code = asyncio.run(daemon.run(settings))
    except (StoreError, daemon.StartError) as error:
        raise Refused(str(error)) from error
    _log.info("%s/%s: ended", settings.site, settings.gateway)
    raise click.exceptions.Exit(code)


def share_one_heap() -> None:
    """The daemon's few threads seldom run at once: heaps of their own would only take memory."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)  # not every C library has it
    if mallopt is not None:
        mallopt(_ARENA_MAX, 1)


def _log_to_stderr(*, for_journal: bool) -> None:
    handler = logging.StreamHandler()
    handler.setFormatter(_JournalFormatter() if for_journal else logging.Formatter("%(asctime)s %(message)s"))
    logging.basicConfig(level=logging.INFO, handlers=[handler])


class _JournalFormatter(logging.Formatter):
    """Each line with its priority; the journal knows the time."""

    def format(self, record: logging.LogRecord) -> str:
        number = next((number for level, number in _PRIORITIES if record.levelno >= level), 7)
        return "\n".join(f"<{number}>{line}" for line in super().format(record).splitlines())
