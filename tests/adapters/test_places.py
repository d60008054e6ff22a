"""`submeter check` looks at what the settings name on this machine, and at nothing beyond it."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.certificates import Authority
from tests.scenarios.plant import PROGRAM, begin

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

TEXT = """site = "s"
gateway = "g"
store = "sqlite:///var/gateway.db"
[mqtt]
host = "broker.invalid"
ca_file = "ca.pem"
cert_file = "gw.pem"
key_file = "gw.key"
user = "gw"
password_file = "password"
[[bus]]
id = "mbus-1"
driver = "mbus"
poll = "15min"
device = "/dev/null"
[[bus.meter]]
id = "heat-01"
model = "itron-cf-55"
address = 1
"""
AS_NOBODY = ("-c", "import os; os.setresuid(65534, 0, 0); from gateway import cli; cli.main()")
"""what this user may is asked for the real user, while the libraries are still read by root"""


@pytest.fixture(scope="module")
def ca(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    authority = Authority(tmp_path_factory.mktemp("tls") / "ca")
    authority.sign("gw")
    authority.sign("other")
    return authority


@pytest.fixture
def config(tmp_path: Path, ca: Authority) -> Path:
    """Settings of which all is there."""
    (tmp_path / "var").mkdir()
    (tmp_path / "ca.pem").write_bytes(ca.file.read_bytes())
    for end in ("pem", "key"):
        (tmp_path / f"gw.{end}").write_bytes((ca.folder / f"gw.{end}").read_bytes())
    (tmp_path / "password").write_text("open sesame\n", encoding="utf-8")
    path = tmp_path / "gateway.toml"
    path.write_text(TEXT, encoding="utf-8")
    return path


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """One that everybody may enter, unlike those of pytest."""
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


async def checked(
    config: Path, *options: str, program: Sequence[str] = PROGRAM, **environment: str
) -> tuple[int, str, list[str]]:
    process = await begin("--config", str(config), *options, "check", program=program, **environment)
    out, err = await process.communicate()
    return process.returncode or 0, out.decode(), err.decode().splitlines()


async def test_where_all_is_there_it_is_well_without_a_broker_or_a_line(config: Path) -> None:
    assert await checked(config) == (0, f"{config}: ok (lines: 1, meters: 1)\n", [])


async def test_all_that_is_missing_is_told_at_once_with_its_line(config: Path) -> None:
    folder = config.parent
    (folder / "var").rmdir()
    (folder / "password").write_text("", encoding="utf-8")
    (folder / "gw.key").unlink()
    (folder / "ca.pem").write_text("this is none", encoding="utf-8")
    code, out, err = await checked(config)
    assert (code, out) == (3, "")
    assert [line.partition("; ")[0].partition(" (")[0] for line in err] == [
        f"{config}:3: store: the folder {folder}/var is not there",
        f"{config}:6: mqtt.ca_file: {folder}/ca.pem holds no certificate in PEM form",
        f"{config}:8: mqtt.key_file: {folder}/gw.key cannot be read",
        f"{config}:10: mqtt.password_file: {folder}/password holds no text",
    ]


async def test_a_certificate_with_the_key_of_another_is_told(config: Path, ca: Authority) -> None:
    (config.parent / "gw.key").write_bytes((ca.folder / "other.key").read_bytes())
    code, _, (line,) = await checked(config)
    assert code == 3
    assert line.startswith(f"{config}:7: mqtt.cert_file: ")
    assert "are no pair of a certificate and its key" in line


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can ask as another user")
async def test_what_this_user_may_not_write_is_told(open_folder: Path) -> None:
    store, config = open_folder / "var", open_folder / "gateway.toml"
    store.mkdir(0o755)
    config.write_text(TEXT.partition("[mqtt]")[0], encoding="utf-8")
    code, _, err = await checked(config, program=AS_NOBODY)
    assert (code, len(err)) == (3, 1)
    assert err[0].startswith(f"{config}:3: store: the folder {store} cannot be written by this user; ")
    store.chmod(0o777)
    assert (await checked(config, program=AS_NOBODY))[0] == 0
    (store / "gateway.db").write_bytes(b"")
    code, _, err = await checked(config, program=AS_NOBODY)
    assert code == 3
    assert err[0].startswith(f"{config}:3: store: {store}/gateway.db cannot be written by this user; ")


async def test_an_adapter_that_is_unplugged_is_a_warning(config: Path) -> None:
    config.write_text(TEXT.replace("/dev/null", "/dev/serial/by-id/none"), encoding="utf-8")
    code, out, err = await checked(config)
    assert (code, out) == (0, f"{config}: ok (lines: 1, meters: 1)\n")
    assert len(err) == 1
    assert err[0].startswith(f"{config}:15: bus[0].device: /dev/serial/by-id/none is not there now; plug ")
    code, out, again = await checked(config, "--json")
    assert (code, again) == (0, err)
    told = json.loads(out)
    assert (told["ok"], told["problems"]) == (True, [])
    assert [(each["line"], each["path"]) for each in told["warnings"]] == [(15, "bus[0].device")]


def by_secondary(count: int) -> str:
    """So many meters at the mains that are selected."""
    meters = (
        f'[[bus.meter]]\nid = "p{no}"\nmodel = "emu-professional-375"\nsecondary = "{no:08}"\n' for no in range(count)
    )
    return TEXT + "".join(meters)


async def test_selections_that_a_battery_on_the_line_does_not_bear_are_a_warning(config: Path) -> None:
    config.write_text(by_secondary(60), encoding="utf-8")
    code, out, err = await checked(config)
    assert (code, out) == (0, f"{config}: ok (lines: 1, meters: 61)\n")
    assert err == [
        (
            f"{config}:14: bus[0].poll: 60 meters by secondary address would wake every meter of the line 5760 times a"
            " day, and the battery of heat-01 bears 5400: they are read less often, down to every 30 minutes; give them"
            " primary addresses (submeter mbus address), or the line a longer poll"
        )
    ]
    config.write_text(by_secondary(56), encoding="utf-8")
    assert (await checked(config))[2] == [], "5376 selections a day"
    config.write_text(by_secondary(60).replace("itron-cf-55", "emu-professional-375"), encoding="utf-8")
    assert (await checked(config))[2] == [], "nobody has a battery"


async def test_a_baud_rate_that_no_meter_has_is_refused_in_one_sentence(config: Path) -> None:
    config.write_text(TEXT.replace('device = "/dev/null"', 'device = "/dev/null"\nbaud = 2401'), encoding="utf-8")
    code, out, err = await checked(config)
    assert (code, out) == (3, "")
    assert err == [
        (
            f"{config}:16: bus[0].baud: 2401 is no baud rate of the M-Bus; write one of 300, 600, 1200, 2400, 4800,"
            " 9600, 19200, 38400"
        )
    ]


async def test_credentials_of_the_service_are_looked_at_only_where_systemd_gives_them(config: Path) -> None:
    config.write_text(TEXT.replace('"password"', '"credential:mqtt-password"'), encoding="utf-8")
    assert (await checked(config))[0] == 0
    code, _, (line,) = await checked(config, CREDENTIALS_DIRECTORY=str(config.parent))
    assert code == 3
    assert line.startswith(f"{config}:10: mqtt.password_file: {config.parent}/mqtt-password cannot be read")
