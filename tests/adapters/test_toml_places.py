"""The scanner of lines against `tomllib`, on every TOML file of the product."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from gateway.tomlfile import Document, read

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]
FOLDERS = ("config", "drivers", "simulators")
FILES = [ROOT / "pyproject.toml", *sorted(path for folder in FOLDERS for path in (ROOT / folder).rglob("*.toml"))]


def places(value: object, place: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    """The path of everything in a table."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, each in inner:
        yield (*place, key)
        yield from places(each, (*place, key))


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_everything_in_a_file_has_its_line(path: Path) -> None:
    document = read(path)
    assert isinstance(document, Document)
    text = path.read_text(encoding="utf-8").splitlines()
    expected = set(places(document.table))
    assert set(document.lines.known) == expected
    for place, line in document.lines.known.items():
        if isinstance(place[-1], str):
            assert place[-1] in text[line - 1], (place, line)
