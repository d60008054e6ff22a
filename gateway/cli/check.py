"""The command `check`."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import click

from gateway import drivers, places, settings, settings_schema, tomlfile
from gateway.cli.exits import REFUSED, Refused

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gateway.cli import Options
    from gateway.tomlfile import FileProblem


@click.command
@click.option("--schema", is_flag=True, help="Print the JSON Schema of the settings file, for editors.")
@click.pass_obj
def check(options: Options, *, schema: bool) -> None:
    """Check the settings file, and that this user can use the files that it names.

    All mistakes are told at once. A serial device that is not there, a key file that all can read, and a line with
    more selections than its batteries bear, is a warning. Nothing is opened or connected to: lines, broker and clock
    are looked at by `submeter doctor`.
    """
    if schema:
        click.echo(_schema())
        return
    loaded = settings.load(options.config, drivers)
    if not isinstance(loaded, settings.Settings):
        _tell(options, loaded, ())
        raise click.exceptions.Exit(REFUSED)
    document = tomlfile.read(options.config)
    if not isinstance(document, tomlfile.Document):  # somebody has just written it
        raise Refused.all(document)
    problems = places.wrong(loaded, document)
    warnings = [*places.absent(document), *places.exposed(loaded, document), *places.wakeful(loaded, document)]
    _tell(options, problems, warnings)
    if problems:
        raise click.exceptions.Exit(REFUSED)
    if not options.json:
        meters = sum(len(bus.meters) for bus in loaded.buses)
        click.echo(f"{options.config}: ok (lines: {len(loaded.buses)}, meters: {meters})")


def _schema() -> str:
    editors = settings_schema.json_schema(
        map(drivers.find, drivers.names()),
        map(drivers.find_reader, drivers.names(drivers.READERS)),
        map(drivers.find_machine, drivers.names(drivers.MACHINES)),
    )
    return json.dumps(editors, indent=2)


def _tell(options: Options, problems: Sequence[FileProblem], warnings: Sequence[FileProblem]) -> None:
    for each in (*problems, *warnings):
        click.echo(str(each), err=True)
    if options.json:
        told = {"ok": not problems, "problems": _objects(problems), "warnings": _objects(warnings)}
        click.echo(json.dumps(told, ensure_ascii=False))


def _objects(found: Sequence[FileProblem]) -> list[dict[str, str | int]]:
    return [{"file": each.file, "line": each.line, "path": each.path, "text": each.text} for each in found]
