"""Commands about property data: import a file."""

from __future__ import annotations

import asyncio
import getpass
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from pydantic import BaseModel

from gateway.cli.exits import REFUSED, Refused
from gateway.cli.property_file import read_entries
from gateway.cli.wiring import load_settings
from gateway.clock import SystemClock
from gateway.service import command
from gateway.service.property_schema import Entity, entities
from gateway.tomlfile import Document, read

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gateway.cli import Options
    from gateway.cli.property_file import PropertyFile
    from gateway.service.command import Change, Plan
    from gateway.tomlfile import Problems

_RUNNING = "the daemon is running on this store: stop it (systemctl stop submeter) and import again"


@click.command(name="import")
@click.argument("path", metavar="FILE", type=click.Path(path_type=Path))
@click.option("--plan", "only_plan", is_flag=True, help="Print what would change, and change nothing.")
@click.pass_obj
def import_file(options: Options, path: Path, *, only_plan: bool) -> None:
    """Take over the property data of a file such as property.toml: all of it, or nothing.

    What the file does not mention stays as it is.
    """
    document = read(path)
    if not isinstance(document, Document):
        _refuse(options, document)
        return
    from gateway.store import StoreError, StoreInUseError

    try:
        planned = asyncio.run(_import(load_settings(options).store, read_entries(document), only_plan=only_plan))
    except StoreInUseError as error:
        raise Refused(_RUNNING) from error
    except StoreError as error:
        raise Refused(str(error)) from error
    if isinstance(planned, tuple):
        _refuse(options, planned)
        return
    click.echo(_plan_json(planned, applied=not only_plan) if options.json else _plan_text(planned))


async def _import(url: str, file: PropertyFile, *, only_plan: bool) -> Plan | Problems:
    """The plan, carried out unless only the plan is asked for; or everything that speaks against it."""
    from gateway.store import Store, StoreView

    if only_plan:
        async with StoreView(url) as view:
            rows = await view.property_rows(None)
        planned = command.plan(entities(rows), file.entities, file.refused)
        return file.problems(planned.problems) or planned
    async with Store(url) as store:
        planned = command.plan(entities(await store.property_rows(None)), file.entities, file.refused)
        problems = file.problems(planned.problems)
        if not problems:
            await command.record(store, planned, by=_user(), at=SystemClock().now())
        return problems or planned


def _user() -> str:
    """Who runs this; a container may have no name for its user."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return f"uid-{os.getuid()}"


def _refuse(options: Options, problems: Problems) -> None:
    if not options.json:
        raise Refused.all(problems)
    found = [{"file": each.file, "line": each.line, "path": each.path, "text": each.text} for each in problems]
    click.echo(json.dumps({"ok": False, "problems": found}, ensure_ascii=False))
    raise click.exceptions.Exit(REFUSED)


def _plan_json(planned: Plan, *, applied: bool) -> str:
    changes = [
        {
            "kind": change.kind,
            "id": change.id,
            "before": None if change.before is None else json.loads(change.before.printed()),
            "after": json.loads(change.after.printed()),
        }
        for change in planned.changes
    ]
    counts = {"added": planned.added, "changed": planned.changed, "unchanged": planned.unchanged}
    return json.dumps({"ok": True, "applied": applied, **counts, "changes": changes}, ensure_ascii=False)


def _plan_text(planned: Plan) -> str:
    summary = f"{planned.added} added, {planned.changed} changed, {planned.unchanged} unchanged"
    return "\n".join([*map(_change_text, planned.changes), summary])


def _change_text(change: Change) -> str:
    """One line, such as "rate electricity: price from 2026-10-16: 0.2700 -> 0.2800"."""
    after = _items(change.after)
    if change.before is None:
        told = ", ".join(f"{name} {value}" for name, value in after.items())
        return f"{change.kind} {change.id}: new: {told}"
    before = _items(change.before)
    names = [name for name in before | after if before.get(name) != after.get(name)]
    steps = (f"{name}: {before.get(name, 'nothing')} -> {after.get(name, 'nothing')}" for name in names)
    return f"{change.kind} {change.id}: {'; '.join(steps)}"


def _items(entity: Entity) -> dict[str, Any]:
    """What the entity says, flat: {"title": "Electricity", "price from 2026-10-16": 0.2700, "tax rate": 8.1}."""
    return {name: value for field, given in _given(entity) if field != "id" for name, value in _flat(field, given)}


def _flat(field: str, given: Any) -> Iterator[tuple[str, Any]]:  # noqa: ANN401 - whatever a schema holds
    if isinstance(given, BaseModel):
        yield from ((f"{field} {name}", value) for name, value in _given(given))
    elif isinstance(given, tuple) and isinstance(given[0], BaseModel):
        for part in given:
            inside = dict(_given(part))
            when = next((f" {name} {inside.pop(name)}" for name in ("from", "at") if name in inside), "")
            yield from ((f"{field if name == 'value' else name}{when}", value) for name, value in inside.items())
    else:
        yield field, ", ".join(given) if isinstance(given, tuple) else given


def _given(model: BaseModel) -> Iterator[tuple[str, Any]]:
    """What the model has, by the names of the file."""
    for name, info in type(model).model_fields.items():
        if (value := getattr(model, name)) is not None:
            yield info.alias or name, str(value).lower() if isinstance(value, bool) else value
