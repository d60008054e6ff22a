"""The README counts the models by the best of their proofs, and those that we tried on hardware."""

from __future__ import annotations

import re
import tomllib
from collections import Counter
from pathlib import Path

import pytest

DRIVERS = Path(__file__).parents[2] / "drivers"
ORIGINS = ("captured", "manual", "in part", "constructed")


def best_origin(path: Path) -> str:
    """Of the proofs that show all registers together; "in part" where captured or manual ones show only some."""
    model = tomllib.loads(path.read_text("utf-8"))
    keys = {str(register["key"]) for register in model.get("register", ())}
    shown = {
        origin: {key for proof in model["proof"] if proof["origin"] == origin for key in proof["expect"]}
        for origin in ("captured", "manual")
    }
    for origin, named in shown.items():
        if named and named >= keys:
            return origin
    return "in part" if any(shown.values()) else "constructed"


@pytest.mark.parametrize("protocol", ["mbus", "modbus"])
def test_the_readme_counts_the_models(protocol: str) -> None:
    files = sorted((DRIVERS / protocol / "models").glob("*.toml"))
    counts = Counter(map(best_origin, files))
    tried = sum(bool(tomllib.loads(path.read_text("utf-8")).get("verified_on")) for path in files)
    line = f"| {protocol} | " + " | ".join(str(counts[origin]) for origin in ORIGINS) + f" | {tried} |"

    assert line in (DRIVERS / "README.md").read_text("utf-8").splitlines()


def test_both_examples_of_a_meter_in_twelve_lines_have_no_more() -> None:
    readme = (DRIVERS / "README.md").read_text("utf-8")
    examples = re.findall(r"^(?:```|~~~)toml\n(.*?)^(?:```|~~~)", readme, re.DOTALL | re.MULTILINE)
    assert [tomllib.loads(example)["protocol"] for example in examples] == ["mbus", "modbus"]
    assert all(len(example.splitlines()) <= 12 for example in examples)
