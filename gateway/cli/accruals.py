"""The command `accruals`: what the open month has cost so far."""

from __future__ import annotations

import json
from datetime import UTC
from typing import TYPE_CHECKING, Any

import click

from gateway.cli.view import asked, book_now, facility_of, require_known
from gateway.cli.wiring import load_settings
from gateway.core.period import MAX, local_date
from gateway.service.accruals import accrual_body, accrued
from gateway.service.due import Month

if TYPE_CHECKING:
    from gateway.cli import Options
    from gateway.store import StoreView


@click.command
@click.option("--facility", help="Only this facility.")
@click.option("--point", help="Only this billing point.")
@click.pass_obj
def accruals(options: Options, facility: str | None, point: str | None) -> None:
    """Running totals of the month of the last reading, for who is at each point now: no charges yet."""
    gateway = load_settings(options).gateway
    bodies = asked(options, lambda view: _accruals(view, gateway, facility, point))
    found = [one for one in bodies if point in (None, one["billing_point"])]
    if options.json:
        click.echo(json.dumps(found, ensure_ascii=False))
        return
    if not found:
        click.echo("0 running totals")
    for one in found:
        for total in one["totals"]:
            used = f"{total['quantity']} {total['unit']} {total['energy_source']}"
            cost = f"{total['amount']} {total['currency']} ({total['amount_is']})"
            click.echo(f"{one['billing_point']}  {one['payer']['id']}  {used} = {cost}, until {total['until']}")


async def _accruals(view: StoreView, gateway: str, facility: str | None, point: str | None) -> list[Any]:
    book = await book_now(view)
    require_known("point", point, book.points)
    wanted = book.facilities.values() if facility is None else [facility_of(book, facility)]
    bodies = []
    for one in wanted:
        meters = {meter.id for meter in book.meters.values() if meter.facility == one.id}
        last = [reading.at for found in (await view.readings(meters, MAX, MAX)).values() for reading in found]
        if last:
            month = Month.of(one, local_date(max(last), one.time_zone))
            stays = await accrued(view, book, month, gateway, max(last).astimezone(UTC))
            bodies += [accrual_body(stay) for stay in stays.values()]
    return [body for body in bodies if body is not None]
