"""The commands `mbus address|baud|clock`: what an installer orders of one meter."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, NoReturn
from zoneinfo import ZoneInfo, available_timezones

import click

from gateway.cli.exits import Refused, of_device
from gateway.cli.wiring import named_line
from gateway.clock import SystemClock
from gateway.core.problem import cut
from gateway.ports.field import FieldError, Installer, OrderRefusedError

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from pydantic import BaseModel

    from gateway.cli import Options
    from gateway.cli.wiring import NamedLine
    from gateway.ports.field import Done

PROTOCOL = "mbus"
LINE = "BUS is the id of a line in the settings, a serial device such as /dev/ttyUSB0, or host:port."
METER = "METER is the id of a meter of this line in the settings, or an address: primary, or the 8 or 16 digits."


@click.group
def mbus() -> None:
    """Set up one M-Bus meter: its primary address, its baud rate, its clock."""


@mbus.command(epilog=f"{LINE} {METER}")
@click.argument("bus")
@click.argument("meter")
@click.argument("new", type=int)
@click.pass_obj
def address(options: Options, bus: str, meter: str, new: int) -> None:
    """Give a meter the primary address NEW, which nobody may have yet."""
    line, installer = _line(options, bus)
    done = _done(installer.set_address(line.settings, _meter(line, meter), new))
    _tell(options, done, f"address = {new}" if meter in line.meters else "")


@mbus.command(epilog=f"{LINE} {METER}")
@click.argument("bus")
@click.argument("meter")
@click.argument("rate", type=int)
@click.pass_obj
def baud(options: Options, bus: str, meter: str, rate: int) -> None:
    """Let a meter speak at RATE from now on; all meters of a line have one rate."""
    line, installer = _line(options, bus)
    done = _done(installer.set_baud(line.settings, _meter(line, meter), rate))
    _tell(options, done, f"baud = {rate}, once all meters of the line have it" if line.id else "")


@mbus.command(epilog=f"{LINE} {METER}")
@click.argument("bus")
@click.argument("meter")
@click.option("--time-zone", "zone", help="Where the meter is, such as Europe/Zurich; known of a facility's meters.")
@click.pass_obj
def clock(options: Options, bus: str, meter: str, zone: str | None) -> None:
    """Set a meter's clock to the gateway's, in standard time unless its settings or its model say otherwise."""
    line, installer = _line(options, bus)
    there = _zone(zone) if zone is not None else _zone_of(options, line, meter)
    ours = SystemClock()
    if not ours.trusted():
        message = (
            "the gateway's clock is not known to be right, so no meter's is set by it; see that it is synchronised"
        )
        raise Refused(message)
    _tell(options, _done(installer.set_clock(line.settings, _meter(line, meter), ours.now().astimezone(there))), "")


def _line(options: Options, bus: str) -> tuple[NamedLine, Installer]:
    line = named_line(options, PROTOCOL, bus)
    if not isinstance(line.driver, Installer):
        message = f"the driver {PROTOCOL} sets up no meters"
        raise Refused(message)
    return line, line.driver


def _meter(line: NamedLine, meter: str) -> BaseModel | str:
    return line.meters.get(meter, meter)


def _done(order: Coroutine[None, None, Done]) -> Done:
    try:
        return asyncio.run(order)
    except OrderRefusedError as error:
        raise Refused(str(error)) from error
    except FieldError as error:
        raise of_device(error) from error


def _tell(options: Options, done: Done, write: str) -> None:
    if options.json:
        click.echo(json.dumps({"done": done.text, "settings": dict(done.settings)}, ensure_ascii=False))
    else:
        click.echo(f"{done.text}; write {write} into the settings" if write else done.text)


def _zone(name: str) -> ZoneInfo:
    if name not in available_timezones():
        message = f"{cut(name)!r} is no time zone; write e.g. Europe/Zurich"
        raise Refused(message)
    return ZoneInfo(name)


def _zone_of(options: Options, line: NamedLine, meter: str) -> ZoneInfo:
    """Where the meter's facility is."""
    if meter not in line.meters:
        _refuse_zone(meter)
    from gateway.cli.view import asked, book_now

    known = asked(options, book_now)
    if meter not in known.meters:
        _refuse_zone(meter)
    return ZoneInfo(known.facilities[known.meters[meter].facility].time_zone)


def _refuse_zone(meter: str) -> NoReturn:
    message = f"it is not known where {cut(meter)} is; write --time-zone, such as Europe/Zurich"
    raise Refused(message)
