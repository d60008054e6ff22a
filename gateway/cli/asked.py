"""Who changed what, how registers are shared, what the open month has cost so far."""

from __future__ import annotations

import asyncio
import json
from dataclasses import asdict
from datetime import UTC, date
from typing import TYPE_CHECKING, Any, TypeVar, get_args

import click

from gateway.cli.ask import carry_out
from gateway.cli.exits import Refused
from gateway.cli.tell import change_text, tell
from gateway.cli.typed import command, pairs
from gateway.cli.wiring import load_settings
from gateway.clock import SystemClock
from gateway.core.metering import EnergySource
from gateway.core.period import MAX, local_date, midnight, rfc3339
from gateway.core.problem import cut
from gateway.service import query
from gateway.service.accruals import accrual_body, accrued
from gateway.service.command_schema import ChangeTold, Share
from gateway.service.dealt_with import ALARM
from gateway.service.property import book_of
from gateway.service.property_fields import in_years
from gateway.service.property_schema import TABLES
from gateway.service.settle import Month

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from gateway.cli import Options
    from gateway.core.book import Book
    from gateway.core.building import Facility
    from gateway.store import StoreView

_T = TypeVar("_T")


@click.command
@click.option("--kind", help='Only changes of this table; "reading" or "alarm" for what a person said of those.')
@click.option("--id", "entity", help="Only changes of this entry; of a reading, the meter.")
@click.pass_obj
def audit(options: Options, kind: str | None, entity: str | None) -> None:
    """List every change: when, who, what was before and what after."""
    kinds = (*TABLES, query.READING, ALARM)
    if kind is not None and kind not in kinds:
        message = f"{cut(kind)!r} is no table; there are: {', '.join(kinds)}"
        raise Refused(message)
    found = asked(options, lambda view: query.audit(view, kind, entity))
    if options.json:
        rows = [{**asdict(one), "at": rfc3339(one.at)} for one in found]
        click.echo(json.dumps(rows, ensure_ascii=False))
        return
    for one in found:
        change = ChangeTold(kind=one.kind, id=one.id, before=one.before, after=one.after)
        click.echo(f"{rfc3339(one.at)}  {one.by}  {change_text(change)}")


@click.group
def allocation() -> None:
    """How registers are shared between billing points."""


@allocation.command(name="show")
@click.option("--facility", required=True)
@click.option("--energy-source", required=True, help=f"One of {', '.join(get_args(EnergySource))}.")
@click.option("--at", "day", metavar="DATE", help="On this day; today where it is left out.")
@click.pass_obj
def show_allocation(options: Options, facility: str, energy_source: str, day: str | None) -> None:
    """Every register of a facility and energy source: direct, common with its coefficients, or unlinked."""
    if energy_source not in get_args(EnergySource):
        message = f"{cut(energy_source)!r} is no energy source; write one of {', '.join(get_args(EnergySource))}"
        raise Refused(message)
    book = asked(options, _book)
    place = _facility(book, facility)
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


@click.command
@click.option("--facility", help="Only this facility.")
@click.option("--point", help="Only this billing point.")
@click.pass_obj
def accruals(options: Options, facility: str | None, point: str | None) -> None:
    """Running totals of the month of the last reading, for who is at each point now: no charges yet."""
    gateway = load_settings(options).gateway
    bodies = asked(options, lambda view: _accruals(view, gateway, facility))
    found = [one for one in bodies if point in (None, one["billing_point"])]
    if options.json:
        click.echo(json.dumps(found, ensure_ascii=False))
        return
    for one in found:
        for total in one["totals"]:
            used = f"{total['quantity']} {total['unit']} {total['energy_source']}"
            cost = f"{total['amount']} {total['currency']} ({total['amount_is']})"
            click.echo(f"{one['billing_point']}  {one['payer']['id']}  {used} = {cost}, until {total['until']}")


async def _accruals(view: StoreView, gateway: str, facility: str | None) -> list[Any]:
    book = await _book(view)
    wanted = book.facilities.values() if facility is None else [_facility(book, facility)]
    bodies = []
    for one in wanted:
        meters = {meter.id for meter in book.meters.values() if meter.facility == one.id}
        last = [reading.at for found in (await view.readings(meters, MAX, MAX)).values() for reading in found]
        if last:
            month = Month.of(one, local_date(max(last), one.time_zone))
            stays = await accrued(view, book, month, gateway, max(last).astimezone(UTC))
            bodies += [accrual_body(stay) for stay in stays.values()]
    return [body for body in bodies if body is not None]


async def _book(view: StoreView) -> Book:
    return book_of(await view.property_rows(None))


def _facility(book: Book, named: str) -> Facility:
    if named not in book.facilities:
        message = f"facility {cut(named)}: there is none of this id; `submeter facility list` names them"
        raise Refused(message)
    return book.facilities[named]


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


def asked(options: Options, question: Callable[[StoreView], Awaitable[_T]]) -> _T:
    """The answer of the store, which may be in use meanwhile."""
    from gateway.store import StoreError, StoreView

    url = load_settings(options).store

    async def ask() -> _T:
        async with StoreView(url) as view:
            return await question(view)

    try:
        return asyncio.run(ask())
    except StoreError as error:
        raise Refused(str(error)) from error
