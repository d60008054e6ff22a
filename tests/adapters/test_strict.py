from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tests.broker import ROOT

if TYPE_CHECKING:
    from pathlib import Path

SKIPS = {
    "a test skips": "import pytest\ndef test_one(): pytest.skip('no broker')\n",
    "a module skips": "import pytest\npytest.skip('no broker', allow_module_level=True)\n",
    "a failure is expected": "import pytest\n@pytest.mark.xfail(reason='no broker')\ndef test_one(): assert False\n",
}


def run(folder: Path, source: str, strict: str) -> subprocess.CompletedProcess[str]:
    (folder / "test_it.py").write_text(source)
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-p",
        "tests.conftest",
        "-p",
        "no:cacheprovider",
        "-c",
        "pyproject.toml",
        str(folder),
    ]
    environment = os.environ | {"STRICT": strict}
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("source", SKIPS.values(), ids=SKIPS.keys())
def test_strict_fails_where_a_test_did_not_run_to_its_end_and_gives_the_reason(tmp_path: Path, source: str) -> None:
    assert "did not run to its end" not in run(tmp_path, source, "").stdout
    outcome = run(tmp_path, source, "1")
    assert outcome.returncode in {pytest.ExitCode.TESTS_FAILED, pytest.ExitCode.INTERRUPTED}
    assert "did not run to its end" in outcome.stdout
    assert "no broker" in outcome.stdout
