"""The command `submeter`: its options, its table of commands and its exit codes."""

from __future__ import annotations

import errno
import gc
import os
import signal
import sys
import threading
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

import click

from gateway.cli.exits import FAILED, INTERRUPTED

if TYPE_CHECKING:
    from collections.abc import Callable

DEFAULT_CONFIG = Path("config/gateway.toml")
_NO_ROOM = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO}


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What stands before the command; every command gets it by `click.pass_obj`."""

    config: Path
    json: bool


# Each command is imported when it is asked for: `submeter decode` must not load a database.
def _accruals() -> click.Command:
    from gateway.cli.accruals import accruals

    return accruals


def _alarm() -> click.Command:
    from gateway.cli.alarms import alarm

    return alarm


def _allocation() -> click.Command:
    from gateway.cli.allocation import allocation

    return allocation


def _audit() -> click.Command:
    from gateway.cli.audit import audit

    return audit


def _backup() -> click.Command:
    from gateway.cli.backup import backup

    return backup


def _charges() -> click.Command:
    from gateway.cli.charges import charges

    return charges


def _check() -> click.Command:
    from gateway.cli.check import check

    return check


def _decode() -> click.Command:
    from gateway.cli.decode import decode

    return decode


def _doctor() -> click.Command:
    from gateway.cli.doctor import doctor

    return doctor


def _entries(kind: str) -> click.Command:
    from gateway.cli.entries import group

    return group(kind)


def _exchange() -> click.Command:
    from gateway.cli.acts import exchange

    return exchange


def _explain() -> click.Command:
    from gateway.cli.charges import explain

    return explain


def _export() -> click.Command:
    from gateway.cli.property import export

    return export


def _import() -> click.Command:
    from gateway.cli.property import import_file

    return import_file


def _mbus() -> click.Command:
    from gateway.cli.orders import mbus

    return mbus


def _migrate() -> click.Command:
    from gateway.cli.migrate import migrate

    return migrate


def _move() -> click.Command:
    from gateway.cli.acts import move

    return move


def _read() -> click.Command:
    from gateway.cli.read import read

    return read


def _reading() -> click.Command:
    from gateway.cli.acts import reading

    return reading


def _restore() -> click.Command:
    from gateway.cli.backup import restore

    return restore


def _run() -> click.Command:
    # it loads and opens for a while before the workers hear signals: who is told to end by then simply ends
    signal.signal(signal.SIGTERM, _end)
    gc.disable()  # what is loaded stays: looking through it again and again is a tenth of the start
    try:
        from gateway.cli.run import run
    finally:
        gc.freeze()
        gc.enable()
    return run


def _simulate() -> click.Command:
    from gateway.cli.simulate import simulate

    return simulate


def _scan() -> click.Command:
    from gateway.cli.scan import scan

    return scan


def _end(_number: int, _frame: object) -> None:
    os._exit(0)  # nothing is in flight yet, and an exception could be lost wherever it happens to be raised


KINDS = (
    "facility",
    "building",
    "point",
    "user",
    "owner",
    "occupancy",
    "meter",
    "register",
    "link",
    "rate",
    "badge",
)
"""the tables of property.toml"""
COMMANDS: dict[str, Callable[[], click.Command]] = {
    **{kind: partial(_entries, kind) for kind in KINDS},
    "accruals": _accruals,
    "alarm": _alarm,
    "allocation": _allocation,
    "audit": _audit,
    "backup": _backup,
    "charges": _charges,
    "check": _check,
    "decode": _decode,
    "doctor": _doctor,
    "exchange": _exchange,
    "explain": _explain,
    "export": _export,
    "import": _import,
    "mbus": _mbus,
    "migrate": _migrate,
    "move": _move,
    "read": _read,
    "reading": _reading,
    "restore": _restore,
    "run": _run,
    "scan": _scan,
    "simulate": _simulate,
}


class _Commands(click.Group):
    """The table as a group of click."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        return sorted(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002 - click's signature
        if cmd_name not in COMMANDS:
            return None
        command = COMMANDS[cmd_name]()
        _interruptible()
        return command


def _interruptible() -> None:
    """Ctrl-C is an exception from here on, as there may be something to undo: gateway.entry has it end the process."""
    handler = signal.getsignal(signal.SIGINT)
    ours = threading.current_thread() is threading.main_thread()  # only there it can be chosen
    if ours and callable(handler) and handler is not signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@click.command(cls=_Commands)
@click.option(
    "--config",
    type=click.Path(path_type=Path, readable=False),
    default=DEFAULT_CONFIG,
    show_default=True,
    help="The settings file.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")
@click.version_option(package_name="submeter-gateway", message="%(version)s")
@click.pass_context
def group(context: click.Context, config: Path, *, as_json: bool) -> None:
    """Read the meters of a building, bill who used what, deliver the charges over MQTT.

    Exit codes: 0 done, 1 failed, 2 unknown verb or option, 3 a value, a file or a state refused,
    4 a device or the broker not reachable, 130 interrupted.
    """
    context.obj = Options(config=config, json=as_json)


def main() -> None:
    """Run one command and end the process with its exit code."""
    try:
        code = group.main(standalone_mode=False)
    except click.Abort:
        code = INTERRUPTED
    except click.ClickException as error:
        error.show()
        code = error.exit_code
    except OSError as error:
        if error.errno not in _NO_ROOM or not _is_of_echo(error):
            raise
        click.echo(f"what this prints cannot be written ({error.strerror}); give it another place", err=True)
        _give_up(sys.stdout)
        code = FAILED
    sys.exit(code)


def _is_of_echo(error: OSError) -> bool:
    """Whether it comes from what all commands print with: files and lines fail in the same words."""
    import traceback

    *_, (frame, _) = traceback.walk_tb(error.__traceback__)
    return frame.f_code is click.echo.__code__


def _give_up(stream: TextIO) -> None:
    """Python flushes it once more at the end."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, stream.fileno())
    os.close(nowhere)
