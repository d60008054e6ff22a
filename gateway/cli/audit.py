"""The command `audit`: who changed what."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from gateway.cli.exits import Refused
from gateway.cli.tell import change_text
from gateway.cli.view import asked
from gateway.core.period import rfc3339
from gateway.core.problem import cut
from gateway.service import query
from gateway.service.command_schema import ChangeTold
from gateway.service.dealt_with import ALARM
from gateway.service.property_schema import TABLES

if TYPE_CHECKING:
    from gateway.cli import Options


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
    if not found:
        click.echo("0 changes")
