"""The command `scan`: search a line for its devices."""

from __future__ import annotations

import asyncio
import json
import os
import re
import sys
from contextlib import aclosing, suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from gateway.cli.exits import INTERRUPTED, Refused, of_device
from gateway.cli.model_file import write_model
from gateway.cli.scan_kept import Result, interrupted, keep, kept_in
from gateway.cli.scan_told import as_object, facts, settings, table
from gateway.cli.wiring import named_line
from gateway.core.problem import cut
from gateway.ports.field import (
    Device,
    FieldError,
    Inspector,
    OrderRefusedError,
    Scanner,
    ScanOrder,
    ScanProgress,
    ScanRefusedError,
    ScanTrouble,
)

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pydantic import BaseModel

    from gateway.cli import Options
    from gateway.cli.wiring import NamedLine

TENTH = 10
KEPT_EVERY = 2.0
"""seconds of a search that may have to be done once more after a kill"""
_NEARLY = 99
_MINUTES = 100
"""seconds from which on minutes are told"""
_MOST_UNIT = 255
_PART = re.compile(r"([0-9]{1,3})(?:-([0-9]{1,3}))?")


@click.command
@click.argument("protocol")
@click.argument("bus")
@click.option(
    "--by", "way", default="", help="mbus: secondary (the default), primary; modbus: line (the default), all."
)
@click.option("--baud", "speeds", type=int, multiple=True, help="Search at this baud rate; may be given several times.")
@click.option("--parity", "parities", multiple=True, help="modbus: none, even or odd; may be given several times.")
@click.option(
    "--framing", default="", help="modbus at host:port: tcp (the default), rtu for a converter that passes octets."
)
@click.option("--units", metavar="1-32,40", default="", help="modbus: ask only these; else 1 to 247, over TCP 255 too.")
@click.option("--continue", "go_on", is_flag=True, help="Go on where the last search of this line was interrupted.")
@click.option("--models", type=click.Path(path_type=Path), help="Write model files to complete into this folder.")
@click.option("--settings", "as_settings", is_flag=True, help="Print [[bus]] and [[bus.meter]] for the settings file.")
@click.pass_obj
def scan(  # noqa: PLR0913 - one for each option
    options: Options,
    protocol: str,
    bus: str,
    *,
    way: str,
    speeds: tuple[int, ...],
    parities: tuple[str, ...],
    framing: str,
    units: str,
    go_on: bool,
    models: Path | None,
    as_settings: bool,
) -> None:
    """Search a line for its devices.

    BUS is the id of a line in the settings, a serial device such as /dev/ttyUSB0, or host:port. Ctrl-C ends it: what
    was found is printed, and --continue goes on.

    A Modbus line at a serial device is searched at its own baud rate and parity, with --by all at 9600, 19200, 38400,
    115200, 4800 and 2400 baud with no, even and odd parity: half a minute each, those first at which most meters are
    found, then once more slowly where somebody was heard. --units, --baud and --parity make it shorter. Behind a
    converter with --framing rtu, --baud is the one that it has.
    """
    line = named_line(options, protocol, bus, framing)
    driver = line.driver
    if not isinstance(driver, Scanner):
        message = f"the driver {protocol} cannot search its lines"
        raise Refused(message)
    if models is not None and not (isinstance(driver, Inspector) and _is_ours(models)):
        message = f"--models {cut(str(models))} is no folder that this user may write to; make it, or name another"
        raise Refused(message)
    if line.batteries and way in ("", driver.ways[0]):
        click.echo(_warning(line.batteries, driver.ways[1:]), err=True)
    file = kept_in(options, protocol, bus)
    order = ScanOrder(way=way, speeds=speeds, parities=parities, units=_units(units))
    asked = _asked(order, framing)
    result = interrupted(file, asked) if go_on else Result(asked=asked)
    _searched(driver, line.settings, replace(order, rest=result.rest), result, file)
    _tell(options, result, line, as_settings=as_settings)
    if not result.is_complete:
        raise click.exceptions.Exit(INTERRUPTED)
    with suppress(OSError):
        file.unlink()
    if models is not None and isinstance(driver, Inspector):
        _write_models(driver, bus, result.devices, models)


def _is_ours(folder: Path) -> bool:
    return os.access(folder, os.W_OK | os.X_OK) and folder.is_dir()


def _searched(driver: Scanner, line: BaseModel, order: ScanOrder, result: Result, file: Path) -> None:
    """Search to the end, or until Ctrl-C. What has been found by then is kept where the search ends earlier."""
    try:
        asyncio.run(_search(driver, line, order, result, file))
    except KeyboardInterrupt:
        click.echo(f"interrupted at {result.percent} %; {_goes_on(result, file)}", err=True)
    except ScanRefusedError as error:
        raise Refused(str(error)) from error
    except FieldError as error:
        raise of_device(error, f"; {_goes_on(result, file)}" if result.rest else "") from error


async def _search(driver: Scanner, line: BaseModel, order: ScanOrder, result: Result, file: Path) -> None:
    show, clock = _Show(), asyncio.get_running_loop().time
    keep_at = clock() + KEPT_EVERY
    async with aclosing(driver.scan(line, order)) as found:
        async for each in found:
            if isinstance(each, Device):
                if result.add(each):
                    show.line(f"found {len(result.devices)}: {facts(each)}")
            elif isinstance(each, ScanTrouble):
                if each not in result.troubles:
                    result.troubles.append(each)
                    show.line(f"{each.place}: {each.text}")
            else:
                result.rest, result.woken, result.percent = each.rest, each.woken, min(each.percent, _NEARLY)
                show.progress(each, len(result.devices))
                if clock() >= keep_at:
                    keep_at = clock() + KEPT_EVERY
                    with suppress(OSError):  # told at the end, where it matters
                        keep(result, file)
    result.is_complete = True
    show.line(f"100 %, {len(result.devices)} found")


class _Show:
    """Progress on stderr: one line that changes on a terminal, else a line for each tenth."""

    def __init__(self) -> None:
        self._terminal = sys.stderr.isatty()
        self._tenth = -1

    def line(self, text: str) -> None:
        click.echo(f"\r\x1b[K{text}" if self._terminal else text, err=True)

    def progress(self, at: ScanProgress, found: int) -> None:
        """100 % is told at the end only: what was silent may be asked once more."""
        percent = min(at.percent, _NEARLY)
        text = f"{percent} % ({at.place}), {found} found{_left(at.seconds_left)}"
        if self._terminal:
            click.echo(f"\r\x1b[K{text}", err=True, nl=False)
        elif percent // TENTH != self._tenth:
            self._tenth = percent // TENTH
            click.echo(text, err=True)


def _left(seconds: float | None) -> str:
    if seconds is None:
        return ""
    return f", about {seconds / 60:.0f} min left" if seconds >= _MINUTES else f", about {seconds:.0f} s left"


def _warning(batteries: dict[str, int], gentler: tuple[str, ...]) -> str:
    few = ", ".join(f"{meter} ({reads} reads a day)" for meter, reads in sorted(batteries.items()))
    other = f"; --by {gentler[0]} wakes each device once" if gentler else ""
    return (
        "this search wakes every device of the line at each of its steps, some 250 times for 60 devices; those with a"
        f" battery: {few}. Ctrl-C ends it{other}"
    )


def _asked(order: ScanOrder, framing: str) -> str:
    by = [*([f"--by {order.way}"] if order.way else []), *([f"--framing {framing}"] if framing else [])]
    at = [*(f"--baud {each}" for each in order.speeds), *(f"--parity {each}" for each in order.parities)]
    return " ".join([*by, *at, *([f"--units {','.join(map(str, order.units))}"] if order.units else [])])


def _units(text: str) -> tuple[int, ...]:
    """Of "1-32,40", ascending; Refused."""
    found: set[int] = set()
    for part in text.split(",") if text else ():
        ends = _PART.fullmatch(part.strip())
        first, last = (int(ends[1]), int(ends[2] or ends[1])) if ends else (1, 0)
        if not first <= last <= _MOST_UNIT:
            message = f"--units {cut(text)!r}: write numbers from 0 to {_MOST_UNIT} such as 1-32,40"
            raise Refused(message)
        found |= {*range(first, last + 1)}
    return tuple(sorted(found))


def _goes_on(result: Result, file: Path) -> str:
    try:
        keep(result, file)
    except OSError as error:
        return f"what was found cannot be kept in {file} ({error.strerror})"
    return f"{len(result.devices)} found; the same command with --continue goes on from there"


def _tell(options: Options, result: Result, line: NamedLine, *, as_settings: bool) -> None:
    if as_settings:
        keys = line.settings.model_dump(exclude_unset=line.id is None)
        click.echo("\n".join(settings(result, line.driver.name, line.id, keys)))
    elif options.json:
        click.echo(json.dumps({**as_object(result), "meters": _woken(result, line)}, ensure_ascii=False))
    else:
        click.echo("\n".join(table(result)))
    if result.woken:
        text = f"every device on the line was woken {result.woken} times, beside being read itself"
        budgets = [f"{meter}, whose battery bears {reads} reads a day" for meter, reads in line.batteries.items()]
        click.echo(f"{text}, and so was {'; '.join(budgets)}" if budgets else text, err=True)


def _woken(result: Result, line: NamedLine) -> list[dict[str, Any]]:
    return [
        {"meter": meter, "woken": result.woken, "reads_per_day": line.driver.reads_per_day(each)}
        for meter, each in line.meters.items()
    ]


def _write_models(driver: Inspector, bus: str, devices: Iterable[Device], folder: Path) -> None:
    """A file for each kind of device that no model knows."""
    for device in devices:
        kind = "-".join(str(device.facts.get(name)) for name in ("manufacturer", "medium", "version"))
        file = folder / f"{re.sub('[^a-z0-9]+', '-', kind.lower())}.toml"
        if "model" in device.wiring or file.exists():
            continue
        place = next(str(value) for key, value in device.wiring.items() if key != "model")
        try:
            write_model(driver, device.raw, f"{place} on the line {bus}", file)
        except OrderRefusedError as error:
            click.echo(f"{facts(device)}: {error}", err=True)
