"""What a meter says to have no value of is missing by itself: the others are read, and it is never a number."""

from __future__ import annotations

import pytest

from drivers.mbus.driver import driver
from drivers.mbus.model import MODELS, MBusModel, read_registers
from drivers.mbus.settings import BusSettings, MeterSettings
from drivers.mbus.telegram import decode
from gateway.ports.field import NoValue, WrongAnswerError
from tests.drivers.mbus.slave import CAPTURED, Slave, from_address, long_frame
from tests.drivers.mbus.test_bus import NoClock
from tests.drivers.mbus.test_families import stored

HEADER = "72785634122440010755000000"
VOLUME = "0413 e8030000"
ERROR_STATE = "a value during an error state"
HEAT_AND_VOLUME = CAPTURED["itron_cf_55"]


def model(dib_vib: str, *, place: int = 0) -> MBusModel:
    """`place`: the occurrence of the volume."""
    heat = {"key": "heat", "kind": "energy", "dib_vib": dib_vib, "unit": "kWh", "exponent": -3, "obis": "6-0:1.0.0"}
    water = {"key": "volume", "kind": "volume", "dib_vib": "0413", "unit": "m3", "exponent": -3, "obis": "6-0:2.0.0"}
    proof = {
        "origin": "constructed",
        "source": "here",
        "raw": "00",
        "expect": {"serial": "1", "status": 0, "heat": "0", "volume": "0"},
    }
    return MBusModel.model_validate(
        {
            "protocol": "mbus",
            "make": "Test",
            "models": ["two registers"],
            "identity": {"manufacturer": "PAD", "medium": 7},
            "register": [heat, water | {"occurrence": place}],
            "proof": [proof],
        }
    )


def read(records: str, described: MBusModel) -> tuple[dict[str, str], dict[str, str]]:
    """What has a value, and what has none."""
    telegram = decode(long_frame(bytes.fromhex(HEADER + records)))
    values, without = read_registers(described, [telegram])
    return {each.register: str(each.index) for each in values}, {each.register: each.why for each in without}


@pytest.mark.parametrize(
    ("dib_vib", "sent", "why"),
    [
        pytest.param("0c03", "0c03 bdebdddd", "the display code ddddebbd", id="a display code"),
        pytest.param("0c03", "0c03 000000a0", "the display code a0000000", id="a first digit that is none"),
        pytest.param("0403", "3403 01000000", ERROR_STATE, id="the function of an error state"),
        pytest.param("8c1003", "bc1003 00000000", ERROR_STATE, id="the same with a tariff"),
        pytest.param("0c03", "3c03 bdebdddd", ERROR_STATE, id="both"),
        pytest.param("0403", "0003", "no data", id="no data"),
        pytest.param("1403", "1003", "no data", id="no data of a maximum"),
        pytest.param("0403", "3003", ERROR_STATE, id="no data in an error state"),
        pytest.param("0403", "048315 01000000", "no data available", id="no data available"),
        pytest.param("0403", "048316 01000000", "data overflow", id="an overflow"),
        pytest.param("0403", "048317 01000000", "data underflow", id="an underflow"),
        pytest.param("0403", "048318 01000000", "data error", id="a data error"),
        pytest.param("0403", "008315", "no data available", id="no data, and a record error"),
        pytest.param("04833b", "0483bb15 01000000", "no data available", id="a record error behind an extension"),
        pytest.param("04fb00", "04fb8015 01000000", "no data available", id="a record error behind a second VIF"),
        pytest.param("0403", "0403 00000080", "the smallest number of its size", id="the smallest number"),
        pytest.param("04837b", "04837b 00000080", "the smallest number of its size", id="and with a constant added"),
        pytest.param("0503", "0503 0000c07f", "no valid number", id="not a number"),
        pytest.param("0503", "0503 0000807f", "no valid number", id="infinite"),
        pytest.param("0d03c2", "0d03c2 aaaa", "the display code aaaa", id="a display code of variable length"),
    ],
)
def test_the_other_register_is_read(dib_vib: str, sent: str, why: str) -> None:
    for records in (sent + VOLUME, VOLUME + sent):
        assert read(records, model(dib_vib)) == ({"volume": "1.000"}, {"heat": why})


@pytest.mark.parametrize(
    ("dib_vib", "sent"),
    [
        pytest.param("0403", "", id="nothing at all"),
        pytest.param("0403", "048301 01000000", id="an error that is none of the value"),
        pytest.param("0403", "04830e 01000000", id="DIF and VIF that do not go together"),
        pytest.param("0403", "1403 01000000", id="a maximum"),
        pytest.param("0403", "7403 01000000", id="another storage in an error state"),
        pytest.param("0403", "b41003 01000000", id="another tariff in an error state"),
        pytest.param("0403", "3c03 01000000", id="another coding in an error state"),
        pytest.param("0403", "3404 01000000", id="another exponent in an error state"),
        pytest.param("1403", "3403 01000000", id="of a maximum, an error state"),
        pytest.param("0403", "0004", id="no data of something else"),
        pytest.param("0d03c2", "3d03c2 0100", id="of variable length, an error state"),
        pytest.param("0d03c2", "0003", id="of variable length, no data"),
        pytest.param("0413", "0d1303 313233", id="text"),
        pytest.param("0413", VOLUME, id="another quantity"),
    ],
)
def test_what_is_not_surely_that_registers_refuses_the_whole_answer(dib_vib: str, sent: str) -> None:
    with pytest.raises(WrongAnswerError, match="register heat: record "):
        read(sent + VOLUME, model(dib_vib))


def test_a_meter_without_any_value_has_no_answer() -> None:
    with pytest.raises(WrongAnswerError, match="register heat: record 3403 holds no energy but a value during an err"):
        read("3403 01000000 3413 01000000", model("0403"))


def test_a_missing_register_refuses_the_answer_also_where_another_has_no_value() -> None:
    with pytest.raises(WrongAnswerError, match=r"register volume: record 0413 \(0\) is not in the answer"):
        read("3403 01000000", model("0403"))


@pytest.mark.parametrize("empty", ["3413 01000000", "0013", "049315 01000000", "0413 00000080"])
def test_what_has_no_value_keeps_its_place_among_records_of_the_same_bytes(empty: str) -> None:
    """Without, the second counter would be read as the first."""
    heat, second = "0403 02000000", "0413 07000000"

    values, without = read(heat + empty + second, model("0403"))
    assert (values, list(without)) == ({"heat": "0.002"}, ["volume"])
    assert read(heat + empty + second, model("0403", place=1)) == ({"heat": "0.002", "volume": "0.007"}, {})


def test_a_counter_of_the_fixed_structure_is_no_record_without_data() -> None:
    fixed = decode(long_frame(bytes.fromhex("73 78563412 00 00 05 29 01000000 02000000")))
    with pytest.raises(WrongAnswerError, match=r"record 0c05 \(0\) is not in the answer"):
        read_registers(model("0c05"), [fixed])


def test_a_counter_of_error_states_behind_the_counter_changes_nothing() -> None:
    assert read("0403 02000000" + VOLUME + "3403 07000000", model("0403")) == ({"heat": "0.002", "volume": "1.000"}, {})


@pytest.mark.parametrize(("octets", "index"), [("00000080", "0.128"), ("80000000", None)])
def test_the_smallest_number_is_known_in_both_orders_of_octets(octets: str, index: str | None) -> None:
    telegram = decode(long_frame(bytes.fromhex("76" + "123456784024" + "0107" + "55000000" + "0403" + octets + VOLUME)))

    values, _ = read_registers(model("0403"), [telegram])

    assert next((str(each.index) for each in values if each.register == "heat"), None) == index


@pytest.mark.parametrize("kept", ["7413 f4010000", "4013", "449315 f4010000"])
def test_what_a_meter_stored_without_a_value_is_left_out(kept: str) -> None:
    assert stored("0413e8030000" + "4413f4010000" + "426c1f0c") != []
    assert stored("0413e8030000" + kept.replace(" ", "") + "426c1f0c") == []
    assert stored("0413e8030000" + kept.replace(" ", "") + "4413f4010000" + "426c1f0c") == []


def test_the_date_of_an_error_state_is_not_the_meters_clock() -> None:
    yearly = "0413e8030000" + "4413f4010000" + "426cfffc"
    assert stored(yearly + "346d1e2f0a15") == []
    assert stored(yearly + "346d1e2f0a15" + "046d1e2f4a15") == [("2010-01-01T00:00:00", "0.500", "8-0:1.0.0*1")]


async def test_a_captured_answer_whose_heat_is_of_an_error_state_gives_its_volume() -> None:
    """As the same meter marks its power and temperatures: 3b2d instead of 0b2d."""
    heat, volume = MODELS["itron-cf-55"].registers
    name = bytes.fromhex(heat.dib_vib)
    assert HEAT_AND_VOLUME.count(name) == 1
    faulty = from_address(HEAT_AND_VOLUME, 1).replace(name, bytes([name[0] | 0x30]) + name[1:])
    async with Slave(from_address(HEAT_AND_VOLUME, 1), long_frame(faulty[6:-2])) as slave:
        settings = BusSettings(host="127.0.0.1", port=slave.port, baud=38400, latency=1)
        bus = driver.open(settings, {"heat": MeterSettings(model="itron-cf-55", address=1)}, NoClock())
        whole, partly = await bus.read("heat"), await bus.read("heat")
        await bus.close()

    assert [each.register for each in whole.values] == [heat.key, volume.key]
    assert partly.values == whole.values[1:]
    assert partly.without == (NoValue(register=heat.key, why=ERROR_STATE),)
