"""docs/first-charge.md: its commands are run in their order, and print what stands there."""

from __future__ import annotations

import re
import shutil
import signal
import subprocess
import sys
import threading
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.adapters.importing import new_desk
from tests.broker import ROOT, mosquitto

if TYPE_CHECKING:
    from collections.abc import Iterable

COTTAGE = Path("simulators/buildings/cottage")
PAGE = (ROOT / "docs" / "first-charge.md").read_text(encoding="utf-8")
BEHIND = " &"
"""a command that stays, in a terminal of its own"""
PATIENCE = 900.0
"""seconds for the whole page; a simulation goes on for ever, also without the line that is waited for"""
SETTING_UP = 2
"""the first commands: git and make"""
MASKED = (
    (r"127\.0\.0\.1:[0-9]+", "BROKER"),
    (r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3}", "NOW"),
    (r"/\S*(?=/config/gateway\.db)", "FOLDER"),
    (r"charges-[0-9a-f]{8}", "STREAM"),
)
"""what differs from place to place"""


@dataclass(slots=True)
class Step:
    """A command of the page, what it prints, and what the second terminal prints because of it."""

    command: str
    printed: list[str] = field(default_factory=list)
    elsewhere: list[str] = field(default_factory=list)


def steps() -> list[Step]:
    """The commands of the page in their order."""
    found: list[Step] = []
    into: list[str] = []
    for line in PAGE.splitlines():
        if line.startswith("    $ "):
            found.append(Step(line.removeprefix("    $ ")))
            into = found[-1].printed
        elif line.startswith("    "):
            into.append(line.removeprefix("    "))
        elif line and found:
            into = found[-1].elsewhere
    return found


STEPS = steps()


def masked(lines: Iterable[str]) -> list[str]:
    """What must be the same everywhere."""
    kept = [line.rstrip() for line in lines if line.strip() and line != "..."]
    for pattern, name in MASKED:
        kept = [re.sub(pattern, name, line) for line in kept]
    return kept


class Terminal:
    """A command that stays until Ctrl-C, and what it has said."""

    def __init__(self, command: str, folder: Path, seconds: float = PATIENCE) -> None:
        self._seconds = seconds
        self._process = subprocess.Popen(
            ["bash", "-c", f"exec env {command.removesuffix(BEHIND)}"],
            cwd=folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self._said: list[str] = []
        self._patience = threading.Timer(seconds, self._process.kill)
        self._patience.start()

    def until(self, expected: Iterable[str]) -> None:
        """Listen until all of these lines have been said."""
        missing = set(masked(expected)) - set(self._said)
        while missing:
            line = self._process.stdout.readline() if self._process.stdout else ""
            assert line, f"it ended, or {self._seconds:g} s passed, without {missing}; it said {self._said}"
            self._said += masked([line])
            missing -= set(self._said)

    def end(self) -> int:
        """Ctrl-C, where it has not ended; the exit code."""
        self._patience.cancel()
        if self._process.returncode is None:
            self._process.send_signal(signal.SIGINT)
            self._process.communicate()
        return self._process.returncode

    def rest(self) -> tuple[int, list[str]]:
        """The exit code and what else it says, once it ends by itself."""
        said, _ = self._process.communicate()
        self._patience.cancel()
        return self._process.returncode, said.splitlines()


def shell(command: str, folder: Path) -> list[str]:
    done = subprocess.run(["bash", "-c", command], cwd=folder, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, ""), command
    return done.stdout.splitlines()


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """A folder in which the commands find what they name."""
    shutil.copytree(ROOT / COTTAGE, tmp_path / COTTAGE)
    command = tmp_path / ".venv" / "bin" / "submeter"
    command.parent.mkdir(parents=True)
    command.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m gateway.cli "$@"\n')
    command.chmod(0o755)
    return tmp_path


def test_the_commands_of_the_page_lead_to_the_charge_that_it_shows(clone: Path) -> None:
    mosquitto()  # or skip
    terminals: list[Terminal] = []
    with ExitStack() as ends:
        for step in STEPS[SETTING_UP:]:
            if step.command.endswith(BEHIND):
                terminals.append(Terminal(step.command, clone))
                ends.callback(terminals[-1].end)  # also where a line is missing
                terminals[-1].until(step.printed)
                terminals[0].until(step.elsewhere)
            else:
                assert masked(shell(step.command, clone)) == masked(step.printed), step.command
        assert [one.end() for one in terminals] == [0] * len(terminals)
    told = shell(".venv/bin/submeter export", clone)
    desk = new_desk(clone)
    assert desk.submeter("import", str(ROOT / COTTAGE / "property.toml")).exit_code == 0
    assert desk.submeter("export").output.splitlines() == told, "what was typed is what property.toml says"


def test_a_line_that_never_comes_is_named_and_nobody_hangs(tmp_path: Path) -> None:
    terminal = Terminal("yes acknowledged", tmp_path, seconds=1)
    with pytest.raises(AssertionError, match=r"or 1 s passed, without \{'17\.25 CHF'\}; it said \['acknowledged'"):
        terminal.until(["17.25 CHF"])
    assert terminal.end() == -signal.SIGKILL


def test_when_the_gateway_ends_the_simulation_says_so_and_fails(clone: Path) -> None:
    mosquitto()  # or skip
    with ExitStack() as ends:
        played = Terminal(".venv/bin/submeter simulate cottage", clone)
        ends.callback(played.end)
        played.until(
            ["clock      SUBMETER_CLOCK=build/simulate/clock submeter run: it stands until a gateway is started so"]
        )
        shell(".venv/bin/submeter migrate", clone)
        gateway = Terminal("SUBMETER_CLOCK=build/simulate/clock .venv/bin/submeter run", clone)
        ends.callback(gateway.end)
        played.until(["Thu 01 Oct 2026  blumer moves into ground-floor"])
        assert gateway.end() == 0
        code, said = played.rest()
    assert (code, said[-1][:25]) == (1, "The gateway was told 2026")
    assert "Traceback" not in "\n".join(said)


def test_the_page_has_at_most_twelve_commands_from_a_clone_to_a_charge() -> None:
    commands = [step.command for step in STEPS]
    assert len(commands) <= 12
    assert [command.split()[0] for command in commands[:SETTING_UP]] == ["git", "make"]
    assert any(" charges" in command for command in commands)


def test_its_settings_stay_where_others_are_already(clone: Path) -> None:
    (clone / "config").mkdir()
    (clone / "config" / "gateway.toml").write_text("site = 'mine'\n")
    command = [str(clone / ".venv" / "bin" / "submeter"), "simulate", "cottage"]
    done = subprocess.run(command, cwd=clone, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr.count("\n")) == (3, 1)
    assert done.stderr.startswith("config/gateway.toml is there already: move it and its store away")
    assert (clone / "config" / "gateway.toml").read_text() == "site = 'mine'\n"


def test_a_building_that_is_not_there_is_one_sentence_with_those_that_are(clone: Path) -> None:
    command = [str(clone / ".venv" / "bin" / "submeter"), "simulate", "castle"]
    done = subprocess.run(command, cwd=clone, capture_output=True, text=True, check=False)
    sentence = "castle is no folder with devices.toml; name one, or a building that comes along: cottage, sonnenhof.\n"
    assert (done.returncode, done.stderr) == (3, sentence)
