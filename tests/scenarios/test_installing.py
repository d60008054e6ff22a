"""An installer before the first poll: a meter that nobody knows, addresses, baud rates, clocks, alarms."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner

from gateway.cli import Options
from gateway.cli.orders import mbus
from simulators.mbus import Line, Slave, captured
from simulators.pty import MBusWire
from tests.drivers.mbus.slave import long_frame
from tests.scenarios.plant import WITH_PATIENCE, begin, submeter

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

STRANGE = bytes.fromhex("72785634122440010755000000")
FIRST = captured(long_frame(STRANGE + bytes.fromhex("0413 e8030000 0422 0a000000 1f")))
SECOND = captured(long_frame(STRANGE + bytes.fromhex("0406 07000000 046d 00001c37")))
NUMBERS = ("12345678", "12345679")
ELSEWHERE = '[[bus.meter]]\nid = "w"\nmodel = "itron-cf-55"\naddress = 200\n'
HEAD = 'site = "s"\ngateway = "g"\nstore = "sqlite:///gateway.db"\n'


@pytest.fixture
async def wire(tmp_path: Path) -> AsyncIterator[MBusWire]:
    slaves = [Slave(address=at, captured=FIRST, more=(SECOND,), serial=number) for at, number in enumerate(NUMBERS, 1)]
    wire = MBusWire(tmp_path / "ttyUSB0", slaves, baud=38400)
    wire.plug()
    yield wire
    wire.unplug()


def settings(wire: MBusWire, meters: str = ELSEWHERE) -> str:
    config = wire.link.parent / "gateway.toml"
    line = f'[[bus]]\nid = "cellar"\ndriver = "mbus"\npoll = "15min"\nbaud = 38400\ndevice = "{wire.link}"\n'
    config.write_text(f"{HEAD}{line}latency = 0.5\n{meters}", encoding="utf-8")
    return str(config)


KNOWN = '[[bus.meter]]\nid = "heat-1"\nmodel = "strange"\nsecondary = "12345678"\n'


def complete(wire: MBusWire, text: str) -> None:
    folder = wire.link.parent / "models"
    folder.mkdir(exist_ok=True)
    (folder / "strange.toml").write_text(text.replace("models = []", 'models = ["X 1"]'), encoding="utf-8")


async def test_a_meter_that_nobody_knows_is_read_once_its_model_file_is_completed(wire: MBusWire) -> None:
    file = wire.link.parent / "new.toml"
    code, out, err = await submeter(
        "--config", settings(wire), "--json", "read", "1", "--bus", "cellar", "--model", str(file)
    )
    assert code == 0, err
    told = json.loads(out)
    assert [record["quantity"] for frame in told["frames"] for record in frame["records"]] == [
        *("Volume", "On time", "Manufacturer data", "Energy", "Time point (date & time)")
    ]
    assert f"{file} is written" in err

    complete(wire, file.read_text("utf-8"))
    config = settings(wire, KNOWN)
    code, _, err = await submeter("--config", config, "check")
    assert code == 0, err
    code, out, err = await submeter("--config", config, "--json", "read", "heat-1")
    assert code == 0, err
    assert json.loads(out) == {
        "meter": "heat-1",
        "serial": "12345678",
        "status": 0,
        "status_words": [],
        "registers": [
            {"register": "volume", "obis": "8-0:1.0.0", "index": "1.000", "unit": "m3"},
            {"register": "import", "obis": "1-0:1.8.0", "index": "7", "unit": "kWh"},
        ],
        "without": [],
        "alarm": None,
    }
    code, _, err = await submeter("--config", config, "read", "1", "--bus", "cellar", "--model", str(file))
    assert (code, "is there already and is left as it is" in err) == (3, True)


async def test_a_search_writes_one_model_file_for_each_kind_that_nobody_knows(wire: MBusWire, tmp_path: Path) -> None:
    folder = tmp_path / "found"
    folder.mkdir()
    code, out, err = await submeter(
        *("--json", "scan", "mbus", str(wire.link), "--baud", "38400", "--models", str(folder)),
        program=WITH_PATIENCE,
        XDG_STATE_HOME=str(tmp_path),
    )

    assert code == 0, err
    (file,) = folder.iterdir()
    assert file.name == "pad-water-1.toml"
    text = file.read_text("utf-8")
    assert "0406 Energy" in text
    assert "0413 Volume" in text
    assert all(len(bytes.fromhex(each["raw"])) > len(FIRST.raw) for each in json.loads(out)["found"]), "both telegrams"


async def test_what_a_meter_says_is_shown_although_its_model_does_not_fit(wire: MBusWire) -> None:
    other = '[[bus.meter]]\nid = "heat-1"\nmodel = "itron-cf-55"\naddress = 1\n'

    code, out, err = await submeter("--config", settings(wire, other), "read", "heat-1", "--raw")

    assert code == 1
    assert "Volume: 1 m3" in out
    assert "Energy: 7000 Wh" in out
    assert "the model is for ACW" in err
    code, out, _ = await submeter("--config", settings(wire, other), "read", "heat-1")
    assert (code, out) == (1, "")


async def test_an_alarm_is_shown(wire: MBusWire) -> None:
    wire.slaves[1].alarm = 4

    _, out, _ = await submeter("--config", settings(wire), "read", "1", "--bus", "cellar")

    assert "alarm 04: bits 2 set; the maker's manual says what they mean" in out


async def test_a_meter_gets_address_and_baud_rate(wire: MBusWire) -> None:
    config, slave = settings(wire), wire.slaves[1]

    code, out, err = await submeter("--config", config, "mbus", "address", "cellar", "12345678", "17")
    assert (code, out) == (0, "meter 12345678 has address 17 now; it had 1\n"), err
    assert slave.address == 17

    code, out, err = await submeter("--json", "--config", config, "mbus", "baud", "cellar", "17", "9600")
    assert code == 0, err
    assert json.loads(out) == {"done": "meter 12345678 answers at 9600 baud now", "settings": {"baud": 9600}}
    assert slave.baud == 9600


async def test_what_is_to_be_written_into_the_settings_is_told(wire: MBusWire) -> None:
    known = '[[bus.meter]]\nid = "w"\nmodel = "itron-cf-55"\naddress = 1\n'

    code, out, _ = await submeter("--config", settings(wire, known), "mbus", "address", "cellar", "w", "17")

    assert (code, out) == (0, "meter 12345678 has address 17 now; it had 1; write address = 17 into the settings\n")


@pytest.mark.parametrize(
    ("arguments", "code", "text"),
    [
        (("address", "cellar", "1", "2"), 3, "address 2 answers already"),
        (("address", "cellar", "1", "0"), 3, "0 is no address for a meter"),
        (("address", "cellar", "x", "5"), 3, '"x" is no meter of the settings and no address'),
        (("address", "attic", "1", "5"), 3, "no mbus line 'attic' in the settings; there are: cellar"),
        (("address", "cellar", "9", "5"), 4, "address 9 stays silent"),
        (("baud", "cellar", "1", "7"), 3, "7 is no baud rate of the M-Bus"),
        (("clock", "cellar", "1"), 3, "write --time-zone"),
        (("clock", "cellar", "1", "--time-zone", "Mars"), 3, "'Mars' is no time zone"),
    ],
)
async def test_an_order_that_is_not_carried_out_is_one_sentence(
    wire: MBusWire, arguments: tuple[str, ...], code: int, text: str
) -> None:
    got, out, err = await submeter("--config", settings(wire), "mbus", *arguments)

    assert (got, out) == (code, "")
    assert text in err
    assert err.count("\n") == 1
    assert [slave.address for slave in wire.slaves.values()] == [1, 2]


@pytest.mark.parametrize("trusted", [True, False])
async def test_a_clock_is_set_by_one_that_is_known_to_be_right(
    wire: MBusWire,
    monkeypatch: pytest.MonkeyPatch,
    trusted: bool,  # noqa: FBT001 - pytest's
) -> None:
    monkeypatch.setattr("gateway.clock.SystemClock.trusted", lambda _: trusted)
    wire.slaves[1].captured, wire.slaves[1].more = captured(long_frame(STRANGE + bytes.fromhex("0422 0a000000"))), ()
    order = ["clock", "cellar", "1", "--time-zone", "UTC"]
    options = Options(config=Path(settings(wire)), json=False)
    ended = await asyncio.to_thread(CliRunner().invoke, mbus, order, obj=options)

    assert (ended.exit_code, wire.slaves[1].at is not None) == ((0, True) if trusted else (3, False))
    said = "meter 12345678 has its clock at 20" if trusted else "no meter's is set by it"
    assert said in ended.output


async def test_orders_and_reads_leave_a_line_alone_that_is_in_use(tmp_path: Path) -> None:
    line = Line([Slave(address=1, captured=FIRST, serial="11127667")], baud=2400)
    place = f"127.0.0.1:{await line.start()}"
    first = await begin("scan", "mbus", place, XDG_STATE_HOME=str(tmp_path))
    assert first.stderr is not None
    await first.stderr.readline()
    code, _, err = await submeter("mbus", "address", place, "1", "7")
    first.kill()
    await first.communicate()
    await line.close()

    assert code == 4
    assert f"{place} is in use by another program of this machine" in err
    assert line.slaves[1].address == 1
