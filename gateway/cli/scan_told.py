"""What a search has found: a table, an object, or tables for the settings file."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from gateway.cli.scan_kept import Result
    from gateway.ports.field import Device

NOTHING = "nothing found; check wiring, power, baud rate and polarity"
_SO_FAR = "nothing found so far"
_NEW = 'poll = "15min"'


def facts(device: Device) -> str:
    """What is known of it, for one line."""
    return ", ".join(f"{name} {value}" for name, value in _row(device).items() if value is not None)


def table(result: Result) -> Iterable[str]:
    """Lines for a person."""
    if not result.devices:
        yield NOTHING if result.is_complete else _SO_FAR
    else:
        rows = [_row(each) for each in result.devices]
        cells = [list(rows[0]), *([("-" if cell is None else str(cell)) for cell in row.values()] for row in rows)]
        widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
        for row in cells:
            yield "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
    yield from (f"{each.place}: {each.text}" for each in result.troubles)


def as_object(result: Result) -> dict[str, Any]:
    """For programs; `complete` is false where the search was interrupted."""
    found = [
        {**each.facts, "speed": each.speed, "wiring": dict(each.wiring), "line": dict(each.line), "raw": each.raw.hex()}
        for each in result.devices
    ]
    troubles = [asdict(each) for each in result.troubles]
    return {"complete": result.is_complete, "found": found, "troubles": troubles, "woken": result.woken}


def settings(result: Result, driver: str, line: str | None, keys: Mapping[str, Any]) -> Iterator[str]:
    """Lines for the settings file: a [[bus]] with its meters, or for a `line` of the file what is below its [[bus]].

    `keys` are the line's own. A line has one baud rate: what was found at others is a comment.
    """
    if not result.is_complete:
        yield "# the search was interrupted: there may be more"
    if not result.devices:
        yield f"# {NOTHING if result.is_complete else _SO_FAR}"
        return
    at = sorted(_by_line(result.devices), key=lambda each: -len(each))
    yield from _bus(at[0][0], driver, line, keys)
    for device in at[0]:
        yield from _meter(device)
    for others in at[1:]:
        yield f"# found with {_toml(others[0].line, ', ')}: give these the same as the others, or a line of their own"
        lines = "\n".join(each for device in others for each in _meter(device)).splitlines()
        yield from (f"# {each}".rstrip() for each in lines)


def _row(device: Device) -> dict[str, str | int | None]:
    first, *others = device.facts.items()
    return dict([first, ("baud", device.speed), *others])


def _by_line(devices: Iterable[Device]) -> list[list[Device]]:
    found: dict[str, list[Device]] = {}
    for device in devices:
        found.setdefault(json.dumps(dict(device.line)), []).append(device)
    return list(found.values())


def _bus(device: Device, driver: str, line: str | None, keys: Mapping[str, Any]) -> Iterator[str]:
    if line is None:
        yield from ("[[bus]]", f'id = "{driver}-1"', f'driver = "{driver}"', _NEW)
        yield _toml({**keys, **device.line})
        yield ""
        return
    yield f'# below [[bus]] id = "{line}"'
    changed = {key: value for key, value in device.line.items() if keys.get(key) != value}
    if changed:
        yield f"# and write there: {_toml(changed, ', ')}"


def _meter(device: Device) -> Iterator[str]:
    place = "-".join(str(value) for key, value in device.wiring.items() if key != "model")
    yield "[[bus.meter]]"
    yield f'id = "meter-{place.lower()}"'
    if "model" not in device.wiring:
        yield '# model = "..."  # none is known for sure: see below; drivers/README.md tells how to write one'
    elif alike := device.facts.get("alike"):
        yield f"# its model, or {alike}, which read the same: write what stands on the meter"
    yield _toml(device.wiring)
    yield f"# {facts(device)}"
    yield ""


def _toml(keys: Mapping[str, Any], between: str = "\n") -> str:
    return between.join(f"{key} = {json.dumps(value)}" for key, value in keys.items())
