"""What the demo is asked for, and refuses in one sentence."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from simulators.truth import TruthError, load

ROOT = Path(__file__).parents[2]
SONNENHOF = ROOT / "simulators" / "buildings" / "sonnenhof" / "devices.toml"


@pytest.mark.parametrize(
    "asked",
    [
        ("BROKER", "127.0.0.1:99999"),
        ("BROKER", "127.0.0.1:0"),
        ("BROKER", "127.0.0.1:" + "9" * 5000),
        ("DEMO_SECONDS", "\u0663\u0660"),
        ("DEMO_SECONDS", "\u00b2"),
    ],
)
def test_a_value_that_cannot_be_used_is_one_sentence_with_exit_3(tmp_path: Path, asked: tuple[str, str]) -> None:
    name, value = asked
    environment = {"PYTHONPATH": str(ROOT), "PYTHONUTF8": "1", name: value}
    command = [sys.executable, "-m", "simulators.demo"]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr.count("\n")) == (3, 1), done.stderr
    assert done.stderr.startswith(f"{name}={value} is no ")


def test_a_place_without_the_value_that_is_shared_by_is_named(tmp_path: Path) -> None:
    text = SONNENHOF.read_text(encoding="utf-8")
    assert "people = " in text
    lines = (line for line in text.splitlines() if not line.startswith("people = "))
    (tmp_path / "devices.toml").write_text("\n".join(lines), encoding="utf-8")
    with pytest.raises(TruthError, match=r"has no people, by which [a-z0-9-]+ is shared"):
        load(tmp_path)
