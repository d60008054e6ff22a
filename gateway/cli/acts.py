"""Commands about what happens in a house: a move, an exchange, a reading by hand."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import click

from gateway.cli.ask import carry_out
from gateway.cli.exits import Refused
from gateway.cli.tell import tell
from gateway.cli.typed import command, pairs
from gateway.core.problem import cut
from gateway.service.command_schema import AddReading, Exchange, Move, VoidReading, VoidSpan

if TYPE_CHECKING:
    from gateway.cli import Options

_NEGATIVE = re.compile(r"-[0-9.]+")
_INDEX = "REGISTER=VALUE"
_AT = "Instants are local to the facility, such as 2026-03-12T10:30, or have their offset: 2026-03-12T10:30+01:00."


@click.command(
    help="Who pays for POINT from DATE on; the last day of who was there is the day before. "
    "A move that was entered with a wrong day: the same with the right one."
)
@click.argument("point")
@click.argument("date")
@click.option("--to", metavar="USER", help="Who moves in. Without: the point is vacant, and its owner pays.")
@click.pass_obj
def move(options: Options, point: str, date: str, to: str | None) -> None:
    """Record a move."""
    tell(options, carry_out(options, command(Move, point=point, day=date, to=to)))


@click.command(
    help=f"One meter ends and another begins on the same links. {_AT} --mistaken takes an exchange back that never "
    "happened, and gives the meter the serial number that it had."
)
@click.argument("meter")
@click.option("--at", required=True, metavar="INSTANT", help="When.")
@click.option("--final", multiple=True, metavar=_INDEX, help="Last index of the old meter, of each register.")
@click.option("--start", multiple=True, metavar=_INDEX, help="First index of the new one, of each register.")
@click.option("--serial", help="Serial number of the new meter; with --mistaken of the one that is there.")
@click.option("--mistaken", is_flag=True, help="The exchange of that instant never happened.")
@click.pass_obj
def exchange(options: Options, /, meter: str, at: str, **given: Any) -> None:  # noqa: ANN401 - what click hands over
    """Record an exchange, or take one back."""
    indexes = {key: pairs(key, _INDEX, given.pop(key)) for key in ("final", "start")}
    tell(options, carry_out(options, command(Exchange, meter=meter, at=at, **given, **indexes)))


@click.group
def reading() -> None:
    """Readings that a person adds or takes out; both are kept, with the reason and who it was."""


class _Index(click.Command):
    """An index below zero looks like an option: it is told what it is."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        below = next((text for text in args if _NEGATIVE.fullmatch(text)), None)
        if below is not None:
            message = f"{cut(below)} is no index: a meter does not count below 0; write what it shows"
            raise Refused(message)
        return super().parse_args(ctx, args)


@reading.command(name="add", cls=_Index, help=f"Add an index that a person read. {_AT}")
@click.argument("meter")
@click.argument("register")
@click.argument("at")
@click.argument("value")
@click.option("--reason", required=True, help="Why it is added.")
@click.pass_obj
def add_reading(options: Options, meter: str, register: str, at: str, value: str, reason: str) -> None:
    """Add a reading."""
    told = command(AddReading, meter=meter, register=register, at=at, value=value, reason=reason)
    tell(options, carry_out(options, told))


@reading.command(
    name="void",
    help="A reading does not count: charges are made as if it had not been read. --from and --to in place of AT: all "
    "that the meter told in that time, of REGISTER or of all its registers; what a person added stays. "
    f"{_AT}",
)
@click.argument("meter")
@click.argument("register", required=False)
@click.argument("at", required=False)
@click.option("--from", "start", metavar="INSTANT", help="The first reading that does not count.")
@click.option("--to", "until", metavar="INSTANT", help="The first that counts again.")
@click.option("--register", "only", metavar="REGISTER", help="The same as REGISTER.")
@click.option("--reason", required=True, help="Why it does not count.")
@click.option("--yes", is_flag=True, help="With --from and --to: do it; without, what it would void is told.")
@click.pass_obj
def void_reading(options: Options, /, meter: str, reason: str, **given: Any) -> None:  # noqa: ANN401 - of click
    """Void a reading, or all of a stretch."""
    tell(options, carry_out(options, _void(meter, reason, **given)))


def _void(
    meter: str,
    reason: str,
    *,
    register: str | None,
    only: str | None,
    at: str | None,
    **span: Any,  # noqa: ANN401
) -> VoidReading | VoidSpan:
    if register is not None and only is not None:
        message = f"the register stands there twice: {cut(register)} and {cut(only)}; write one"
        raise Refused(message)
    register = register or only
    if at is None and span["start"] and span["until"]:
        names = {"from": span["start"], "to": span["until"], "yes": span["yes"]}
        return command(VoidSpan, meter=meter, register=register, reason=reason, **names)
    if at is None or register is None or span["start"] or span["until"]:
        message = "write REGISTER and AT for one reading, or --from INSTANT --to INSTANT for all of that time"
        raise Refused(message)
    if span["yes"]:
        message = "--yes goes with --from and --to: one reading is void at once; leave it out"
        raise Refused(message)
    return command(VoidReading, meter=meter, register=register, at=at, reason=reason)
