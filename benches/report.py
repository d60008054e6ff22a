"""The figures as a table for people and as a file for programs."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from benches.figure import Figure

_HEAD = ("figure", "value", "limit", "unit", "", "beside it")


def table(figures: Sequence[Figure]) -> str:
    """One line a figure."""
    rows = [_HEAD, *map(_row, figures)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(_HEAD))]
    return "\n".join("  ".join(map(str.ljust, row, widths)).rstrip() for row in rows)


def _row(figure: Figure) -> tuple[str, ...]:
    sign = ">=" if figure.at_least else "<="
    beside = [*(f"{name} {number(value)}" for name, value in figure.peers.items()), *filter(None, [figure.note])]
    return (
        figure.name,
        number(figure.value),
        "-" if figure.limit is None else f"{sign} {number(figure.limit)}",
        figure.unit,
        "ok" if figure.ok else "MISSED" if figure.value is not None else "NOT MEASURED",
        "; ".join(beside),
    )


def number(value: float | None) -> str:
    """With three digits, a whole number where it has more."""
    if value is None:
        return "-"
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}"  # noqa: PLR2004 - three digits


def write(figures: Sequence[Figure], file: Path) -> None:
    """Replace the file by `{name: {value, unit, limit, ok, peers, note}}`; it is never half there."""
    file.parent.mkdir(parents=True, exist_ok=True)
    new = file.with_suffix(".new")
    new.write_text(json.dumps({figure.name: figure.json for figure in figures}, indent=2) + "\n", encoding="utf-8")
    new.replace(file)
