"""The worked cases, through the real engine. `CASES=path OPS=a,b make cases` runs another file of the same form."""

from __future__ import annotations

import os
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.core import casefile, casework
from tests.core.laundrywork import laundry

if TYPE_CHECKING:
    from tests.core.casefile import Case

OURS = Path(__file__).parent.parent / "data" / "billing-cases.json"
OPERATIONS = {**casework.OPERATIONS, "laundry": laundry}


def _cases() -> list[Case]:
    """All cases of the file; of our own copy those of the operations that exist."""
    path = Path(os.environ.get("CASES") or OURS)
    wanted = [name for name in os.environ.get("OPS", "").split(",") if name]
    if not wanted and path.resolve() == OURS:
        wanted = list(OPERATIONS)
    try:
        return casefile.read(path, wanted)
    except casefile.CaseFileError as error:
        raise pytest.Collector.CollectError(str(error)) from error


@pytest.mark.parametrize("case", _cases(), ids=lambda case: str(case["id"]))
def test_case(case: Case) -> None:
    assert case["op"] in OPERATIONS, f"operation {case['op']!r} is not known: {', '.join(OPERATIONS)} are"
    answer, expected = OPERATIONS[case["op"]](case["given"]), case["expect"]
    if "error" in expected:
        assert _refused(answer) == expected["error"]
        return
    assert "error" not in answer, answer
    for name, value in expected.items():
        assert _plain(name, answer[name], value) == _plain(name, value, value), (name, case.get("working"))
    for name in ("lines", "blocked", "pending", "warnings"):
        assert name in expected or not _plain(name, answer.get(name, []), None), (name, answer[name])


def _refused(answer: Case) -> str | None:
    """The code for which nothing is charged."""
    if "error" in answer:
        return str(answer["error"])
    codes = {one["code"] for one in answer.get("blocked", [])}
    return codes.pop() if len(codes) == 1 and not answer["lines"] else None


def _plain(name: str, value: Any, like: Any) -> Any:  # noqa: ANN401  JSON of any form
    """In a form that compares numbers as numbers, lists as sets, and only what the case states."""
    if name == "pending" and isinstance(like, dict) and isinstance(value, list) and len(value) == 1:
        value = value[0]
    if name == "corrections":
        value = _effective(value)
    if name == "results":  # one for every tap, in order; each states what it needs
        return [_numbers({key: row.get(key) for key in wanted}) for row, wanted in zip(value, like, strict=True)]
    if isinstance(value, list):
        keys = set(like[0]) if isinstance(like, list) and like and isinstance(like[0], dict) else None
        rows = [{key: row[key] for key in keys} if keys else row for row in value]
        return sorted(repr(_numbers(row)) for row in rows if not _empty(name, row))
    return _numbers(value)


def _effective(corrections: list[Case]) -> list[Case]:
    """Without a line that is taken back and charged again unchanged: both ways to publish it mean the same."""
    left = list(corrections)
    for one in corrections:
        back = {"payer": one["payer"], "kind": "reversal", "amount": str(-Fraction(one["amount"]))}
        for other in left:
            same = other["kind"] == back["kind"] and other["payer"] == back["payer"]
            if (
                one["kind"] == "charge"
                and one in left
                and same
                and Fraction(other["amount"]) == Fraction(back["amount"])
            ):
                left.remove(one)
                left.remove(other)
                break
    return left


def _empty(name: str, row: Any) -> bool:  # noqa: ANN401  JSON of any form
    """A share of nothing is no line."""
    return name == "lines" and isinstance(row, dict) and "unit" in row and not Fraction(row["quantity"])


def _numbers(value: Any) -> Any:  # noqa: ANN401  JSON of any form
    if isinstance(value, dict):
        return {key: _numbers(value[key]) for key in sorted(value)}
    if isinstance(value, str):
        try:
            return Fraction(value)
        except ValueError:
            return value
    return value
