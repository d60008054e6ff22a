"""The README and the other pages say what is true now."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import pytest

from gateway.cli import COMMANDS
from tests.drivers.test_models_counted import ORIGINS, best_origin

ROOT = Path(__file__).parent.parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_it_has_at_most_80_lines() -> None:
    assert len(README.splitlines()) <= 80


def test_it_counts_the_models_by_the_origin_of_their_proofs() -> None:
    count = Counter(map(best_origin, ROOT.glob("drivers/*/models/*.toml")))
    assert ", ".join(f"{count[origin]} {origin}" for origin in ORIGINS) in README


PAGES = [ROOT / "README.md", *sorted(ROOT.glob("docs/**/*.md")), ROOT / "drivers" / "README.md"]
PLACE = r"`((?:config|simulators|drivers|docs|tests|gateway|examples|systemd)/[^` <*]*)`"
LINK = r"\]\(([^):#]+)\)"
MAKE = r"(?:`|^    (?:\$ )?|^)make ([a-z]+)"
SUBMETER = r"(?:`|^    (?:\$ )?|^|sudo )(?:\.venv/bin/)?submeter(?: --json| --config \S+)? ([a-z-]+)"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_its_commands_and_targets_exist(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    assert set(re.findall(MAKE, text, re.MULTILINE)) <= targets
    assert set(re.findall(SUBMETER, text, re.MULTILINE)) <= COMMANDS.keys()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_its_places_exist(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    for place in re.findall(PLACE, text):
        assert (ROOT / place).exists(), place
    for place in re.findall(LINK, text):
        assert (page.parent / place).exists(), place
