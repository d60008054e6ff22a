"""scripts/install as root over a copy of this machine, in which what it asks of others is only written down."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tests.broker import ROOT

if TYPE_CHECKING:
    from pathlib import Path

SETTINGS = "etc/submeter/gateway.toml"
PYTHON = f"""#!/bin/sh
echo "python $*" >> "$NOTES"
case "$1 $2" in
"-m venv")
    for place; do :; done
    [ "$3" != --clear ] || rm -rf "$place"
    mkdir -p "$place/bin" && ln -s "$0" "$place/bin/python" ;;
"-c import"*) exit 0 ;;
"-m "*) exit 0 ;;
*) exec {sys.executable} "$@" ;;
esac
"""
"""a Python that makes an environment of itself, and has its packages from this one"""
NOTED = '#!/bin/sh\necho "${0##*/} $*" >> "$NOTES"\n[ "$1" != is-active ] || exit "$RUNS"\n'
COPY = """
set -e
mount -t tmpfs none "$PLACE"
mkdir "$PLACE/upper" "$PLACE/work" "$PLACE/root"
mount -t overlay overlay -o "lowerdir=/,upperdir=$PLACE/upper,workdir=$PLACE/work" "$PLACE/root"
cd "$PLACE/root"
for each in dev proc "${HERE#/}" "${TOOLS#/}"; do mkdir -p "$each"; mount --rbind "/$each" "$each"; done
mount -t tmpfs none run
mkdir -p run/systemd/system
rm -rf opt/submeter etc/submeter
eval "$BEFORE"
chroot . sh -c 'cd "$HERE" && scripts/install'
eval "$AFTER"
"""


@pytest.fixture
def tools(tmp_path: Path) -> Path:
    folder = tmp_path / "tools"
    folder.mkdir()
    for name, text in {"python": PYTHON, "udevadm": NOTED, "systemctl": NOTED}.items():
        (folder / name).write_text(text)
        (folder / name).chmod(0o755)
    return folder


def installed(
    tools: Path, *, before: str = ":", after: str = ":", runs: bool = False
) -> tuple[subprocess.CompletedProcess[str], list[str]]:
    """What the installer says, and what it asks of others; `before` and `after` are done in the machine's root."""
    if os.geteuid() != 0:
        pytest.skip("only root can install")
    (tools.parent / "place").mkdir()
    environment = {
        "PATH": f"{tools}:/usr/sbin:/usr/bin:/sbin:/bin",
        "PYTHON": str(tools / "python"),
        "PIP_INDEX_URL": "file:///nowhere",
        "NOTES": str(tools / "notes"),
        "PLACE": str(tools.parent / "place"),
        "HERE": str(ROOT),
        "TOOLS": str(tools),
        "RUNS": "0" if runs else "3",
        "BEFORE": before,
        "AFTER": after,
    }
    command = ["unshare", "--mount", "sh", "-c", COPY]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if "mount:" in done.stderr or "unshare:" in done.stderr:
        pytest.skip(f"no copy of this machine can be made here: {done.stderr.strip()}")
    return done, (tools / "notes").read_text(encoding="utf-8").splitlines()


def test_a_fresh_box_gets_program_folders_and_secret_with_their_rights_and_the_next_step(tools: Path) -> None:
    places = "/etc/submeter /etc/submeter/* /etc/credstore /var/lib/submeter /usr/local/bin/submeter"
    done, _ = installed(tools, after=f"chroot . sh -c 'stat -c \"%a %U:%G %n\" {places}'")
    told, *rights = done.stdout.splitlines()
    assert told.startswith("Installed. Next: write /etc/submeter/gateway.toml, then: sudo submeter check")
    assert rights == [
        "750 root:submeter /etc/submeter",
        "640 root:submeter /etc/submeter/gateway.schema.json",
        "640 root:submeter /etc/submeter/gateway.toml",
        "640 root:submeter /etc/submeter/pepper",
        "700 root:root /etc/credstore",
        "750 submeter:submeter /var/lib/submeter",
        "755 root:root /usr/local/bin/submeter",
    ]


def test_settings_that_are_there_stay(tools: Path) -> None:
    done, _ = installed(tools, before="mkdir etc/submeter; echo mine > " + SETTINGS, after="cat " + SETTINGS)
    assert done.stdout.splitlines()[-1] == "mine"


def test_where_nobody_names_devices_the_unit_is_enabled_all_the_same(tools: Path) -> None:
    done, notes = installed(tools)
    asked = [note for note in notes if note.startswith(("udevadm", "systemctl"))]
    assert done.returncode == 0
    assert asked[:2] == ["systemctl daemon-reload", "systemctl enable --quiet submeter.service"]


def test_adapters_that_are_plugged_in_get_their_names_and_their_latency(tools: Path) -> None:
    listening = "import socket; socket.socket(socket.AF_UNIX).bind('run/udev/control')"
    _, notes = installed(tools, before=f'mkdir run/udev; {sys.executable} -c "{listening}"')
    assert "udevadm trigger --subsystem-match=tty --subsystem-match=usb-serial --action=add" in notes


def test_the_environment_of_a_python_that_is_gone_is_made_anew(tools: Path) -> None:
    gone = "mkdir -p opt/submeter/bin; ln -s python3.9 opt/submeter/bin/python; touch opt/submeter/of-old"
    done, _ = installed(tools, before=gone, after="ls opt/submeter")
    assert (done.returncode, done.stdout.splitlines()[1:]) == (0, ["bin", "share"])


def test_the_environment_of_a_python_that_is_there_is_kept(tools: Path) -> None:
    there = f"mkdir -p opt/submeter/bin; ln -s {tools}/python opt/submeter/bin/python; touch opt/submeter/by-hand"
    done, _ = installed(tools, before=there, after="ls opt/submeter")
    assert (done.returncode, done.stdout.splitlines()[1:]) == (0, ["bin", "by-hand", "share"])


def test_a_gateway_that_runs_is_started_anew_and_looked_at(tools: Path) -> None:
    done, notes = installed(tools, runs=True)
    assert "systemctl try-restart submeter.service" in notes
    assert done.stdout.splitlines() == ["Installed, and the gateway is started anew. Next: sudo submeter doctor"]
