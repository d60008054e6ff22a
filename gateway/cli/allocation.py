"""The commands `allocation show|set`: how registers are shared."""

from __future__ import annotations

import json
from datetime import date
from typing import TYPE_CHECKING, Any, get_args

import click

from gateway.cli.ask import carry_out
from gateway.cli.exits import Refused
from gateway.cli.tell import tell
from gateway.cli.typed import command, pairs
from gateway.cli.view import asked, book_now, facility_of
from gateway.clock import SystemClock
from gateway.core.metering import EnergySource
from gateway.core.period import midnight, rfc3339
from gateway.core.problem import cut
from gateway.service import query
from gateway.service.command_schema import Share
from gateway.service.property_fields import in_years

if TYPE_CHECKING:
    from gateway.cli import Options


@click.group
def allocation() -> None:
    """How registers are shared between billing points."""


@allocation.command(name="show")
@click.option("--facility", required=True, help="Id of the facility.")
@click.option("--energy-source", required=True, help=f"One of {', '.join(get_args(EnergySource))}.")
@click.option("--at", "day", metavar="DATE", help="On this day; today where it is left out.")
@click.pass_obj
def show_allocation(options: Options, facility: str, energy_source: str, day: str | None) -> None:
    """Every register of a facility and energy source: direct, common with its coefficients, or unlinked."""
    if energy_source not in get_args(EnergySource):
        message = f"{cut(energy_source)!r} is no energy source; write one of {', '.join(get_args(EnergySource))}"
        raise Refused(message)
    book = asked(options, book_now)
    place = facility_of(book, facility)
    at = SystemClock().now() if day is None else midnight(_day(day), place.time_zone)
    rows = query.shared(book, facility, energy_source, at)
    told = {"facility": facility, "energy_source": energy_source, "at": rfc3339(at), "registers": rows}
    click.echo(json.dumps(told, ensure_ascii=False) if options.json else "\n".join(map(_sharing, rows)))


@allocation.command(name="set")
@click.argument("register")
@click.option("--scope", required=True, help="building: of the whole building; unit: of the linked points.")
@click.option("--key", required=True, help="percentage, volume, surface, quotity or people.")
@click.option("--value", multiple=True, metavar="POINT=VALUE", help="A point's value for this register only.")
@click.option("--from", "since", metavar="DATE", help="The first day of the rule; without: since ever.")
@click.pass_obj
def set_allocation(
    options: Options, register: str, scope: str, key: str, value: tuple[str, ...], since: str | None
) -> None:
    """Let all points that REGISTER is linked to share it by this scope and key."""
    values = pairs("value", "POINT=VALUE", value)
    told = command(Share, register=register, scope=scope, key=key, values=values, since=since)
    tell(options, carry_out(options, told))


def _sharing(row: dict[str, Any]) -> str:
    """A register and a line for each point that has a part in it."""
    rule = f", {row['scope']} scope by {row['key']}" if row["link"] == "common" else ""
    lines = [f"{row['register']} ({row['meter_name']}, {row['unit']}): {row['link']}{rule}"]
    for point in row["points"]:
        part = f"{point['numerator']} of {point['denominator']} = " if row["link"] == "common" else ""
        lines.append(f"  {point['point']}: {part}{point['coefficient']}")
    if "remainder" in row:
        lines.append(f"  remainder, to the owner: {row['remainder']['numerator']} = {row['remainder']['coefficient']}")
    return "\n".join([*lines, *([f"  {row['problem']}"] if "problem" in row else [])])


def _day(text: str) -> date:
    try:
        day = date.fromisoformat(text)
    except ValueError as error:
        message = f"{cut(text)!r} is no date; write e.g. 2026-10-15"
        raise Refused(message) from error
    if not in_years(day):
        message = f"{day} lies outside of the years 1900 to 2199; write e.g. 2026-10-15"
        raise Refused(message)
    return day
