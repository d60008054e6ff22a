"""The command `decode`: what a frame says, whoever has heard it."""

from __future__ import annotations

import json
import sys
from functools import partial
from pathlib import Path
from string import hexdigits
from typing import TYPE_CHECKING, Any

import click

from gateway import drivers
from gateway.cli.exits import REFUSED, Refused
from gateway.core.problem import cut
from gateway.files import read_text

if TYPE_CHECKING:
    from collections.abc import Iterable

    from gateway.cli import Options

STDIN = "-"


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
        click.echo(json.dumps(found, ensure_ascii=False) if options.json else frame_text(found))
    if not all_good:
        raise click.exceptions.Exit(REFUSED)


def _key(file: Path) -> str:
    try:
        return read_text(file, "utf-8")
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


def frame_text(found: dict[str, Any]) -> str:
    """A decoded frame for a person: the header, then one record a line."""
    if not found["ok"]:
        return f"refused: {found['error']}"
    facts = found.get("header") or {name: each for name, each in found.items() if name not in ("ok", "kind", "records")}
    header = ", ".join(f"{name} {_fact(value)}" for name, value in facts.items())
    return "\n".join([f"{found['kind']}: {header}", *map(_record_text, found.get("records", ()))])


def _fact(value: Any) -> str:  # noqa: ANN401 - whatever a frame holds
    if isinstance(value, dict):
        return " ".join(f"{name} {_fact(each)}" for name, each in value.items())
    return " ".join(map(str, value)) if isinstance(value, list) else str(value)


def _record_text(record: dict[str, Any]) -> str:
    where = [f"{name} {record[name]}" for name in ("storage", "tariff", "subunit") if record.get(name)]
    aside = ", ".join([record["function"], *where])
    return f"  {record['quantity']}: {record['value']} {record['unit']}".rstrip() + f"  ({aside})"
