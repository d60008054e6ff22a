"""The groups of the property data: `submeter point add`, `rate set` ... Their options are the keys of the file."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Literal, TypeVar, get_args, get_origin

import click
from pydantic import BaseModel

from gateway.cli.ask import carry_out
from gateway.cli.exits import Refused
from gateway.cli.hints import MEANINGS
from gateway.cli.tell import flat, tell
from gateway.cli.typed import command
from gateway.cli.view import asked
from gateway.core.problem import cut
from gateway.service.command_edits import DATED, LAST_DAY
from gateway.service.command_schema import Add, End, Set
from gateway.service.property import entities
from gateway.service.property_schema import TABLES, Entity, Register

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from pydantic.fields import FieldInfo

    from gateway.cli import Options

_F = TypeVar("_F", bound=Callable[..., object])
_MADE_IDS = ("link", "owner", "occupancy")
"""tables that give their entries an id where none is chosen"""
_LISTS = ("points", "access_points")
_JSON = ("[", "{")
_KEPT = ("digest", "versions")
"""keys that the gateway writes itself"""
_ONLY_DATED = ("building", "point", "rate")
"""tables without a `from` of their own: --from belongs to a value or price"""


def group(kind: str) -> click.Group:
    """The commands of one table."""
    made = click.Group(name=kind, help=f"{TABLES[kind].__doc__} Add, change, list, show and end them.")
    for verb in (_add(kind), _set(kind), _end(kind), _list(kind), _show(kind)):
        made.add_command(verb)
    if kind == "badge":
        from gateway.cli.enrol import enrol

        made.add_command(enrol)
    return made


def _a(kind: str) -> str:
    return f"{'an' if kind.startswith('o') else 'a'} {kind}"


def _add(kind: str) -> click.Command:
    @click.command(name="add", help=f"Add {_a(kind)}. Every mistake is told at once.")
    @click.argument(
        "named", metavar="[ID]" if kind in _MADE_IDS else "ID", required=kind not in _MADE_IDS, default=None
    )
    @_options(kind, dated=kind == "rate")
    @_price_options(kind)
    @_new_point_options(kind)
    @click.pass_obj
    def add(options: Options, /, named: str | None, **given: object) -> None:
        point = _new_point(given) if kind == "link" else None
        owner = given.pop("owner", None)
        value = _value(kind, given)
        value |= {} if named is None else {"id": named}
        tell(options, carry_out(options, command(Add, kind=kind, value=value, new_point=point, owner=owner)))

    return add


def _set(kind: str) -> click.Command:
    @click.command(
        name="set",
        help=f'Change {_a(kind)}. What is not named stays; an empty value ("") removes the key. {_meant_by_from(kind)}',
    )
    @click.argument("named", metavar="ID")
    @_options(kind, dated=kind in _ONLY_DATED)
    @_price_options(kind)
    @click.pass_obj
    def set_(options: Options, /, named: str, **given: object) -> None:
        value = _value(kind, given)
        since = value.pop("from", None) if _dates_a_value(kind, value) else None
        if not value:
            message = f"{kind} {named}: nothing to change; name at least one key (see --help)"
            raise Refused(message)
        tell(options, carry_out(options, command(Set, kind=kind, id=named, value=value, since=since)))

    return set_


def _meant_by_from(kind: str) -> str:
    if kind == "link":
        return "--from DATE: beside --value, the day from which that holds; else the first day of the link."
    return "--from DATE: the day from which a changed value holds." if kind in _ONLY_DATED else ""


def _dates_a_value(kind: str, value: dict[str, Any]) -> bool:
    return kind in _ONLY_DATED or any(isinstance(value.get(key), str) for key in DATED)


def _end(kind: str) -> click.Command:
    key = LAST_DAY.get(kind)
    meaning = "the last day that the user pays" if key == "exit" else "the first day without it"

    def day_options(function: _F) -> _F:
        if key is None:
            return function
        mistaken = click.option("--mistaken", is_flag=True, help="It never held: take it out of all days.")
        return click.option(f"--{key}", "day", metavar="DATE", help=f"{meaning[0].upper()}{meaning[1:]}.")(
            mistaken(function)
        )

    text = f"End {_a(kind)}" + ("." if key else ": it is not there any more. Refused while something names it.")

    @click.command(name="end", help=text)
    @click.argument("named", metavar="ID")
    @day_options
    @click.pass_obj
    def end(options: Options, named: str, day: str | None = None, *, mistaken: bool = False) -> None:
        tell(options, carry_out(options, command(End, kind=kind, id=named, day=day, mistaken=mistaken)))

    return end


def _list(kind: str) -> click.Command:
    @click.command(name="list", help=f"List every {kind}; with --json as the objects that import accepts.")
    @click.pass_obj
    def list_(options: Options) -> None:
        found = [one for one in known(options) if one.table == kind]
        if options.json:
            click.echo(json.dumps([one.given() for one in found], ensure_ascii=False))
            return
        for one in found:
            click.echo(f"{one.id}: {', '.join(f'{key} {value}' for key, value in flat(kind, one.given()).items())}")

    return list_


def _show(kind: str) -> click.Command:
    @click.command(name="show", help=f"Show {_a(kind)}; with --json as the object that import accepts.")
    @click.argument("named", metavar="ID")
    @click.pass_obj
    def show(options: Options, named: str) -> None:
        every = known(options)
        found = next((one for one in every if (one.table, one.id) == (kind, named)), None)
        if found is None:
            message = f"{kind} {cut(named)}: there is none of this id; `submeter {kind} list` names them"
            raise Refused(message)
        if options.json:
            click.echo(json.dumps(found.given(), ensure_ascii=False))
            return
        click.echo(
            "\n".join([f"{kind} {named}", *(f"  {key}: {text}" for key, text in flat(kind, found.given()).items())])
        )
        if kind in {"meter", "register"}:
            counted = {one.id for one in every if isinstance(one, Register) and one.meter == named}
            for alarm in asked(options, lambda view: view.open_alarms()):
                if alarm.source in {named, *counted}:
                    click.echo(f"  alarm {alarm.code} of {alarm.source}: {alarm.text}")

    return show


def known(options: Options) -> Sequence[Entity]:
    """Every entry as it is now."""
    return entities(asked(options, lambda view: view.property_rows(None)))


def _keys(model: type[BaseModel], prefix: str = "") -> Iterator[tuple[str, FieldInfo]]:
    """The keys of a table; those of a table inside with its name before them: "tax.rate"."""
    for name, info in model.model_fields.items():
        key = prefix + (info.alias or name)
        if isinstance(info.annotation, type) and issubclass(info.annotation, BaseModel):
            yield from _keys(info.annotation, f"{key}.")
        elif key != "id":
            yield key, info


def _options(kind: str, *, dated: bool) -> Callable[[_F], _F]:
    """An option for each key; those made of words are also taken as they stand in the file, with _."""

    def decorate(function: _F) -> _F:
        for key, info in reversed(list(_keys(TABLES[kind]))):
            if key not in _KEPT:
                function = _option(key, help_text=_hint(key, info), several=key in _LISTS)(function)
        if dated:
            function = _option("from", help_text="The day from which the value holds.")(function)
        return function

    return decorate


def _hint(key: str, info: FieldInfo) -> str:
    """What may be written there, as far as the schema says it."""
    if key in TABLES:
        return f"Id of the {key}."
    words = _words(info.annotation)
    if words:
        return f"One of {', '.join(words)}."
    return MEANINGS.get(key) or (f"Such as {info.examples[0]}." if info.examples else "")


def _words(annotation: object) -> tuple[str, ...]:
    """The words of a Literal, also where None is allowed beside it."""
    if get_origin(annotation) is Literal:
        return get_args(annotation)
    return next((words for inner in get_args(annotation) if (words := _words(inner))), ())


def _option(key: str, *, help_text: str = "", several: bool = False, name: str = "") -> Callable[[_F], _F]:
    plain = key.replace(".", "_")
    names = dict.fromkeys([f"--{plain.replace('_', '-')}", f"--{plain}"])
    metavar = "DATE" if key in ("from", "until", "entry", "exit") else "TEXT"
    return click.option(*names, name or plain, multiple=several, metavar=metavar, help=help_text or None)


def _price_options(kind: str) -> Callable[[_F], _F]:
    return _option("price", help_text="The price from that day on.") if kind == "rate" else lambda function: function


_POINT_KEYS = ("building", "kind", "surface", "volume", "quotity", "people")


def _new_point_options(kind: str) -> Callable[[_F], _F]:
    def decorate(function: _F) -> _F:
        for key in reversed(_POINT_KEYS if kind == "link" else ()):
            function = _option(key, name=f"point_{key}", help_text=f"{key.capitalize()} of the new point.")(function)
        if kind == "link":
            text = "Make the billing point, too; --point may choose its id."
            function = click.option("--new-point", metavar="NAME", help=text)(function)
        if kind == "facility":
            text = "Who pays for what nobody else does; needed."
            function = click.option("--owner", metavar="USER", help=text)(function)
        return function

    return decorate


def _new_point(given: dict[str, Any]) -> dict[str, Any] | None:
    """The point of `link add --new-point`; its options are taken out of what was given."""
    name = given.pop("new_point")
    values = {key: given.pop(f"point_{key}") for key in _POINT_KEYS}
    if name is None:
        stray = [key for key, value in values.items() if value is not None]
        if stray:
            message = f"--{stray[0]} belongs to a new point; give --new-point NAME, too"
            raise Refused(message)
        return None
    chosen = {} if given["point"] is None else {"id": given["point"]}
    return {"name": name, **chosen, **{key: _typed("point", key, value) for key, value in values.items() if value}}


def _value(kind: str, given: dict[str, Any]) -> dict[str, Any]:
    """What was given, as an object of the table."""
    value: dict[str, Any] = {}
    options = {key.replace(".", "_"): key for key, _ in _keys(TABLES[kind])}
    for name, text in given.items():
        if text is None or text == ():
            continue
        table, _, key = options.get(name, name).rpartition(".")
        inside = value.setdefault(table, {}) if table else value
        inside[key] = _typed(kind, name, text)
    return value


def _typed(kind: str, name: str, text: str | tuple[str, ...]) -> object:
    """Text stays text, an empty one removes the key; whole numbers, yes and no, and JSON are what they are."""
    if isinstance(text, tuple):
        return [one for one in text if one] or None
    info = TABLES[kind].model_fields.get(name)
    whole = info is not None and int in (info.annotation, *get_args(info.annotation)) and text.isdecimal()
    answer = name == "tax_included" and text in ("true", "false")
    if whole or answer or text.startswith(_JSON):
        with suppress(ValueError, RecursionError):  # what is no JSON is refused by its schema
            return json.loads(text)
    return text or None
