"""Commands about the wiring: decode a frame, read a meter."""

from __future__ import annotations

import asyncio
import json
import sys
from functools import partial
from pathlib import Path
from string import hexdigits
from typing import TYPE_CHECKING, Any

import click

from gateway import drivers, settings
from gateway.cli.exits import REFUSED, Failure, Refused, Unreachable
from gateway.clock import SystemClock
from gateway.core.problem import cut
from gateway.ports.field import FieldError, WrongAnswerError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from gateway.cli import Options
    from gateway.ports.field import Answer
    from gateway.settings import BusSettings, Settings

STDIN = "-"


def load_settings(options: Options) -> Settings:
    """The settings that the command line names; Refused with every mistake in them."""
    loaded = settings.load(options.config, drivers)
    if isinstance(loaded, settings.Settings):
        return loaded
    raise Refused.all(loaded)


@click.command
@click.argument("protocol")
@click.argument("frame", metavar="HEX")
@click.option("--key", type=click.Path(path_type=Path), help="File with the meter's key, in hex, for encrypted frames.")
@click.pass_obj
def decode(options: Options, protocol: str, frame: str, key: Path | None) -> None:
    """Decode one frame given as hex digits; "-" reads one frame a line from standard input."""
    try:
        driver = drivers.find(protocol)
    except drivers.NoDriverError as error:
        raise Refused(str(error)) from error
    frames: Iterable[str] = filter(str.strip, sys.stdin) if frame == STDIN else (frame,)
    decode_bytes = partial(driver.decode, key=None if key is None else _key(key))
    all_good = True
    for text in frames:
        found = _decoded(decode_bytes, text)
        all_good = all_good and found["ok"]
        click.echo(json.dumps(found, ensure_ascii=False) if options.json else _frame_text(found))
    if not all_good:
        raise click.exceptions.Exit(REFUSED)


def _key(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is no text"
        message = f"--key {file} cannot be read ({reason}); name a file with the key in hex digits"
        raise Refused(message) from error


def _decoded(decode_bytes: Any, text: str) -> dict[str, Any]:  # noqa: ANN401 - Driver.decode
    try:
        frame = bytes.fromhex(text)
    except ValueError:
        digits = "".join(text.split())
        wrong = "has an odd number of digits" if set(digits) <= set(hexdigits) else "is not hex"
        return {"ok": False, "error": f"{cut(text.strip())!r} {wrong}; write two digits 0-9 a-f for each byte"}
    found: dict[str, Any] = decode_bytes(frame)
    return found


def _frame_text(found: dict[str, Any]) -> str:
    """A decoded frame for a person: the header, then one record a line."""
    if not found["ok"]:
        return f"refused: {found['error']}"
    header = ", ".join(f"{name} {value}" for name, value in found.get("header", {}).items())
    return "\n".join([f"{found['kind']}: {header}", *map(_record_text, found.get("records", ()))])


def _record_text(record: dict[str, Any]) -> str:
    where = [f"{name} {record[name]}" for name in ("storage", "tariff", "subunit") if record.get(name)]
    aside = ", ".join([record["function"], *where])
    return f"  {record['quantity']}: {record['value']} {record['unit']}".rstrip() + f"  ({aside})"


@click.command
@click.argument("meter")
@click.option("--raw", is_flag=True, help="Also print the telegrams as they came, in hex.")
@click.pass_obj
def read(options: Options, meter: str, *, raw: bool) -> None:
    """Read one meter of the settings now and print its registers."""
    bus = _bus_of(load_settings(options), meter)
    try:
        answer = asyncio.run(_answer(bus, meter))
    except WrongAnswerError as error:
        raise Failure(str(error)) from error
    except FieldError as error:
        raise Unreachable(str(error)) from error
    click.echo(json.dumps(_answer_json(answer, raw=raw)) if options.json else _answer_text(answer, raw=raw))


def _bus_of(wiring: Settings, meter: str) -> BusSettings:
    for bus in wiring.buses:
        if meter in bus.meters:
            return bus
    known = ", ".join(each for bus in wiring.buses for each in bus.meters)
    message = f"no meter {meter!r} in the settings; there are: {known or 'none'}"
    raise Refused(message)


async def _answer(wiring: BusSettings, meter: str) -> Answer:
    bus = wiring.driver.open(wiring.line, {meter: wiring.meters[meter]}, SystemClock())
    try:
        return await bus.read(meter)
    finally:
        await bus.close()


def _answer_json(answer: Answer, *, raw: bool) -> dict[str, Any]:
    registers = [
        {"register": each.register, "obis": each.obis, "index": str(each.index), "unit": each.unit}
        for each in answer.values
    ]
    found = {"meter": answer.meter, "serial": answer.serial, "status": answer.status, "registers": registers}
    return {**found, "raw": answer.raw.hex()} if raw else found


def _answer_text(answer: Answer, *, raw: bool) -> str:
    lines = [f"{answer.meter}: serial {answer.serial or 'not told'}, status {answer.status}"]
    lines += [f"  {each.register}: {each.index} {each.unit}  ({each.obis})" for each in answer.values]
    return "\n".join([*lines, *([f"  raw: {answer.raw.hex()}"] if raw else [])])
