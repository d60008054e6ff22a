"""Whole files of property data: import and export."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from gateway.cli.ask import carry_out, seal
from gateway.cli.entries import known
from gateway.cli.exits import Refused
from gateway.cli.property_file import read_entries, read_file
from gateway.cli.property_toml import tables, toml
from gateway.cli.tell import answer_json, answer_text
from gateway.cli.wiring import load_settings
from gateway.clock import SystemClock
from gateway.core.problem import Problem
from gateway.service.command import Plan
from gateway.service.command_execute import SealError, prepare, refused, told_ahead
from gateway.service.command_schema import Import, Named
from gateway.service.property import entities
from gateway.tomlfile import Document

if TYPE_CHECKING:
    from gateway.cli import Options
    from gateway.service.command_schema import Answer
    from gateway.tomlfile import Problems


@click.command(name="import")
@click.argument("path", metavar="FILE", type=click.Path(path_type=Path))
@click.option("--plan", "only_plan", is_flag=True, help="Print what would change, and change nothing.")
@click.pass_obj
def import_file(options: Options, path: Path, *, only_plan: bool) -> None:
    """Take over the property data of a file such as property.toml: all of it, or nothing.

    What the file does not mention stays as it is, also inside an entry: a key is removed with
    `submeter GROUP set ID --key ""`. A file that is older than what was recorded since (an exchange, a later price,
    value or exit) is refused. A file that ends in .json holds the same tables as JSON.
    """
    document = read_file(path)
    if not isinstance(document, Document):
        raise _refused(document)
    file = read_entries(document)
    if not file.entities and not file.mistakes:
        click.echo(f"{path}: holds no entries, so that nothing changes; entries begin with e.g. [[user]]", err=True)
    entries = tuple(Named.model_validate({"kind": one.table, "value": one.given()}) for one in file.entities)
    command = Import(
        entries=entries, refused=tuple(sorted(file.refused)), references=tuple(file.references), plan=only_plan
    )
    answer = _planned(options, command) if only_plan or file.mistakes else carry_out(options, command)
    found = (Problem(code="", kind=one.kind, id=one.id, text=one.text, field=one.field) for one in answer.problems)
    if problems := file.problems(found):
        raise _refused(problems)
    click.echo(answer_json(answer) if options.json else answer_text(answer))


def _planned(options: Options, command: Import) -> Answer:
    """What the import would change: that is only read, so that no daemon is in the way."""
    from gateway.store import StoreError, StoreView

    settings = load_settings(options)

    async def ask() -> Answer:
        async with StoreView(settings.store) as view:
            current = entities(await view.property_rows(None))
            closed = await view.closed_months()
            planned = prepare(current, command, SystemClock().now(), seal(settings.file), closed)
            return await told_ahead(view, planned) if isinstance(planned, Plan) else refused(planned)

    try:
        return asyncio.run(ask())
    except (StoreError, SealError) as error:
        raise Refused(str(error)) from error


def _refused(problems: Problems) -> Refused:
    found = [{"file": each.file, "line": each.line, "path": each.path, "text": each.text} for each in problems]
    return Refused.all(problems, found)


@click.command
@click.pass_obj
def export(options: Options) -> None:
    """Print all property data as property.toml; import accepts it again. With --json: the same tables as JSON.

    A badge has the digest of its identifier, which only this gateway can use.
    """
    found = known(options)
    click.echo(json.dumps(tables(found), ensure_ascii=False) if options.json else toml(found), nl=options.json)
