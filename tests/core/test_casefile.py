"""A file that holds no cases is told in one sentence, also through pytest."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.core.casefile import CaseFileError, read

PROJECT = Path(__file__).parents[2]
HEAD = '{"format": "billing-cases/1", "cases": '
CASE = '{"id": "a", "op": "allocate", "given": {}, "expect": {}}'


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (b"{", "it is no JSON ("),
        (b"\xff", "it is no JSON ("),
        (b"[" * 100_000, "it is no JSON ("),
        (b"[1]", "it is no file of cases; write {"),
        (b'{"format": "billing-cases/1"}', "it is no file of cases; write {"),
        (b'{"format": "x", "cases": []}', "its format is 'x'; only 'billing-cases/1' can be run"),
        (f"{HEAD}[]}}".encode(), "it holds no case"),
        (f"{HEAD}[5]}}".encode(), "case 1 has no id, op, given, expect; "),
        (f'{HEAD}[{CASE}, {{"id": "b", "op": "x", "given": []}}]}}'.encode(), "case 2 has no given, expect; "),
    ],
)
def test_a_file_that_holds_no_cases_is_told_why(tmp_path: Path, text: bytes, said: str) -> None:
    path = tmp_path / "cases.json"
    path.write_bytes(text)
    with pytest.raises(CaseFileError) as refused:
        read(path)
    assert str(refused.value).startswith(f"{path}: {said}")


def test_a_file_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(CaseFileError, match="cannot be read"):
        read(tmp_path)


def test_through_pytest_it_is_one_sentence_and_no_traceback(tmp_path: Path) -> None:
    path = tmp_path / "cases.json"
    path.write_text(f"{HEAD}[{CASE}]}}", encoding="utf-8")
    program = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests/core/test_cases.py"]
    asked = {**os.environ, "CASES": str(path), "OPS": "nonsense"}
    done = subprocess.run(program, cwd=PROJECT, env=asked, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert f"OPS=nonsense: {path} has no case of nonsense; it has allocate" in done.stdout
    assert "Traceback" not in done.stdout + done.stderr
    assert "test_cases.py:" not in done.stdout
