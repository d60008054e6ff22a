"""`submeter badge enrol`: a badge is held to a reader instead of its identifier being typed."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import click

from gateway.cli.ask import have_enrolled
from gateway.cli.exits import Unreachable
from gateway.cli.tell import tell
from gateway.cli.typed import command
from gateway.service.command_schema import Enrol

if TYPE_CHECKING:
    from gateway.cli import Options


@click.command(
    help="Add a badge by holding it to a reader of the running daemon: twice within a minute. No tap there starts a "
    "machine meanwhile."
)
@click.argument("named", metavar="ID")
@click.option("--user", required=True, help="Id of the user.")
@click.option("--point", required=True, help="Id of the point that its sessions are billed to.")
@click.option("--access-points", "--access_points", "points", required=True, multiple=True, help="Where it holds.")
@click.option("--from", "since", metavar="DATE", help="The first day on which it holds.")
@click.option("--until", metavar="DATE", help="The first day without it.")
@click.option("--reader", required=True, help="Id of the [[reader]] in the settings.")
@click.pass_obj
def enrol(
    options: Options, /, named: str, points: tuple[str, ...], since: str | None, reader: str, **given: str
) -> None:
    """Enrol a badge by tap."""
    value = {"id": named, **given, "access_points": list(points), "from": since}
    told = command(Enrol, reader=reader, value={key: one for key, one in value.items() if one is not None})
    answer = have_enrolled(options, told, partial(click.echo, err=True))
    if answer.unreachable:
        raise Unreachable("\n".join(map(str, answer.problems)), [one.model_dump() for one in answer.problems])
    tell(options, answer)
