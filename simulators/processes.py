"""Child processes of the demo: each in a group of its own, watched, and ended in every case."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

_PATIENCE = 10.0
"""seconds that a child has to end by itself"""
_LAST_LINES = 12


class ChildError(Exception):
    """A child failed or ended on its own. The text names it and holds its last lines."""


class Children:
    """The running children, by name; `async with` ends them all, the last one first."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._running: dict[str, asyncio.subprocess.Process] = {}

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        for name in reversed(tuple(self._running)):
            await self.end(name)

    async def start(
        self, name: str, command: Sequence[str], *, environment: Mapping[str, str] | None = None, piped: bool = False
    ) -> asyncio.subprocess.Process:
        """Start a child that stays; its output goes to `<name>.log`, its stdout to a pipe where `piped`."""
        with self._log(name).open("ab") as log:
            process = await asyncio.create_subprocess_exec(
                *command,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE if piped else log,
                stderr=log,
                env={**os.environ, **(environment or {})},
                start_new_session=True,
            )
        self._running[name] = process
        return process

    async def run(self, name: str, command: Sequence[str]) -> None:
        """Run a child to its end; ChildError where it fails."""
        process = await self.start(name, command)
        if await process.wait():
            raise self.error(name, process.returncode)
        await self.end(name)

    async def first_death(self) -> None:
        """Wait until any child ends on its own: ChildError."""
        waits = {asyncio.create_task(process.wait()): name for name, process in self._running.items()}
        try:
            done, _ = await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()
        wait = done.pop()
        raise self.error(waits[wait], wait.result())

    async def end(self, name: str) -> None:
        """End the child and whatever it has started: politely, then surely."""
        process = self._running[name]
        _signal(process, signal.SIGTERM)
        with suppress(TimeoutError):
            await asyncio.wait_for(process.wait(), _PATIENCE)
        _signal(process, signal.SIGKILL)
        await process.wait()
        del self._running[name]

    def error(self, name: str, code: int | None) -> ChildError:
        """What to tell about a child that ended."""
        lines = self._log(name).read_text(errors="replace").splitlines()[-_LAST_LINES:]
        said = "\n".join(f"    {line}" for line in lines) or "    (it said nothing)"
        return ChildError(f"The {name} ended with exit code {code}; it said last:\n{said}")

    def _log(self, name: str) -> Path:
        return self._folder / f"{name}.log"


def python(module: str, *arguments: str) -> list[str]:
    """The command that runs a module in this interpreter."""
    return [sys.executable, "-m", module, *arguments]


def _signal(process: asyncio.subprocess.Process, number: signal.Signals) -> None:
    with suppress(ProcessLookupError):  # the whole group has ended already
        os.killpg(process.pid, number)
