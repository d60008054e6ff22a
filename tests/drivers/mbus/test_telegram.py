"""Captured telegrams are decoded to exactly the records that the reference gives."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from drivers.mbus.report import describe

FRAMES = [
    json.loads(line) for line in (Path(__file__).parents[2] / "data" / "mbus-frames.jsonl").read_text().splitlines()
]


@pytest.mark.parametrize("case", FRAMES, ids=[case["name"] for case in FRAMES])
def test_a_captured_frame_gives_exactly_the_expected_object(case: dict[str, Any]) -> None:
    found = describe(bytes.fromhex(case["hex"]))
    if case["expect"] == "error":
        assert set(found) == {"ok", "error"}
        assert found["ok"] is False
        return
    assert found["ok"], found
    assert found["kind"] == case["expect"]
    for name in ("header", "more_records_follow", "application_error", "records"):
        if name in case:
            assert found[name] == case[name]


def test_the_reference_holds_every_kind_of_frame() -> None:
    kinds = {case["expect"] for case in FRAMES}

    assert kinds == {"variable", "fixed", "application_error", "master_to_slave", "error"}
    assert len(FRAMES) == 46
