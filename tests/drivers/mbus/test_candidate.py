"""From the answer of a meter that nobody knows comes a model file, which needs the maker's names and a look."""

from __future__ import annotations

import tomllib
from typing import TYPE_CHECKING

import pytest

from drivers.mbus.bus import MBusBus, Wired
from drivers.mbus.candidate import model_file
from drivers.mbus.frame import FrameError
from drivers.mbus.link import Timing, split
from drivers.mbus.model import FAMILIES, MBusModel, read_registers
from drivers.mbus.telegram import decode
from drivers.model import ModelFileError, ModelFiles, mismatches
from gateway.ports.field import OrderRefusedError
from simulators.mbus import Bus, Direct, Slave, captured
from tests.drivers.mbus.slave import CAPTURED, long_frame

if TYPE_CHECKING:
    from pathlib import Path

STRANGE = bytes.fromhex("72785634122440010755000000")
"""a maker and a version that no model file knows"""


def names_its_maker(octets: bytes) -> bool:
    try:
        return (decode(octets).header.manufacturer or "0").isalpha()
    except FrameError:
        return False


ANSWERS = {name: octets for name, octets in CAPTURED.items() if names_its_maker(octets)}


def completed(text: str) -> MBusModel:
    return MBusModel.model_validate(tomllib.loads(text.replace("models = []", 'models = ["X 1"]')))


def uncommented(text: str) -> str:
    """Every register that was only offered is taken."""
    lines: list[str] = []
    expect: list[str] = []
    block = False
    for line in text.splitlines():
        block = line == "# [[register]]" or (block and line.startswith("# "))
        if block and line.endswith("# into expect"):
            expect.append(line.removeprefix("# ").removesuffix(" # into expect"))
        else:
            lines.append(line.removeprefix("# ") if block else line)
    return "\n".join(lines).replace(" }", "".join(f", {each}" for each in expect) + " }")


def disproved(model: MBusModel) -> list[str]:
    (proof,) = model.proof
    telegrams = [decode(octets) for octets in split(proof.octets)]
    header = telegrams[0].header
    values, _ = read_registers(model, telegrams)
    return mismatches(proof, header.id or "", header.status or 0, values)


@pytest.mark.parametrize("name", ANSWERS)
def test_once_completed_the_file_reads_its_own_proof(name: str) -> None:
    text = model_file(ANSWERS[name], name)

    for each in (text, uncommented(text)):
        if "\n[[register]]" in each:
            assert disproved(completed(each)) == []


@pytest.mark.parametrize("name", ANSWERS)
def test_every_record_of_the_answer_is_in_the_file(name: str) -> None:
    text = model_file(ANSWERS[name], name)

    missing = [
        record.meaning.dib_vib.hex()
        for record in decode(ANSWERS[name]).records
        if f"# {record.meaning.dib_vib.hex()} {record.meaning.quantity}" not in text
    ]
    assert missing == []
    assert ANSWERS[name].hex() in text.replace("\n", "")


@pytest.mark.parametrize("name", [name for name, model in FAMILIES.items() if model.registers])
def test_what_is_billed_of_the_known_meters_is_offered_with_their_unit_and_exponent(name: str) -> None:
    model = FAMILIES[name]
    try:
        text = uncommented(model_file(model.proof[0].octets, name))
    except OrderRefusedError:
        pytest.skip("its answer does not say who made it")
    offered = {(each.dib_vib, each.occurrence): each for each in completed(text).registers}

    for register in model.registers:
        found = offered[register.dib_vib, register.occurrence]
        assert (found.kind, found.unit, found.exponent) == (register.kind, register.unit, register.exponent)


def test_before_it_is_completed_it_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x.toml").write_text(model_file(long_frame(STRANGE + bytes.fromhex("0413e8030000")), "here"), "utf-8")

    with pytest.raises(ModelFileError, match=r"x\.toml: models: "):
        dict(ModelFiles(tmp_path, MBusModel))


def test_totals_are_registers_and_tariffs_maxima_and_pulse_weights_are_offered() -> None:
    electricity = STRANGE[:8] + b"\x02" + STRANGE[9:]
    records = "04833b e8030000 04833c d0070000 84100301000000 1403 ff000000 440302000000 04932801000000"
    text = model_file(long_frame(electricity + bytes.fromhex(records)), "here")

    model = completed(text)

    assert {each.key: (each.obis, model.proof[0].expect[each.key]) for each in model.registers} == {
        "import": ("1-0:1.8.0", "1.000"),
        "export": ("1-0:2.8.0", "2.000"),
    }
    assert {each.key for each in completed(uncommented(text)).registers} == {
        *("import", "export", "import-t1", "import-2", "import-3", "volume"),
    }


def test_a_counter_behind_one_without_a_value_is_offered_with_its_place() -> None:
    text = uncommented(model_file(long_frame(STRANGE + bytes.fromhex("3413 05000000 0413 e8030000")), "here"))

    assert {each.dib_vib: each.occurrence for each in completed(text).registers} == {"3413": 0, "0413": 1}
    assert disproved(completed(text)) == []


def test_what_says_nothing_that_could_be_billed_is_a_file_with_all_it_said() -> None:
    text = model_file(long_frame(STRANGE + bytes.fromhex("0422 0a000000 0d78 03 0a4241")), "here")

    assert "# 0422 On time: 36000 s" in text
    assert r'"AB\n"' in text
    model = MBusModel.model_validate(
        tomllib.loads(text.replace("models = []", 'models = ["X 1"]').replace("# unbilled", "unbilled"))
    )
    assert model.registers == ()


@pytest.mark.parametrize(
    ("octets", "text"),
    [
        (bytes.fromhex("6803"), "no model file can be written from this answer"),
        (long_frame(bytes.fromhex("78 0413 01000000")), "does not say who made the meter"),
        (long_frame(STRANGE[:5] + b"\0\0" + STRANGE[7:]), "does not say who made the meter"),
    ],
)
def test_an_answer_that_tells_too_little_is_refused(octets: bytes, text: str) -> None:
    with pytest.raises(OrderRefusedError, match=text):
        model_file(octets, "here")


async def test_the_completed_file_reads_the_meter_that_it_came_from(tmp_path: Path) -> None:
    frames = [long_frame(STRANGE + bytes.fromhex(each)) for each in ("0413 e8030000", "0406 07000000")]
    raw = b"".join([long_frame(STRANGE + bytes.fromhex("0413 e8030000 1f")), frames[1]])
    text = model_file(raw, "here").replace("models = []", 'models = ["X 1"]')
    (tmp_path / "strange.toml").write_text(text, "utf-8")
    model = ModelFiles(tmp_path, MBusModel)["strange"]
    meter = Slave(address=1, captured=captured(frames[0]), more=(captured(frames[1]),), serial="12345678")

    async def connect() -> Direct:
        return Direct(Bus([meter], baud=38400))

    bus = MBusBus(connect, Timing(baud=38400, latency=0.2), {"m": Wired(asked=1, model=model, serial="12345678")})
    answer = await bus.read("m")
    await bus.close()

    assert [(each.register, str(each.index), each.unit) for each in answer.values] == [
        ("volume", "1.000", "m3"),
        ("import", "7", "kWh"),
    ]
