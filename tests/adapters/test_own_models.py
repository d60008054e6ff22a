"""An installer's own meter models lie in the folder models/ beside the settings and need no release."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from gateway import drivers
from gateway.settings import Settings, load
from tests.drivers.modbus.peer import Peer
from tests.scenarios.plant import submeter
from tests.steady_time import LoopClock

if TYPE_CHECKING:
    from collections.abc import Callable

MODBUS = """\
protocol = "modbus"
make = "Maker"
models = ["M1"]
sources = ["Maker, M1 Modbus manual 1.2, page 7"]
agreement = "the maker's manual alone"

[[register]]
key = "import"
kind = "energy"
unit = "kWh"
exponent = -2
obis = "1-0:1.8.0"
function = 3
address = 0x4000
type = "u32"
order = "big"
scale = "0.01"
not_available = ["ffffffff"]

[[proof]]
origin = "constructed"
source = "by hand from page 7"
raw = "000100000006 01 03 4000 0002 000100000007 01 03 04 0012d687"
expect = { serial = "", status = 0, import = "12345.67" }
"""
EXPORT = MODBUS.partition("[[register]]")[2].partition("[[proof]]")[0].replace('"import"', '"export"')
MBUS = (Path(__file__).parents[2] / "drivers" / "mbus" / "models" / "itron-bm-plus-m.toml").read_text("utf-8")
SETTINGS = """\
site = "here"
gateway = "gw-01"
store = "sqlite:///gateway.db"

[[bus]]
id = "power"
driver = "modbus"
poll = "15min"
host = "127.0.0.1"
port = {port}

[[bus.meter]]
id = "flat-1"
model = "maker-m1"
address = 7

[[bus]]
id = "water"
driver = "mbus"
poll = "1h"
host = "127.0.0.1"
port = 10001

[[bus.meter]]
id = "cold-1"
model = "our-cold-water"
address = 1
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "models").mkdir()
    (tmp_path / "gateway.toml").write_text(SETTINGS.format(port=1502), encoding="utf-8")
    put(tmp_path, "maker-m1", MODBUS)
    put(tmp_path, "our-cold-water", MBUS)
    return tmp_path


def put(folder: Path, name: str, text: str) -> None:
    (folder / "models" / f"{name}.toml").write_text(text, encoding="utf-8")


def refused(folder: Path) -> list[str]:
    loaded = load(folder / "gateway.toml", drivers)
    assert not isinstance(loaded, Settings)
    return [str(problem).replace(f"{folder}/", "") for problem in loaded]


def test_files_of_both_protocols_are_models_like_ours(folder: Path) -> None:
    loaded = load(folder / "gateway.toml", drivers)
    assert isinstance(loaded, Settings), loaded
    power, water = loaded.buses
    assert power.driver.models()["maker-m1"] == ("import",)
    assert water.driver.models()["our-cold-water"] == ("volume",)
    assert "eastron-sdm630" in power.driver.models()
    assert power.driver.reads_per_day(power.meters["flat-1"]) is None
    assert water.driver.reads_per_day(water.meters["cold-1"]) == 300


def test_one_buildings_files_are_no_models_of_another(folder: Path) -> None:
    load(folder / "gateway.toml", drivers)
    assert "maker-m1" not in drivers.find("modbus").models()


@pytest.mark.steady
async def test_a_meter_is_read_by_an_installers_own_file(folder: Path) -> None:
    peer = Peer()
    await peer.start()
    peer.put(7, 3, 0x4000, 0x0012, 0xD687)
    (folder / "gateway.toml").write_text(SETTINGS.format(port=peer.port), encoding="utf-8")
    loaded = load(folder / "gateway.toml", drivers)
    assert isinstance(loaded, Settings), loaded
    line = loaded.buses[0]
    bus = line.driver.open(line.line, line.meters, LoopClock())

    answer = await bus.read("flat-1")

    assert [(value.register, str(value.index)) for value in answer.values] == [("import", "12345.67")]
    await bus.close()
    await peer.stop()


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (MODBUS.replace('"u32"', '"u33"'), 'models/maker-m1.toml:15: register[0].type: "u33" is not one of'),
        (MODBUS.replace("scale =", "scael ="), "models/maker-m1.toml:17: register[0].scael: this key is not known"),
        (
            MODBUS.replace('agreement = "the maker\'s manual alone"\n', ""),
            "models/maker-m1.toml: agreement: is missing",
        ),
        (
            MODBUS.replace("[[proof]]", "[[register]]" + EXPORT.replace("0x4000", "0x4001") + "[[proof]]"),
            "models/maker-m1.toml:7: register: import at 16384 and export at 16385 overlap: import has 2 words;",
        ),
        (
            MODBUS.replace("[[proof]]", "[[register]]" + EXPORT.replace('"export"', '"import"') + "[[proof]]"),
            "models/maker-m1.toml:7: register: register keys occur twice: import; give each register its own",
        ),
        (
            MODBUS.replace('"12345.67"', '"12345.68"'),
            "models/maker-m1.toml:20: proof: by hand from page 7: import is '12345.67', expected '12345.68'; correct",
        ),
        (
            MODBUS.replace('import = "12345.67"', 'export = "12345.67"'),
            "models/maker-m1.toml:20: proof: a proof expects exactly serial, status, import",
        ),
        (
            MODBUS.replace("import =", " = '', ".join("abcdefg") + " = '', import ="),
            "models/maker-m1.toml:20: proof: a proof expects exactly serial, status, import; no register is called a,",
        ),
        (
            MODBUS.replace('make = "Maker"', r'make = "\u0000"'),
            r"models/maker-m1.toml:2: make: '\x00' has control characters; write it in one line of plain text",
        ),
        (
            MODBUS.replace('"by hand from page 7"', r'"by hand\nfrom page 7"'),
            r"models/maker-m1.toml:22: proof[0].source: 'by hand\nfrom page 7' has control characters; write it in one",
        ),
        (
            MODBUS.replace("0012d687", "0012d6"),
            "models/maker-m1.toml:20: proof: by hand from page 7: the frames are not",
        ),
        ("protocol = modbus\n", "models/maker-m1.toml:1: this is not TOML"),
        ('make = "Maker"\n', 'models/maker-m1.toml: protocol: is missing or no text; write e.g. protocol = "modbus"'),
        (MODBUS.replace('"modbus"', '"knx"'), "models/maker-m1.toml:1: protocol: no driver 'knx' is installed"),
    ],
)
def test_a_bad_file_is_refused_with_its_place(folder: Path, text: str, told: str) -> None:
    put(folder, "maker-m1", text)
    problems = refused(folder)
    assert any(problem.startswith(told) for problem in problems), problems
    assert not any("no Modbus model" in problem for problem in problems), "its file says why there is none"


def test_what_else_is_wrong_with_the_meter_of_a_refused_model_is_told_beside(folder: Path) -> None:
    put(folder, "maker-m1", "")
    settings = SETTINGS.format(port=1502).replace("address = 7", "address = 256")
    (folder / "gateway.toml").write_text(settings, encoding="utf-8")
    (address, file) = refused(folder)
    assert "address: 256 is too large" in address
    assert file.startswith("models/maker-m1.toml: protocol: is missing")


def test_of_many_registers_that_a_proof_reads_otherwise_five_are_named(folder: Path) -> None:
    head, _, rest = MODBUS.partition("[[register]]")
    register, _, proof = rest.partition("[[proof]]")
    names = [f"import-{at}" for at in range(9)]
    for at, name in enumerate(names):
        head += "[[register]]" + register.replace('"import"', f'"{name}"').replace("0x4000", str(2 * at))
    frames = "000100000006 01 03 0000 0012 000100000027 01 03 24" + "00000001" * len(names)
    proof = proof.replace("000100000006 01 03 4000 0002 000100000007 01 03 04 0012d687", frames)
    expected = proof.replace('import = "12345.67"', ", ".join(f'{name} = "1.00"' for name in names))
    put(folder, "maker-m1", f"{head}[[proof]]{expected}")
    (told,) = refused(folder)
    assert told.count("expected '1.00'") == 5
    assert told.endswith("import-4 is '0.01', expected '1.00' and 4 more; correct the register or the proof")
    put(folder, "maker-m1", f"{head}[[proof]]{proof}")
    (told,) = refused(folder)
    assert "it lacks import-0, import-1, import-2, import-3, import-4 and 4 more; no register is called import" in told


@pytest.mark.parametrize(
    ("name", "told"),
    [
        (
            "eastron-sdm630",
            "models/eastron-sdm630.toml: there is a model eastron-sdm630 already; give the file another",
        ),
        ("sunspec", "models/sunspec.toml: there is a model sunspec already"),
        ("Maker M1", "models/Maker M1.toml: the file's name is the model's; use 1 to 40 of a-z, 0-9 and -"),
    ],
)
def test_a_files_name_is_a_free_name(folder: Path, name: str, told: str) -> None:
    put(folder, name, MODBUS)
    (problem,) = refused(folder)
    assert problem.startswith(told)


def directory(path: Path) -> None:
    path.mkdir()


def loop(path: Path) -> None:
    path.symlink_to(path.name)


def dangling(path: Path) -> None:
    path.symlink_to("nowhere")


def pipe(path: Path) -> None:
    os.mkfifo(path)


def endless(path: Path) -> None:
    path.symlink_to("/dev/zero")


def huge(path: Path) -> None:
    path.write_text(MODBUS, encoding="utf-8")
    os.truncate(path, 17_000_000)


def latin(path: Path) -> None:
    path.write_bytes(MODBUS.replace("Maker", "Zähler").encode("latin-1"))


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (directory, "cannot be read (Is a directory)"),
        (loop, "cannot be read (Too many levels of symbolic links)"),
        (dangling, "cannot be read (No such file or directory)"),
        (pipe, "cannot be read (it is a device or a pipe, no file)"),
        (endless, "cannot be read (it is a device or a pipe, no file)"),
        (huge, "cannot be read (it is larger than 16 MB)"),
        (latin, "is not UTF-8 text; save it as UTF-8"),
    ],
)
def test_what_is_no_text_file_is_refused_with_a_sentence(folder: Path, make: Callable[[Path], None], told: str) -> None:
    make(folder / "models" / "odd.toml")
    (problem,) = refused(folder)
    assert problem.startswith(f"models/odd.toml: {told}")


def test_a_byte_order_mark_and_the_line_ends_of_windows_do_no_harm(folder: Path) -> None:
    text = MODBUS.replace("\n", "\r\n").encode("utf-8-sig")
    (folder / "models" / "maker-m1.toml").write_bytes(text)
    assert isinstance(load(folder / "gateway.toml", drivers), Settings)


def test_a_files_ending_is_written_small(folder: Path) -> None:
    (folder / "models" / "maker-m2.TOML").write_text(MODBUS, encoding="utf-8")
    (problem,) = refused(folder)
    assert problem.startswith(
        "models/maker-m2.TOML: the file's name is the model's; use 1 to 40 of a-z, 0-9 and -, and .toml"
    )


@pytest.mark.parametrize("make", [loop, dangling, latin], ids=["loop", "dangling", "file"])
def test_a_models_folder_that_is_none_is_told(folder: Path, make: Callable[[Path], None]) -> None:
    (folder / "models").rename(folder / "elsewhere")
    make(folder / "models")
    assert any(problem.startswith("models: cannot be read (") for problem in refused(folder))


def test_no_models_folder_is_needed(folder: Path) -> None:
    (folder / "models").rename(folder / "elsewhere")
    assert all("gateway.toml:" in problem for problem in refused(folder))


def test_a_bad_file_is_told_even_where_no_meter_has_its_model(folder: Path) -> None:
    put(folder, "unused", MODBUS.replace('"u32"', '"u33"'))
    (problem,) = refused(folder)
    assert problem.startswith("models/unused.toml:15:")


def test_a_model_that_nobody_has_gets_the_nearest_names_and_the_way_to_an_own_file(folder: Path) -> None:
    (folder / "models" / "maker-m1.toml").unlink()
    (problem,) = refused(folder)
    assert "gateway.toml:14: bus[0].meter[0].model: no Modbus model 'maker-m1'" in problem
    assert problem.endswith("or add models/maker-m1.toml")


async def test_submeter_check_refuses_a_bad_file(folder: Path) -> None:
    put(folder, "maker-m1", MODBUS.replace('"12345.67"', '"1.00"'))
    code, _, told = await submeter("--config", str(folder / "gateway.toml"), "check")
    assert code == 3
    assert "models/maker-m1.toml:20: proof: by hand from page 7" in told
