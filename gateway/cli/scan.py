"""The command `scan`: search a line for its devices."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import re
import sys
from contextlib import aclosing, suppress
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from gateway import drivers
from gateway.cli.exits import INTERRUPTED, Failure, Refused, Unreachable
from gateway.cli.read import write_new
from gateway.cli.wiring import load_settings
from gateway.clock import SystemClock
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
    WrongAnswerError,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from pydantic import BaseModel

    from gateway.cli import Options
    from gateway.ports.field import Driver

TENTH = 10
KEPT_EVERY = 2.0
"""seconds of a search that may have to be done once more after a kill"""


@dataclass(slots=True, kw_only=True)
class Result:
    """What a search has found so far, and from where it can go on."""

    asked: str
    """the options that say how it searches"""
    devices: list[Device] = field(default_factory=list)
    troubles: list[ScanTrouble] = field(default_factory=list)
    rest: str = ""
    woken: int = 0
    percent: int = 0


@click.command
@click.argument("protocol")
@click.argument("bus")
@click.option(
    "--by", "way", default="", help="mbus: secondary (the default), primary; modbus: line (the default), all."
)
@click.option("--baud", "speeds", type=int, multiple=True, help="Search at this baud rate; may be given several times.")
@click.option("--parity", "parities", multiple=True, help="modbus: none, even or odd; may be given several times.")
@click.option("--continue", "go_on", is_flag=True, help="Go on where the last search of this line was interrupted.")
@click.option("--models", type=click.Path(path_type=Path), help="Write model files to complete into this folder.")
@click.option("--settings", "as_settings", is_flag=True, help="Print [[bus.meter]] tables for the settings file.")
@click.pass_obj
def scan(  # noqa: PLR0913 - one for each option
    options: Options,
    protocol: str,
    bus: str,
    *,
    way: str,
    speeds: tuple[int, ...],
    parities: tuple[str, ...],
    go_on: bool,
    models: Path | None,
    as_settings: bool,
) -> None:
    """Search a line for its devices.

    BUS is the id of a line in the settings, a serial device such as /dev/ttyUSB0, or host:port.
    """
    line = named_line(options, protocol, bus)
    driver = line.driver
    if not isinstance(driver, Scanner):
        message = f"the driver {protocol} cannot search its lines"
        raise Refused(message)
    if models is not None and not (isinstance(driver, Inspector) and models.is_dir()):
        message = f"--models {models} is no folder; make it, or name another"
        raise Refused(message)
    if line.batteries and way in ("", driver.ways[0]):
        click.echo(_warning(line.batteries, driver.ways[1:]), err=True)
    file = _file(options, protocol, bus)
    asked = _asked(way, speeds, parities)
    result = _kept(file, asked) if go_on else Result(asked=asked)
    order = ScanOrder(way=way, speeds=speeds, parities=parities, rest=result.rest)
    _searched(driver, line.settings, order, result, file)
    with suppress(OSError):
        file.unlink()
    _tell(options, result, line, as_settings=as_settings)
    if models is not None and isinstance(driver, Inspector):
        _write_models(driver, bus, result.devices, models)


def _searched(driver: Scanner, line: BaseModel, order: ScanOrder, result: Result, file: Path) -> None:
    """Search to the end. What has been found by then is kept where the search ends earlier."""
    try:
        asyncio.run(_search(driver, line, order, result, file))
    except KeyboardInterrupt:
        click.echo(f"interrupted at {result.percent} %; {_goes_on(result, file)}", err=True)
        raise click.exceptions.Exit(INTERRUPTED) from None
    except ScanRefusedError as error:
        raise Refused(str(error)) from error
    except FieldError as error:
        text = f"{error}; {_goes_on(result, file)}" if result.rest else str(error)
        raise (Failure if isinstance(error, WrongAnswerError) else Unreachable)(text) from error


async def _search(driver: Scanner, line: BaseModel, order: ScanOrder, result: Result, file: Path) -> None:
    show, clock = _Show(), asyncio.get_running_loop().time
    keep_at = clock() + KEPT_EVERY
    async with aclosing(driver.scan(line, order)) as found:
        async for each in found:
            if isinstance(each, Device):
                result.devices.append(each)
                show.line(f"found {len(result.devices)}: {_facts(each)}")
            elif isinstance(each, ScanTrouble):
                result.troubles.append(each)
                show.line(f"{each.place}: {each.text}")
            else:
                result.rest, result.woken, result.percent = each.rest, each.woken, each.percent
                show.progress(each, len(result.devices))
                if clock() >= keep_at:
                    keep_at = clock() + KEPT_EVERY
                    with suppress(OSError):  # told at the end, where it matters
                        _keep(result, file)


class _Show:
    """Progress on stderr: one line that changes on a terminal, else a line for each tenth."""

    def __init__(self) -> None:
        self._terminal = sys.stderr.isatty()
        self._tenth = -1

    def line(self, text: str) -> None:
        click.echo(f"\r\x1b[K{text}" if self._terminal else text, err=True)

    def progress(self, at: ScanProgress, found: int) -> None:
        text = f"{at.percent} % ({at.place}), {found} found"
        if self._terminal:
            click.echo(f"\r\x1b[K{text}", err=True, nl=False)
        elif at.percent // TENTH != self._tenth:
            self._tenth = at.percent // TENTH
            click.echo(text, err=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class NamedLine:
    """A line that a command names."""

    driver: Driver
    settings: BaseModel
    id: str | None = None
    """in the settings file; None for a line that is not there"""
    meters: Mapping[str, BaseModel] = field(default_factory=dict)
    """those of the settings file"""

    @property
    def batteries(self) -> dict[str, int]:
        """How many reads a day its known meters with a battery bear."""
        budgets = {meter: self.driver.reads_per_day(each) for meter, each in self.meters.items()}
        return {meter: reads for meter, reads in budgets.items() if reads is not None}


def named_line(options: Options, protocol: str, bus: str) -> NamedLine:
    """The line of the settings with this id, or the one at this device or host:port; Refused."""
    try:
        driver = drivers.find(protocol)
    except drivers.NoDriverError as error:
        raise Refused(str(error)) from error
    host, colon, port = bus.rpartition(":")
    if bus.startswith("/"):
        return NamedLine(driver=driver, settings=_checked(driver, {"device": bus}))
    if colon and port.isdecimal():
        return NamedLine(driver=driver, settings=_checked(driver, {"host": host, "port": int(port)}))
    wiring = load_settings(options)
    for one in wiring.buses:
        if one.id == bus and one.driver.name == protocol:
            return NamedLine(driver=one.driver, settings=one.line, id=one.id, meters=one.meters)
    known = ", ".join(one.id for one in wiring.buses if one.driver.name == protocol)
    message = f"no {protocol} line {bus!r} in the settings; there are: {known or 'none'}; or name a device or host:port"
    raise Refused(message)


def _checked(driver: Driver, keys: dict[str, Any]) -> BaseModel:
    from pydantic import ValidationError

    try:
        return driver.bus_schema.model_validate(keys)
    except ValidationError as error:
        raise Refused.all(each["msg"].removeprefix("Value error, ") for each in error.errors()) from error


def _warning(batteries: dict[str, int], gentler: tuple[str, ...]) -> str:
    few = ", ".join(f"{meter} ({reads} reads a day)" for meter, reads in sorted(batteries.items()))
    other = f"; --by {gentler[0]} wakes each device once" if gentler else ""
    return (
        "this search wakes every device of the line at each of its steps, some 250 times for 60 devices; those with a"
        f" battery: {few}. Ctrl-C ends it{other}"
    )


def _file(options: Options, protocol: str, bus: str) -> Path:
    """Where an interrupted search is kept: the user's own state, not beside the settings."""
    home = os.environ.get("XDG_STATE_HOME") or str(Path("~/.local/state").expanduser())
    name = f"{options.config.resolve()} {protocol} {bus}"
    return Path(home, "submeter", f"scan-{hashlib.sha256(name.encode()).hexdigest()[:16]}.json")


def _asked(way: str, speeds: tuple[int, ...], parities: tuple[str, ...]) -> str:
    by = [f"--by {way}"] if way else []
    return " ".join([*by, *(f"--baud {each}" for each in speeds), *(f"--parity {each}" for each in parities)])


def _keep(result: Result, file: Path) -> None:
    """Write down from where to go on, whole or not at all; OSError."""
    kept = {
        "asked": result.asked,
        "rest": result.rest,
        "devices": [],
        "troubles": [asdict(each) for each in result.troubles],
    }
    kept["devices"] = [{**asdict(replace(each, raw=b"")), "raw": each.raw.hex()} for each in result.devices]
    file.parent.mkdir(parents=True, exist_ok=True)
    new = file.with_suffix(".new")
    new.write_text(json.dumps(kept), encoding="utf-8")
    new.replace(file)


def _goes_on(result: Result, file: Path) -> str:
    try:
        _keep(result, file)
    except OSError as error:
        return f"what was found cannot be kept in {file} ({error.strerror})"
    return f"{len(result.devices)} found; the same command with --continue goes on from there"


def _kept(file: Path, asked: str) -> Result:
    """The interrupted search of this line; Refused where there is none, or it was one with other options."""
    result = _interrupted(file)
    if result.asked != asked:
        message = (
            f"the interrupted search was one with {result.asked or 'neither --by, --baud nor --parity'}: it goes on"
            " with the same options only; write them, or search without --continue"
        )
        raise Refused(message)
    return result


def _interrupted(file: Path) -> Result:
    try:
        kept = json.loads(file.read_text(encoding="utf-8"))
        devices = [Device(**{**each, "raw": bytes.fromhex(each["raw"])}) for each in kept["devices"]]
        troubles = [ScanTrouble(**each) for each in kept["troubles"]]
        return Result(asked=kept["asked"], devices=devices, troubles=troubles, rest=kept["rest"])
    except FileNotFoundError as error:
        message = "no interrupted search of this line is kept; search without --continue"
        raise Refused(message) from error
    except (OSError, ValueError, KeyError, TypeError) as error:
        message = f"{file} holds no interrupted search; search without --continue"
        raise Refused(message) from error


def _tell(options: Options, result: Result, line: NamedLine, *, as_settings: bool) -> None:
    if as_settings:
        click.echo("\n".join(map(_settings_table, result.devices)))
    elif options.json:
        click.echo(json.dumps(_object(result, line), ensure_ascii=False))
    else:
        click.echo("\n".join(_table(result)))
    if result.woken:
        text = f"every device on the line was woken {result.woken} times, beside being read itself"
        budgets = [f"{meter}, whose battery bears {reads} reads a day" for meter, reads in line.batteries.items()]
        click.echo(f"{text}, and so was {'; '.join(budgets)}" if budgets else text, err=True)


def _object(result: Result, line: NamedLine) -> dict[str, Any]:
    found = [
        {**each.facts, "speed": each.speed, "wiring": dict(each.wiring), "raw": each.raw.hex()}
        for each in result.devices
    ]
    woken = [
        {"meter": meter, "woken": result.woken, "reads_per_day": line.driver.reads_per_day(each)}
        for meter, each in line.meters.items()
    ]
    troubles = [asdict(each) for each in result.troubles]
    return {"found": found, "troubles": troubles, "woken": result.woken, "meters": woken}


def _write_models(driver: Inspector, bus: str, devices: Iterable[Device], folder: Path) -> None:
    """A file for each kind of device that no model knows."""
    for device in devices:
        kind = "-".join(str(device.facts.get(name)) for name in ("manufacturer", "medium", "version"))
        file = folder / f"{re.sub('[^a-z0-9]+', '-', kind.lower())}.toml"
        if "model" in device.wiring or file.exists():
            continue
        place = next(str(value) for key, value in device.wiring.items() if key != "model")
        try:
            text = driver.model_file(device.raw, f"{place} on the line {bus}, {SystemClock().now():%Y-%m-%d}")
        except OrderRefusedError as error:
            click.echo(f"{_facts(device)}: {error}", err=True)
            continue
        write_new(file, text)
        click.echo(f"{file} is written: what is left to do stands in its first lines", err=True)


def _table(result: Result) -> Iterable[str]:
    if not result.devices:
        yield "nothing found; check wiring, power, baud rate and polarity"
    else:
        rows = [{**each.facts, "baud": each.speed} for each in result.devices]
        cells = [list(rows[0]), *([("-" if cell is None else str(cell)) for cell in row.values()] for row in rows)]
        widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
        for row in cells:
            yield "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
    yield from (f"{each.place}: {each.text}" for each in result.troubles)


def _facts(device: Device) -> str:
    return ", ".join(f"{name} {value}" for name, value in device.facts.items() if value is not None)


def _settings_table(device: Device) -> str:
    """The table of one meter, to be put below its [[bus]]."""
    place = next(str(value) for key, value in device.wiring.items() if key != "model")
    keys = [f'id = "meter-{place.lower()}"']
    if "model" not in device.wiring:
        keys.append('# model = "..."  # none is known for sure: see below; drivers/README.md tells how to write one')
    keys += [f"{key} = {json.dumps(value)}" for key, value in device.wiring.items()]
    return "\n".join(["[[bus.meter]]", *keys, f"# {_facts(device)}", ""])
