"""A file of worked cases: what stands in it, or the sentence that says why it is none."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Collection
    from pathlib import Path

Case = dict[str, Any]
FORMAT = "billing-cases/1"
PARTS = {"id": str, "op": str, "given": dict, "expect": dict}


class CaseFileError(Exception):
    """The file holds no cases that can be run. The text is one sentence."""


def read(path: Path, wanted: Collection[str] = ()) -> list[Case]:
    """The cases of the file; with `wanted`, those of these operations. CaseFileError."""
    cases = _cases(path)
    if not cases:
        message = f"{path}: it holds no case; write at least one"
        raise CaseFileError(message)
    known = dict.fromkeys(case["op"] for case in cases)
    strange = [name for name in wanted if name not in known]
    if strange:
        there, asked = ", ".join(known), ",".join(wanted)
        message = f"OPS={asked}: {path} has no case of {', '.join(strange)}; it has {there}"
        raise CaseFileError(message)
    return [case for case in cases if not wanted or case["op"] in wanted]


def _cases(path: Path) -> list[Case]:
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        message = f"{path}: it cannot be read ({error.strerror}); name a file of cases"
        raise CaseFileError(message) from error
    except (ValueError, RecursionError) as error:
        message = f"{path}: it is no JSON ({error}); correct it"
        raise CaseFileError(message) from error
    if not isinstance(document, dict) or not isinstance(document.get("cases"), list):
        message = f'{path}: it is no file of cases; write {{"format": "{FORMAT}", "cases": [...]}}'
        raise CaseFileError(message)
    if document.get("format") != FORMAT:
        message = f"{path}: its format is {document.get('format')!r}; only {FORMAT!r} can be run"
        raise CaseFileError(message)
    for number, case in enumerate(document["cases"], 1):
        wrong = [
            name for name, kind in PARTS.items() if not isinstance(case, dict) or not isinstance(case.get(name), kind)
        ]
        if wrong:
            message = f"{path}: case {number} has no {', '.join(wrong)}; each has {', '.join(PARTS)}"
            raise CaseFileError(message)
    return list(document["cases"])
