"""`submeter scan` over a serial line and over TCP, as an installer uses it."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import re
import signal
import tomllib
from typing import TYPE_CHECKING

import pytest

from simulators.mbus import Line, Slave, captured_telegrams
from simulators.modbus import Device, RtuLine, Unit, layouts_of_models, refusal
from simulators.modbus import Line as ModbusLine
from simulators.pty import MBusWire, RtuWire
from tests.scenarios.plant import WITH_PATIENCE, begin, submeter

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

HEAT = captured_telegrams()["itron-cf-55"]
NUMBERS = ("11127667", "11127668", "40000001")
HEAD = 'site = "s"\ngateway = "g"\nstore = "sqlite:///gateway.db"\n'


class Nobody(Device):
    """What a gateway says for a unit that is not there."""

    def answer(self, request: bytes) -> bytes:
        return refusal(request[0], 11)


@pytest.fixture
async def wire(tmp_path: Path) -> AsyncIterator[MBusWire]:
    slaves = [Slave(address=at, captured=HEAT, serial=number) for at, number in enumerate(NUMBERS, 1)]
    wire = MBusWire(tmp_path / "ttyUSB0", slaves, baud=38400)
    wire.plug()
    yield wire
    wire.unplug()


async def test_a_line_that_no_settings_name_is_searched_by_its_device(wire: MBusWire, tmp_path: Path) -> None:
    code, out, err = await submeter(
        *("--json", "scan", "mbus", str(wire.link), "--baud", "38400"),
        program=WITH_PATIENCE,
        XDG_STATE_HOME=str(tmp_path),
    )

    assert code == 0, err
    told = json.loads(out)
    assert [each["secondary"][:8] for each in told["found"]] == list(NUMBERS)
    assert {each["model"] for each in told["found"]} == {"itron-cf-55"}
    assert told["woken"] == next(iter(wire.slaves.values())).heard["selection"]
    assert "found 3: address 3, baud 38400, secondary 40000001" in err
    assert err.splitlines()[-2] == "100 %, 3 found"
    assert err.count("100 %") == 1, "nothing is found behind it"


async def test_settings_are_printed_that_the_settings_file_takes(wire: MBusWire, tmp_path: Path) -> None:
    code, out, err = await submeter(
        "scan", "mbus", str(wire.link), "--by", "primary", "--baud", "38400", "--settings", XDG_STATE_HOME=str(tmp_path)
    )
    assert code == 0, err
    config = tmp_path / "gateway.toml"
    config.write_text(HEAD + out, encoding="utf-8")

    code, _, err = await submeter("--config", str(config), "check")

    assert code == 0, err
    [bus] = tomllib.loads(out)["bus"]
    assert [each["address"] for each in bus["meter"]] == [1, 2, 3]
    assert (bus["baud"], bus["device"]) == (38400, str(wire.link))
    warned = await submeter("--config", str(config), "scan", "mbus", "mbus-1", XDG_STATE_HOME=str(tmp_path))
    assert "those with a battery: meter-1 (" in warned[2]
    assert re.search(r"was woken \d+ times.*, and so was meter-1, whose battery bears \d+ reads a day", warned[2])


async def test_a_modbus_gateway_is_searched_and_its_settings_are_taken(tmp_path: Path) -> None:
    models = layouts_of_models()
    meters = [
        Unit(address=3, layout=models["abb-b23"], counts={"import": 12345}),
        Unit(address=9, layout=models["eastron-sdm630"], counts={}),
    ]
    nobody: list[Device] = [Nobody(address=address) for address in (*range(1, 248), 255)]
    line = ModbusLine([*nobody, *meters])
    place = f"127.0.0.1:{await line.start()}"

    code, out, err = await submeter("scan", "modbus", place, "--settings", XDG_STATE_HOME=str(tmp_path))

    await line.close()
    assert code == 0, err
    assert "found 1: unit 3, serial 771604, model abb-b23, alike abb-b23-steel, sure certain, why type" in err
    assert "# unit 9, sure possible, why fits" in out
    config = tmp_path / "gateway.toml"
    config.write_text(HEAD + out.replace('# model = "..."', 'model = "eastron-sdm630"'), encoding="utf-8")
    code, _, err = await submeter("--config", str(config), "check")
    assert code == 0, err
    assert [each["model"] for each in tomllib.loads(config.read_text())["bus"][0]["meter"]] == [
        "abb-b23",
        "eastron-sdm630",
    ]


async def test_a_converter_that_passes_octets_is_told_of_and_searched_with_the_framing_named(tmp_path: Path) -> None:
    meter = Unit(address=2, layout=layouts_of_models()["abb-b23"], counts={"import": 12345})
    line = RtuLine([meter], baud=19200)
    place = f"127.0.0.1:{await line.start()}"
    state = {"XDG_STATE_HOME": str(tmp_path)}

    code, out, err = await submeter("scan", "modbus", place, "--units", "2", **state)
    rtu = ("--framing", "rtu", "--baud", "19200", "--units", "2", "--settings")
    found, settings, told = await submeter("scan", "modbus", place, *rtu, **state)

    await line.close()
    assert code == 0, err
    assert out.endswith(
        "\nthe line: nobody speaks Modbus TCP there: is it a converter that passes RTU frames (--framing rtu),"
        " or another port?\n"
    )
    assert found == 0, told
    [bus] = tomllib.loads(settings)["bus"]
    assert (bus["framing"], bus["baud"], [each["address"] for each in bus["meter"]]) == ("rtu", 19200, [2])
    config = tmp_path / "gateway.toml"
    config.write_text(HEAD + settings, encoding="utf-8")
    code, _, err = await submeter("--config", str(config), "check")
    assert code == 0, err


async def test_a_port_that_speaks_another_protocol_is_told_as_that(tmp_path: Path) -> None:
    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(100)
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        writer.close()

    server = await asyncio.start_server(refuse, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]

    code, out, err = await submeter("scan", "modbus", f"127.0.0.1:{port}", XDG_STATE_HOME=str(tmp_path))

    server.close()
    assert (code, out) == (1, "")
    assert err.splitlines()[-1].startswith(
        "nobody speaks Modbus TCP there: what is there answers with no Modbus TCP frame: protocol 21584, length 12081;"
        " is it a converter"
    )


async def test_a_gateway_behind_which_nobody_is_speaks_modbus_and_is_not_doubted(tmp_path: Path) -> None:
    line = ModbusLine([Nobody(address=address) for address in range(1, 256)])
    place = f"127.0.0.1:{await line.start()}"

    code, out, err = await submeter("scan", "modbus", place, "--units", "1-9", XDG_STATE_HOME=str(tmp_path))

    await line.close()
    assert code == 0, err
    assert out == "nothing found; check wiring, power, baud rate and polarity\n"


@pytest.fixture
async def rs485(tmp_path: Path) -> AsyncIterator[RtuWire]:
    layouts = layouts_of_models()
    units = [
        Unit(address=2, layout=layouts["abb-b23"], counts={"import": 12345}, baud=19200),
        Unit(address=3, layout=layouts["eastron-sdm630"], counts={"import": 777123, "export": 1234}, baud=19200),
        Unit(address=4, layout=layouts["abb-b23"], counts={"import": 12345}, baud=9600),
    ]
    wire = RtuWire(tmp_path / "ttyUSB1", units)
    wire.plug()
    yield wire
    wire.unplug()


async def test_a_serial_line_is_printed_with_the_speed_at_which_most_answer(rs485: RtuWire, tmp_path: Path) -> None:
    at = ("--baud", "9600", "--baud", "19200", "--units", "2-4")

    code, out, err = await submeter("scan", "modbus", str(rs485.link), *at, "--settings", XDG_STATE_HOME=str(tmp_path))

    assert code == 0, err
    assert "found 1: unit 4, baud 9600, parity none, serial 771604, model abb-b23" in err
    assert "% (unit 2 at 9600 baud, parity none), 0 found, about" in err
    config = tmp_path / "gateway.toml"
    config.write_text(HEAD + out, encoding="utf-8")
    code, _, err = await submeter("--config", str(config), "check")
    assert code == 0, err
    [bus] = tomllib.loads(out)["bus"]
    assert (bus["device"], bus["baud"], bus["parity"], bus["stopbits"]) == (str(rs485.link), 19200, "none", 1)
    assert [(each["id"], each["address"]) for each in bus["meter"]] == [("meter-2", 2), ("meter-3", 3)]
    assert "# its model, or eastron-sdm" in out
    assert '# found with baud = 9600, parity = "none", stopbits = 1: give these the same as the others' in out
    assert '# id = "meter-4"' in out
    named = HEAD + out.replace("baud = 19200", "baud = 9600", 1)
    config.write_text(named, encoding="utf-8")
    _, out, _ = await submeter(
        *("--config", str(config), "scan", "modbus", "modbus-1", "--baud", "19200", "--units", "2,3", "--settings"),
        XDG_STATE_HOME=str(tmp_path),
    )
    assert out.startswith('# below [[bus]] id = "modbus-1"\n# and write there: baud = 19200\n[[bus.meter]]\n')


async def until_told(process: asyncio.subprocess.Process, what: bytes) -> None:
    assert process.stderr is not None
    while what not in await process.stderr.readline():
        pass


async def test_an_interrupted_search_prints_settings_of_what_it_has_found(rs485: RtuWire, tmp_path: Path) -> None:
    process = await begin(
        *("scan", "modbus", str(rs485.link), "--baud", "19200", "--settings"), XDG_STATE_HOME=str(tmp_path)
    )
    await until_told(process, b"found 2")
    process.send_signal(signal.SIGINT)
    out, err = await process.communicate()

    assert process.returncode == 130
    assert [each["address"] for each in tomllib.loads(out.decode())["bus"][0]["meter"]] == [2, 3]
    assert b"2 found; the same command with --continue goes on from there" in err


async def test_an_interrupted_modbus_search_goes_on_where_it_was(tmp_path: Path) -> None:
    meter = Unit(address=1, layout=layouts_of_models()["abb-b23"], counts={"import": 12345})
    line = ModbusLine([meter, *(Nobody(address=address) for address in (*range(3, 248), 255))])
    place = f"127.0.0.1:{await line.start()}"
    arguments = ("--json", "scan", "modbus", place)
    first = await begin(*arguments, XDG_STATE_HOME=str(tmp_path))
    await until_told(first, b"found 1")
    while meter.asked < 3 or line.requests == meter.asked:  # noqa: ASYNC110 - of another process; unit 2 is silent for a second
        await asyncio.sleep(0.01)
    first.send_signal(signal.SIGINT)
    out_so_far, err = await first.communicate()
    asked = meter.asked

    assert first.returncode == 130, err
    told = json.loads(out_so_far)
    assert (told["complete"], [each["unit"] for each in told["found"]]) == (False, [1])
    assert b"the same command with --continue goes on from there" in err
    code, _, refused = await submeter(*arguments, "--units", "1-9", "--continue", XDG_STATE_HOME=str(tmp_path))
    assert (code, meter.asked) == (3, asked)
    assert "it goes on with the same options only" in refused
    code, out, _ = await submeter(*arguments, "--continue", XDG_STATE_HOME=str(tmp_path))
    await line.close()
    assert code == 0
    assert [each["unit"] for each in json.loads(out)["found"]] == [1]
    assert meter.asked == asked


async def test_an_interrupted_search_goes_on_where_it_was(tmp_path: Path) -> None:
    line = Line([Slave(address=1, captured=HEAT, serial="11127667")], baud=2400)
    place = f"127.0.0.1:{await line.start()}"
    arguments = ("--json", "scan", "mbus", place)
    first = await begin(*arguments, XDG_STATE_HOME=str(tmp_path))
    await until_told(first, b"found 1")
    first.send_signal(signal.SIGINT)
    so_far, err = await first.communicate()

    assert first.returncode == 130
    told = json.loads(so_far)
    assert (told["complete"], [each["secondary"][:8] for each in told["found"]]) == (False, ["11127667"])
    assert re.search(rb"interrupted at \d+ %; 1 found; the same command with --continue goes on from there", err)
    asked = line.slaves[1].heard["selection"]
    for other in (("--baud", "9600"), ("--by", "primary")):
        code, _, err_text = await submeter(*arguments, *other, "--continue", XDG_STATE_HOME=str(tmp_path))
        assert (code, line.slaves[1].heard["selection"]) == (3, asked)
        assert err_text == (
            "the interrupted search was one with none of --by, --baud, --parity, --units, --framing: it goes on with"
            " the same options only; write them, or search without --continue\n"
        )
    code, out, _ = await submeter(*arguments, "--continue", XDG_STATE_HOME=str(tmp_path))
    assert code == 0
    assert [each["secondary"][:8] for each in json.loads(out)["found"]] == ["11127667"]
    assert line.slaves[1].heard["selection"] in {19, 20}, asked
    code, _, err_text = await submeter(*arguments, "--continue", XDG_STATE_HOME=str(tmp_path))
    assert (code, err_text) == (3, "no interrupted search of this line is kept; search without --continue\n")
    await line.close()


async def test_a_search_that_was_killed_goes_on_near_where_it_was(tmp_path: Path) -> None:
    line = Line([Slave(address=1, captured=HEAT, serial="91127667")], baud=2400)
    place = f"127.0.0.1:{await line.start()}"
    arguments = ("--json", "scan", "mbus", place)
    first = await begin(*arguments, XDG_STATE_HOME=str(tmp_path))
    while not list(tmp_path.glob("submeter/scan-*.json")):
        assert first.returncode is None, "it ended and has kept nothing"
        await asyncio.sleep(0.05)
    first.kill()
    await first.communicate()
    asked = line.slaves[1].heard["selection"]

    code, out, err = await submeter(*arguments, "--continue", XDG_STATE_HOME=str(tmp_path))

    assert code == 0, err
    assert [each["secondary"][:8] for each in json.loads(out)["found"]] == ["91127667"]
    assert asked > 4
    assert line.slaves[1].heard["selection"] < asked + 19, "of 19 selections some are spared"
    await line.close()


@pytest.mark.parametrize(
    "content", ["", "{}", "[]", '{"asked": "", "rest": "", "devices": [1], "troubles": []}', "pipe"]
)
async def test_a_file_that_holds_no_search_is_told_and_a_pipe_is_not_waited_for(tmp_path: Path, content: str) -> None:
    config = tmp_path / "gateway.toml"
    place = "/dev/nothing"
    name = hashlib.sha256(f"{config} modbus {place}".encode()).hexdigest()[:16]
    file = tmp_path / "submeter" / f"scan-{name}.json"
    file.parent.mkdir()
    if content == "pipe":
        os.mkfifo(file)
    else:
        file.write_text(content, encoding="utf-8")

    code, out, err = await submeter(
        "--config", str(config), "scan", "modbus", place, "--continue", XDG_STATE_HOME=str(tmp_path)
    )

    assert (code, out) == (3, "")
    assert err == f"{file} holds no interrupted search; search without --continue\n"


async def test_a_line_that_another_program_uses_is_not_searched(wire: MBusWire, tmp_path: Path) -> None:
    first = await begin("scan", "mbus", str(wire.link), "--by", "primary", XDG_STATE_HOME=str(tmp_path))
    assert first.stderr is not None
    await first.stderr.readline()
    code, _, err = await submeter("scan", "mbus", str(wire.link), XDG_STATE_HOME=str(tmp_path))
    first.kill()
    await first.communicate()

    assert code == 4
    assert "is in use by another program" in err


async def test_a_level_converter_that_another_program_uses_is_not_searched(tmp_path: Path) -> None:
    line = Line([Slave(address=1, captured=HEAT, serial="11127667")], baud=2400)
    place = f"127.0.0.1:{await line.start()}"
    first = await begin("scan", "mbus", place, XDG_STATE_HOME=str(tmp_path))
    assert first.stderr is not None
    await first.stderr.readline()
    code, _, err = await submeter("scan", "mbus", place, XDG_STATE_HOME=str(tmp_path))
    first.kill()
    await first.communicate()
    await line.close()

    assert code == 4
    assert f"{place} is in use by another program of this machine" in err


@pytest.mark.parametrize(
    ("arguments", "code", "text"),
    [
        (("mbus", "nowhere:1"), 4, "nowhere:1 cannot be connected"),
        (("mbus", "/dev/nothing"), 4, "/dev/nothing is not there"),
        (("mbus", "/dev/nothing", "--by", "magic"), 3, '"magic" is no way to search an M-Bus line'),
        (("mbus", "/dev/nothing", "--baud", "7"), 3, "7 is no baud rate of the M-Bus"),
        (("mbus", "127.0.0.1:1", "--baud", "300"), 3, "the level converter's own"),
        (("knx", "/dev/nothing"), 3, "no driver 'knx' is installed"),
        (("mbus", "/dev/nothing", "--parity", "odd"), 3, "the M-Bus has even parity everywhere"),
        (("modbus", "/dev/nothing"), 4, "/dev/nothing is not there"),
        (("modbus", "127.0.0.1:1"), 4, "127.0.0.1:1: no connection"),
        (("modbus", "/dev/nothing", "--units", "0-7,300"), 3, "--units '0-7,300': write numbers from 0 to 255"),
        (("modbus", "/dev/nothing", "--units", "7-3"), 3, "--units '7-3': write numbers from 0 to 255"),
        (("modbus", "/dev/nothing", "--units", ","), 3, "write numbers from 0 to 255 such as 1-32,40"),
        (("mbus", "/dev/nothing", "--units", "1"), 3, "an M-Bus line is searched as a whole"),
        (("modbus", "127.0.0.1:1", "--parity", "odd"), 3, "the baud rate and parity behind 127.0.0.1 are its own"),
        (("modbus", "/dev/nothing", "--by", "magic"), 3, '"magic" is no way to search a Modbus line'),
        (("modbus", "/dev/nothing", "--parity", "ood"), 3, "parity: \"ood\" is not one of 'none', 'even' or 'odd'"),
        (("modbus", "/dev/nothing", "--framing", "rtu"), 3, "framing is for a host; at a serial device frames are"),
        (("modbus", "127.0.0.1:1", "--framing", "ascii"), 3, "framing: \"ascii\" is not one of 'tcp' or 'rtu'"),
        (("modbus", "127.0.0.1:1", "--framing", "rtu", "--baud", "7"), 3, "baud: 7 is no usual baud rate of Modbus"),
        (("modbus", "127.0.0.1:1", "--baud", "9600"), 3, "the baud rate and parity behind 127.0.0.1 are its own"),
        (("modbus", "power", "--framing", "rtu"), 3, "--framing is for host:port; of a line of the settings it stands"),
        (("mbus", "127.0.0.1:1", "--framing", "rtu"), 3, "framing: this key is not known; remove it"),
    ],
)
async def test_what_cannot_be_searched_is_one_sentence(
    tmp_path: Path, arguments: tuple[str, ...], code: int, text: str
) -> None:
    got, out, err = await submeter("scan", *arguments, XDG_STATE_HOME=str(tmp_path))

    assert (got, out) == (code, "")
    assert text in err
    assert "Traceback" not in err
