"""The command `read`: one meter, now."""

from __future__ import annotations

import asyncio
import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from pydantic import ValidationError

from gateway.cli.decode import frame_text
from gateway.cli.exits import Refused, of_device
from gateway.cli.model_file import write_model
from gateway.cli.watch import watched
from gateway.cli.wiring import load_settings
from gateway.clock import SystemClock
from gateway.core.problem import cut
from gateway.ports.field import FieldError, Inspector, OrderRefusedError, Rereader, Tracer, WrongAnswerError
from gateway.schema_errors import refusals
from gateway.service.meter_status import words

if TYPE_CHECKING:
    from pydantic import BaseModel

    from gateway.cli import Options
    from gateway.ports.field import Answer, Seen
    from gateway.settings import BusSettings, Settings

_ADDRESS = re.compile(r"[0-9]{1,9}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Readout:
    """What a meter has said and what that means."""

    answer: Answer | None = None
    """None where no model reads it"""
    problem: FieldError | None = None
    """why not"""
    seen: Seen | None = None
    """all of it; None where the driver does not show it"""


@click.command
@click.argument("meter")
@click.option("--bus", "line", help="METER is an address on this line of the settings, not a meter of theirs.")
@click.option("--raw", is_flag=True, help="Also print every record, and the telegrams as they came, in hex.")
@click.option("--watch", is_flag=True, help="Read it every second and show what has changed, until Ctrl-C.")
@click.option(
    "--model",
    metavar="NAME|FILE",
    help="modbus, with --bus: the model to read it by; mbus: write a model file to complete, which is not there yet.",
)
@click.pass_obj
def read(options: Options, meter: str, *, line: str | None, raw: bool, watch: bool, model: str | None) -> None:
    """Read one meter now and print its registers."""
    settings = load_settings(options)
    bus = _bus_of(settings, meter) if line is None else _bus_named(settings, line)
    wired = bus.meters[meter] if line is None else _not_in_settings(bus, meter, model)
    file = Path(model) if model is not None and isinstance(bus.driver, Inspector) else None
    if model is not None and line is None and file is None:
        message = f"the model of {meter} stands in the settings; leave --model out, or name an address with --bus"
        raise Refused(message)
    if watch:
        if file is not None or isinstance(wired, str):
            message = "--watch follows a meter of the settings; leave --bus and --model out"
            raise Refused(message)
        watched(options, bus, meter, wired)
    reading = _read(bus, meter, wired, raw=raw)
    if reading.problem is not None and not raw and file is None:
        raise of_device(reading.problem)
    shown = raw or isinstance(wired, str)
    click.echo(json.dumps(_object(meter, reading, raw=shown)) if options.json else _text(meter, reading, raw=shown))
    if file is not None:
        _write_model(bus, meter, reading, file)
    if reading.problem is not None:
        raise of_device(reading.problem)


def _not_in_settings(bus: BusSettings, address: str, model: str | None) -> BaseModel | str:
    """How the driver reaches the device: by its address, and by a model where only that gives its words a meaning.

    Refused for what is no address, and where the model is missing or unknown.
    """
    if isinstance(bus.driver, Inspector):
        return address
    if model is None:
        message = f"--model NAME is missing: `submeter scan {bus.driver.name} {bus.id}` says which one it may be"
        raise Refused(message)
    if not _ADDRESS.fullmatch(address):
        message = f"{cut(address)!r} is no address on a {bus.driver.name} line; write a number such as 1"
        raise Refused(message)
    try:
        return bus.driver.meter_schema.model_validate({"address": int(address), "model": model})
    except ValidationError as error:
        raise Refused.all(refusals(error, bus.driver.meter_schema)) from error


def _read(bus: BusSettings, meter: str, wired: BaseModel | str, *, raw: bool) -> Readout:
    try:
        return asyncio.run(_conversation(bus, meter, wired, raw=raw))
    except OrderRefusedError as error:
        raise Refused(str(error)) from error
    except FieldError as error:
        raise of_device(error) from error


async def _conversation(bus: BusSettings, meter: str, wired: BaseModel | str, *, raw: bool) -> Readout:
    seen = await bus.driver.inspect(bus.line, wired) if isinstance(bus.driver, Inspector) else None
    if isinstance(wired, str):
        return Readout(seen=seen)
    if raw and isinstance(bus.driver, Tracer):
        seen = await bus.driver.trace(bus.line, wired)
    opened = bus.driver.open(bus.line, {meter: wired}, SystemClock())
    try:
        if seen is None or not isinstance(opened, Rereader):
            return Readout(answer=await opened.read(meter), seen=seen)
        return Readout(answer=opened.reread(meter, seen.raw), seen=seen)
    except WrongAnswerError as problem:
        return Readout(problem=problem, seen=seen)
    finally:
        await opened.close()


def _bus_of(settings: Settings, meter: str) -> BusSettings:
    for bus in settings.buses:
        if meter in bus.meters:
            return bus
    known = ", ".join(each for bus in settings.buses for each in bus.meters)
    message = f"no meter {cut(meter)!r} in the settings; there are: {known or 'none'}"
    raise Refused(message)


def _bus_named(settings: Settings, line: str) -> BusSettings:
    for bus in settings.buses:
        if bus.id == line:
            return bus
    message = (
        f"no line {cut(line)!r} in the settings; there are: {', '.join(bus.id for bus in settings.buses) or 'none'}"
    )
    raise Refused(message)


def _object(meter: str, reading: Readout, *, raw: bool) -> dict[str, Any]:
    found: dict[str, Any] = {"meter": meter}
    answer, seen = reading.answer, reading.seen
    if answer is not None:
        found |= {"serial": answer.serial, "status": answer.status, "status_words": words(answer.status)}
        found["registers"] = [
            {"register": each.register, "obis": each.obis, "index": str(each.index), "unit": each.unit}
            for each in answer.values
        ]
        found["without"] = [{"register": each.register, "why": each.why} for each in answer.without]
    if seen is not None:
        found["alarm"] = seen.alarm
    if raw and seen is not None:
        found |= {"raw": seen.raw.hex(), "frames": seen.frames}
    elif raw and answer is not None:
        found["raw"] = answer.raw.hex()
    return found


def _text(meter: str, reading: Readout, *, raw: bool) -> str:
    lines, answer, seen = [meter], reading.answer, reading.seen
    if answer is not None:
        said = ", ".join(words(answer.status))
        status = f"{answer.status} ({said})" if said else answer.status
        lines = [f"{meter}: serial {answer.serial or 'not told'}, status {status}"]
        lines += [f"  {each.register}: {each.index} {each.unit}  ({each.obis})" for each in answer.values]
        lines += [f"  {each.register}: no value, {each.why}" for each in answer.without]
    if seen is not None and seen.alarm is not None:
        lines.append(f"  {seen.alarm}")
    if raw and seen is not None:
        lines += [*map(frame_text, seen.frames), f"raw: {seen.raw.hex()}"]
    elif raw and answer is not None:
        lines.append(f"  raw: {answer.raw.hex()}")
    return "\n".join(lines)


def _write_model(bus: BusSettings, meter: str, reading: Readout, file: Path) -> None:
    if reading.seen is None or not isinstance(bus.driver, Inspector):  # only for the type checker: refused before
        raise TypeError(bus)
    try:
        write_model(bus.driver, reading.seen.raw, f"{meter} on the line {bus.id}", file)
    except OrderRefusedError as error:
        raise Refused(str(error)) from error
