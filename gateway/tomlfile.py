"""TOML files whose every mistake is told with its line.

`tomllib` says what a file holds but not where; a small scanner adds the line of each path. The scanner
runs only over text that `tomllib` has accepted, so it may take the syntax for granted.
"""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from pydantic import BaseModel, ValidationError

from gateway.core.refusal import dotted
from gateway.files import read_text
from gateway.schema_errors import sentence

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from pydantic_core import ErrorDetails

    from gateway.core.refusal import Place

Schema = TypeVar("Schema", bound=BaseModel)
TOO_DEEP = "lists or tables are nested hundreds deep; no key here needs more than four levels, take the others out"


@dataclass(frozen=True, slots=True, kw_only=True)
class FileProblem:
    """One mistake that a person must correct in a file."""

    file: str
    line: int
    """counted from 1; 0 where it concerns the whole file"""
    path: str
    """"bus[1].meter[0].address"; "" where it concerns the whole file"""
    text: str
    """what is wrong and what to write instead"""

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}" if self.line else self.file
        return f"{place}: {self.path}: {self.text}" if self.path else f"{place}: {self.text}"


Problems = tuple[FileProblem, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Lines:
    """Where in a file each path stands."""

    file: str
    known: Mapping[Place, int]

    def line(self, place: Place) -> int:
        """The line of the path, or of the nearest thing around it that is there; 0 for the file itself."""
        while place and place not in self.known:
            place = place[:-1]
        return self.known.get(place, 0)

    def problem(self, place: Place, text: str) -> FileProblem:
        """A mistake at this path."""
        return FileProblem(file=self.file, line=self.line(place), path=dotted(place), text=text)


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """A file that is TOML, whatever it says."""

    table: dict[str, Any]
    lines: Lines


@dataclass(frozen=True, slots=True, kw_only=True)
class Loaded(Generic[Schema]):
    """A file that its schema has accepted."""

    value: Schema
    lines: Lines


def load(path: Path, schema: type[Schema]) -> Loaded[Schema] | Problems:
    """Read the file by the schema: its value, or all of its mistakes."""
    document = read(path)
    return validated(document, schema) if isinstance(document, Document) else document


def read(path: Path) -> Document | Problems:
    """Read the file as TOML, without a schema."""
    try:
        text = read_text(path, "utf-8-sig")  # Windows begins files with a byte order mark
    except UnicodeDecodeError:
        return (_whole(str(path), "is not UTF-8 text; save it as UTF-8"),)
    except OSError as error:
        return (_whole(str(path), f"cannot be read ({error.strerror}); name a file that is there"),)
    return parse(text, str(path))


def parse(text: str, file: str) -> Document | Problems:
    """Read TOML text; `file` is the name that mistakes are told with."""
    try:
        table = tomllib.loads(text)
        places = _Scanner(text).places()
    except RecursionError:
        return (_whole(file, TOO_DEEP),)
    except tomllib.TOMLDecodeError as error:
        return (_syntax_problem(str(error), file, text),)
    except ValueError:  # Python converts no more than 4300 digits
        return (_whole(file, "a number has thousands of digits; shorten it"),)
    return Document(table=table, lines=Lines(file=file, known=places))


def validated(document: Document, schema: type[Schema]) -> Loaded[Schema] | Problems:
    """The file by the schema: its value, or all of its mistakes."""
    try:
        return Loaded(value=schema.model_validate(document.table), lines=document.lines)
    except ValidationError as error:
        return schema_problems(error, schema, document.lines)


def schema_problems(
    error: ValidationError, schema: type[BaseModel], lines: Lines, at: Place = (), beside: Iterable[str] = ()
) -> Problems:
    """What the schema refused, in the order of the file.

    `at` is the path of the part that was validated, `beside` the keys that others read from the same table.
    """
    found: dict[Place, FileProblem] = {}
    for each in error.errors(include_url=False):
        place = _place(each, lines, at)
        found.setdefault(place, lines.problem(place, sentence(each, schema, beside)))
    return in_order(found.values())


def in_order(problems: Iterable[FileProblem]) -> Problems:
    """The problems as a reader of the file meets them."""
    return tuple(sorted(problems, key=lambda problem: problem.line))


def _whole(file: str, text: str) -> FileProblem:
    return FileProblem(file=file, line=0, path="", text=text)


_SYNTAX = re.compile(r"(?P<what>.*) \(at (?:line (?P<line>\d+), column (?P<column>\d+)|end of document)\)", re.DOTALL)


def _syntax_problem(message: str, file: str, text: str) -> FileProblem:
    match = _SYNTAX.fullmatch(message)
    what = match["what"] if match else message
    last = text.count("\n") + (not text.endswith("\n"))
    line = int(match["line"]) if match and match["line"] else max(last, 1)
    where = f" at column {match['column']}" if match and match["column"] else " at the end of the file"
    return FileProblem(file=file, line=line, path="", text=f"this is not TOML: {what}{where}; correct the line")


def _place(error: ErrorDetails, lines: Lines, at: Place) -> Place:
    """The path in the file; pydantic also names the branches of a union, which no file holds."""
    place = at
    for part in error["loc"]:
        if (*place, part) in lines.known:
            place = (*place, part)
    return (*place, error["loc"][-1]) if error["type"] == "missing" else place


_BLANK = re.compile(r"(?:[ \t\r\n]|#[^\n]*)*")
_KEY = re.compile(r"""[ \t]*("(?:[^"\\]|\\.)*"|'[^']*'|[A-Za-z0-9_-]+)[ \t]*(\.?)""")
_STRING = re.compile(
    r'"""(?:[^\\]|\\.)*?"{3,5}' + r"|'''.*?'{3,5}" + r'|"(?:[^"\\]|\\.)*"' + r"|'[^']*'",
    re.DOTALL,
)
_PLAIN = re.compile(r"[^,\]}#\r\n]*")


class _Scanner:
    """Walks once through valid TOML and notes the line of every path."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0
        self._counted = (0, 1)  # a position, and the line that it is on
        self._found: dict[Place, int] = {}
        self._tables: dict[Place, int] = {}  # arrays of tables -> how many tables so far

    def places(self) -> dict[Place, int]:
        self._skip_blank()
        table: Place = ()
        while self._at < len(self._text):
            if self._peek("["):
                table = self._header()
            else:
                self._pair(table)
            self._skip_blank()
        return self._found

    def _header(self) -> Place:
        line = self._line()
        array = self._peek("[[")
        self._at += 2 if array else 1
        keys = self._keys()
        self._at += 2 if array else 1
        place = self._note((), keys[:-1], line)
        place = (*place, keys[-1])
        if array:
            count = self._tables.get(place, 0)
            self._tables[place] = count + 1
            self._found.setdefault(place, line)
            place = (*place, count)
        self._found.setdefault(place, line)
        return place

    def _note(self, start: Place, keys: tuple[str, ...], line: int) -> Place:
        """Note the line of each step of a dotted key; a step into an array of tables means its last table."""
        place = start
        for key in keys:
            place = (*place, key)
            self._found.setdefault(place, line)
            if place in self._tables:
                place = (*place, self._tables[place] - 1)
        return place

    def _pair(self, table: Place) -> None:
        line = self._line()
        place = self._note(table, self._keys(), line)
        self._at += 1  # the sign =
        self._skip_blank()
        self._value(place)

    def _value(self, place: Place) -> None:
        if self._peek("["):
            self._items(place, "]")
        elif self._peek("{"):
            self._items(place, "}")
        else:
            match = _STRING.match(self._text, self._at) or _PLAIN.match(self._text, self._at)
            self._at = match.end() if match else len(self._text)

    def _items(self, place: Place, end: str) -> None:
        """The elements of an array, or the pairs of an inline table."""
        self._at += 1
        self._skip_blank()
        count = 0
        while not self._peek(end):
            if end == "]":
                self._found[*place, count] = self._line()
                self._value((*place, count))
            else:
                self._pair(place)
            count += 1
            self._skip_blank()
            if self._peek(","):
                self._at += 1
                self._skip_blank()
        self._at += 1

    def _keys(self) -> tuple[str, ...]:
        keys: list[str] = []
        dot = "."
        while dot and (match := _KEY.match(self._text, self._at)):
            self._at = match.end()
            key, dot = match.groups()
            keys.append(_unquoted(key))
        return tuple(keys)

    def _skip_blank(self) -> None:
        match = _BLANK.match(self._text, self._at)
        self._at = match.end() if match else self._at

    def _peek(self, sign: str) -> bool:
        return self._text.startswith(sign, self._at)

    def _line(self) -> int:
        position, line = self._counted
        line += self._text.count("\n", position, self._at)
        self._counted = (self._at, line)
        return line


def _unquoted(key: str) -> str:
    return next(iter(tomllib.loads(f"{key} = 0"))) if key[0] in "\"'" else key
