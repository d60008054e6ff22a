"""Commands about published charges: list them, explain one."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from datetime import datetime, time
from functools import partial
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

import click

from gateway.cli.exits import Refused
from gateway.cli.view import asked, book_now, require_known
from gateway.core.charge import REMAINDER, parse
from gateway.core.explain import Names, explain_charge
from gateway.core.problem import cut
from gateway.service.meter_status import words
from gateway.store.charges import ChargeFilter, KeptCharge

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gateway.cli import Options
    from gateway.core.book import Book
    from gateway.core.charge import Charge
    from gateway.store import StoreView

_ID = re.compile(r"[0-9a-f]{4,40}")
_MONTH = re.compile(r"[0-9]{4}-(0[1-9]|1[0-2])")


@click.command
@click.argument("charge")
@click.pass_obj
def explain(options: Options, charge: str) -> None:
    """Say in words and numbers how a charge came about. CHARGE is its id, or the first digits of it."""
    if not _ID.fullmatch(charge):
        message = f"{cut(charge)!r} is no charge id; give 4 to 40 of its hex digits, as `submeter charges` lists them"
        raise Refused(message)
    found, book = _published(options, ChargeFilter(id_prefix=charge))
    if len(found) != 1:
        several = "several charges begin" if found else "no charge begins"
        message = f"{several} with {charge}; `submeter charges` lists them"
        raise Refused(message)
    data = json.loads(found[0].data)
    published = parse(data)
    names = replace(_names(book), statuses=asked(options, partial(_statuses, published)))
    lines = explain_charge(published, found[0].charge_id, names)
    if options.json:
        click.echo(json.dumps({"charge": data, "explanation": lines}, ensure_ascii=False))
        return
    click.echo("\n".join([*lines, "", _place(found[0])]))


@click.command
@click.option("--month", help='Only this closing, such as "2026-10".')
@click.option("--point", help='Only this billing point; "_remainder" for what belongs to none.')
@click.option("--payer", metavar="USER", help="Only what this user pays.")
@click.option("--facility", help="Only this facility.")
@click.option("--standing", is_flag=True, help="Leave out reversals and what they take back.")
@click.pass_obj
def charges(
    options: Options,
    month: str | None,
    point: str | None,
    payer: str | None,
    facility: str | None,
    *,
    standing: bool,
) -> None:
    """List the published charges in the order of their publication."""
    if month is not None and not _MONTH.fullmatch(month):
        message = f"{cut(month)!r} is no month; write e.g. 2026-10"
        raise Refused(message)
    found, book = _published(options, ChargeFilter(facility=facility, closing=month, billing_point=point))
    if not found:
        require_known("facility", facility, book.facilities)
        require_known("point", point, (*book.points, REMAINDER))
    listed = (json.loads(one.data) for one in found if one.standing or not standing)
    rows = [row for row in listed if payer in (None, row["payer"]["id"])]
    if not rows:
        require_known("user", payer, book.users)
    if options.json:
        click.echo(json.dumps(rows, ensure_ascii=False))
        return
    for row in rows:
        click.echo(_row(row))
    click.echo(f"{len(rows)} charges" if len(rows) != 1 else "1 charge")


def _published(options: Options, wanted: ChargeFilter) -> tuple[Sequence[KeptCharge], Book]:
    async def found(view: StoreView) -> tuple[Sequence[KeptCharge], Book]:
        return await view.all_charges(wanted), await book_now(view)

    return asked(options, found)


async def _statuses(charge: Charge, view: StoreView) -> dict[tuple[str, datetime], str]:
    """What meters reported with the readings that the charge counts between; the charge itself does not carry it."""
    found = {}
    for part in charge.segments:
        points = [each.at for index in (part.start, part.until) for each in (index, *(index.between or ()))]
        for at in points:
            for reading in (await view.readings([part.meter], at, at, [part.register])).get(
                (part.meter, part.register), ()
            ):
                if reading.at == at and (said := words(reading.status)):
                    found[part.meter, at] = ", ".join(said)
    return found


def _names(book: Book) -> Names:
    return Names(
        users={user.id: user.name for user in book.users.values()},
        points={point.id: f"{point.name} ({point.id})" for point in book.points.values()},
        meters={meter.id: f"{meter.name} ({meter.id})" for meter in book.meters.values()},
        exchanges={one.id: [exchange.at for exchange in one.exchanges] for one in book.registers.values()},
    )


def _place(kept: KeptCharge) -> str:
    return f"Published as {kept.stream} number {kept.seq}; hash {kept.hash[:16]}..., after {kept.prevhash[:16]}..."


def _row(data: dict[str, Any]) -> str:
    period = data["period"]
    span = f"{_local(period['from'], period['time_zone'])} to {_local(period['until'], period['time_zone'])}"
    what = f"{data['quantity']} {data['unit']} x {data['unit_price']} = {data['amount']} {data['currency']}"
    kind = data["kind"] if data["revision"] == 1 else f"{data['kind']} of revision {data['revision']}"
    who = f"{data['billing_point']}  {data['payer']['id']}  {data['register']}"
    return f"{data['charge_id'][:12]}  {kind}  {who}  {span}  {what}"


def _local(text: str, zone: str) -> str:
    """The civil date; with the time where it is not midnight."""
    local = datetime.fromisoformat(text).astimezone(ZoneInfo(zone))
    return f"{local:%Y-%m-%d}" if local.time() == time() else f"{local:%Y-%m-%d %H:%M}"
