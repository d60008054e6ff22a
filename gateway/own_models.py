"""The installer's own meter models: files in the folder `models` beside the settings, read by the drivers' schemas."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from gateway.core.refusal import some
from gateway.ports.field import ModelKeeper
from gateway.tomlfile import Document, FileProblem, Loaded, read, validated

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from pydantic import BaseModel

    from gateway.core.refusal import Place
    from gateway.ports.field import Driver
    from gateway.tomlfile import Problems

FOLDER = "models"
_NAME = re.compile(r"[a-z0-9-]{1,40}")


@dataclass(slots=True, kw_only=True)
class OwnModels:
    """The drivers with the models of the folder beside their own, and what is wrong with files there."""

    drivers: dict[str, Driver] = field(default_factory=dict)
    """by name; only those to which the folder adds a model"""
    problems: list[FileProblem] = field(default_factory=list)
    """in the order of the files' names"""
    broken: list[str] = field(default_factory=list)
    """names of the models whose files are refused"""


def own_models(folder: Path, find: Callable[[str], Driver]) -> OwnModels:
    """Read every `*.toml` of the folder; `find` gives the driver of a name, or raises LookupError."""
    found = OwnModels()
    files: dict[str, dict[str, BaseModel]] = {}
    try:
        paths = _toml_files(folder)
    except OSError as error:
        text = f"cannot be read ({error.strerror}); make it a folder with the model files, or remove it"
        found.problems.append(FileProblem(file=str(folder), line=0, path="", text=text))
        return found
    for path in paths:
        try:
            document = _file(path)
            driver = _driver(document, find)
            files.setdefault(driver.name, {})[path.stem] = _model(path.stem, document, driver)
            found.drivers[driver.name] = driver.with_models(files[driver.name])
        except _RefusedError as refused:
            found.problems += refused.problems
            found.broken.append(path.stem)
    return found


def _toml_files(folder: Path) -> list[Path]:
    """Its files in order, none where there is no such folder; OSError where it cannot be looked into."""
    try:
        paths = sorted(folder.iterdir())
    except FileNotFoundError:
        if folder.is_symlink():
            raise
        return []
    return [path for path in paths if path.suffix.lower() == ".toml"]


def _file(path: Path) -> Document:
    document = read(path)
    if not isinstance(document, Document):
        raise _RefusedError(document)
    return document


def _driver(document: Document, find: Callable[[str], Driver]) -> ModelKeeper:
    protocol = document.table.get("protocol")
    if not isinstance(protocol, str):
        raise _refused(document, ("protocol",), 'is missing or no text; write e.g. protocol = "modbus"')
    try:
        driver = find(protocol)
    except LookupError as error:
        raise _refused(document, ("protocol",), str(error)) from error
    if not isinstance(driver, ModelKeeper):
        raise _refused(document, ("protocol",), f"the driver {protocol} takes no model files; remove this one")
    return driver


def _model(name: str, document: Document, driver: ModelKeeper) -> BaseModel:
    """The model, if its name is free, the schema accepts it, and it reads its own proofs as they expect."""
    if not _NAME.fullmatch(name) or not document.lines.file.endswith(".toml"):
        raise _refused(document, (), "the file's name is the model's; use 1 to 40 of a-z, 0-9 and -, and .toml")
    if name in driver.models():
        raise _refused(document, (), f"there is a model {name} already; give the file another name")
    loaded = validated(document, driver.model_schema)
    if not isinstance(loaded, Loaded):
        raise _RefusedError(loaded)
    wrong = driver.with_models({name: loaded.value}).prove(name)
    if wrong:
        text = f"{some(wrong, '; ')}; correct the register or the proof"
        raise _refused(document, ("proof",), text)
    return loaded.value


class _RefusedError(Exception):
    """A file cannot be used."""

    def __init__(self, problems: Problems) -> None:
        super().__init__()
        self.problems = problems


def _refused(document: Document, place: Place, text: str) -> _RefusedError:
    return _RefusedError((document.lines.problem(place, text),))
