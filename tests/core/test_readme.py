"""The README says what is true now."""

from __future__ import annotations

import re
import tomllib
from collections import Counter
from pathlib import Path

from gateway.cli import COMMANDS

ROOT = Path(__file__).parent.parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_it_has_at_most_80_lines() -> None:
    assert len(README.splitlines()) <= 80


def test_it_counts_the_models_by_the_origin_of_their_proofs() -> None:
    files = [tomllib.loads(path.read_text(encoding="utf-8")) for path in ROOT.glob("drivers/*/models/*.toml")]
    origins = Counter(next(proof["origin"] for proof in model["proof"]) for model in files)
    assert f"{origins['captured']} captured, {origins['manual']} manual, {origins['constructed']} constructed" in README


def test_its_commands_and_targets_exist() -> None:
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    assert set(re.findall(r"^    (?:\$ )?make ([a-z]+)", README, re.MULTILINE)) <= targets
    assert set(re.findall(r"^    submeter ([a-z]+)", README, re.MULTILINE)) <= COMMANDS.keys()


def test_its_places_exist() -> None:
    for place in re.findall(r"`((?:config|simulators|drivers|docs|tests|gateway)/[^` ]*)`", README):
        assert (ROOT / place).exists(), place
