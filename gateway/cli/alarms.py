"""Alarms: what is wrong now, and the end of what only a person can end."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import click

from gateway.cli.ask import carry_out
from gateway.cli.tell import tell
from gateway.cli.typed import command
from gateway.cli.view import asked
from gateway.core.period import rfc3339
from gateway.service.command_schema import EndAlarm

if TYPE_CHECKING:
    from gateway.cli import Options
    from gateway.service.records import KeptAlarm


@click.group
def alarm() -> None:
    """What is wrong now."""


@alarm.command(name="list")
@click.pass_obj
def list_alarms(options: Options) -> None:
    """List the open alarms, the oldest first."""
    found = asked(options, lambda view: view.kept_alarms())
    if options.json:
        click.echo(json.dumps([_row(one) for one in found], ensure_ascii=False))
        return
    for one in found:
        kept = one.alarm
        click.echo(f"{one.id}  {rfc3339(kept.since)}  {kept.severity}  {kept.code} {kept.source}: {kept.text}")
    if not found:
        click.echo("0 alarms")


def _row(one: KeptAlarm) -> dict[str, str]:
    """In the words of the event that told it."""
    kept = one.alarm
    return {
        "alarm_id": one.id,
        "code": kept.code,
        "severity": kept.severity,
        "source": kept.source,
        "since": rfc3339(kept.since),
        "text": kept.text,
    }


@alarm.command(name="end")
@click.argument("named", metavar="ID")
@click.option("--reason", required=True, help="What was done about it.")
@click.pass_obj
def end_alarm(options: Options, named: str, reason: str) -> None:
    """You have dealt with what the alarm says: it is over.

    For what the gateway cannot see itself, such as a session that was never billed, or a meter that is not in the
    settings any more. What comes of property data or of readings ends once that is put right.
    """
    tell(options, carry_out(options, command(EndAlarm, id=named, reason=reason)))
