"""What holds for every command there is."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import click
import pytest
from click.testing import CliRunner

from gateway.cli import KINDS, group
from tests.adapters.importing import Desk, new_desk
from tests.broker import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SONNENHOF = str(ROOT / "simulators" / "buildings" / "sonnenhof" / "property.toml")
READING = [
    "accruals",
    "alarm list",
    "allocation show --facility sonnenhof --energy-source electricity",
    "audit",
    "charges",
    "check",
    "export",
    f"import --plan {SONNENHOF}",
    *(f"{kind} list" for kind in KINDS),
]


def commands(one: click.Command, path: str = "") -> Iterator[str]:
    """Every command with its groups before it."""
    if not isinstance(one, click.Group):
        yield path
        return
    context = click.Context(one)
    for name in one.list_commands(context):
        inner = one.get_command(context, name)
        assert inner is not None
        yield from commands(inner, f"{path} {name}".lstrip())


@pytest.mark.parametrize("path", list(commands(group)))
def test_it_helps_and_refuses_an_unknown_option_with_exit_2(path: str) -> None:
    helped = CliRunner().invoke(group, [*path.split(), "--help"])
    assert (helped.exit_code, helped.stderr) == (0, "")
    refused = CliRunner().invoke(group, [*path.split(), "--nonsense"])
    assert (refused.exit_code, refused.stdout) == (2, "")
    assert "--nonsense" in refused.stderr


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Desk:
    folder: Path = tmp_path_factory.mktemp("desk")
    one = new_desk(folder)
    for line in (["migrate"], ["import", SONNENHOF]):
        assert one.submeter(*line).exit_code == 0
    return one


@pytest.mark.parametrize("line", READING)
def test_what_it_reads_is_json_where_that_is_asked(desk: Desk, line: str) -> None:
    done = desk.submeter("--json", *line.split())
    assert (done.exit_code, done.stderr) == (0, "")
    assert isinstance(json.loads(done.stdout), list | dict)


def options(one: click.Command, path: str = "") -> Iterator[tuple[str, str | None]]:
    """Every option of every command, with what its help says."""
    if isinstance(one, click.Group):
        context = click.Context(one)
        for name in one.list_commands(context):
            inner = one.get_command(context, name)
            assert inner is not None
            yield from options(inner, f"{path} {name}")
    yield from ((f"{path} {each.opts[0]}", each.help) for each in one.params if isinstance(each, click.Option))


def test_help_says_something_of_every_option() -> None:
    assert [option for option, said in options(group) if not said] == []
