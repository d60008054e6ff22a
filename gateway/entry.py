"""Where the command `submeter` begins: Ctrl-C ends it with 130 from here on, also while its parts are loaded."""

from __future__ import annotations

import os
import signal

INTERRUPTED = 130
"""as in gateway.cli.exits, which loads too much"""


def main() -> None:
    """Run one command and end the process with its exit code."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # else it was started so as to ignore it
        signal.signal(signal.SIGINT, _interrupted)
    from gateway.cli import main as run  # noqa: PLC0415 - not before an interrupt has its handler

    run()


def _interrupted(_number: int, _frame: object) -> None:
    os._exit(INTERRUPTED)  # nothing is begun or printed yet, and an exception could be lost inside of an import
