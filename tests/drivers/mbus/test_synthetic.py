"""Telegrams made by hand for what no captured one shows, judged by the documentation.

References are to the M-Bus documentation 4.8 unless EN 13757-3 is named.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from drivers.mbus.report import describe
from tests.drivers.mbus.slave import long_frame

CASES = {
    case["name"]: case["hex"]
    for case in json.loads((Path(__file__).parents[2] / "data" / "mbus-synthetic.json").read_text("utf-8"))
}
INSTANT = "Instantaneous value"


def record(dib_vib: str, data: str, quantity: str, unit: str, value: str, **other: object) -> dict[str, Any]:
    """A whole record; what is not given is a plain instantaneous number."""
    plain = {"function": INSTANT, "storage": 0, "tariff": 0, "subunit": 0, "kind": "number", "vif_ext": []}
    named = {"dib_vib": dib_vib, "data": data, "quantity": quantity, "unit": unit, "value": value}
    return plain | named | other


ONE_M3 = record("0413", "e8030000", "Volume", "m3", "1")

VARIABLE = {
    "neg BCD 0C F0": [record("0b61", "1800f0", "Temperature difference", "K", "-0.18")],
    "LVAR BCD C2 (4 digits, 2 bytes) then volume": [record("0d13c2", "3412", "Volume", "m3", "1.234"), ONE_M3],
    "LVAR binary E3": [record("0d13e3", "010203", "Volume", "m3", "197.121"), ONE_M3],
    "no data DIF 00": [record("0013", "", "Volume", "m3", "", kind="invalid"), ONE_M3],
    "type I 06 6D": [
        record("066d", "1e2f0a152a00", "Time point (date & time)", "", "2016-10-21T10:47:30", kind="date")
    ],
    "date FFFF": [record("426c", "ffff", "Time point (date)", "", "", kind="invalid", storage=1)],
    "FB 08 energy 0.1 GJ": [record("04fb08", "01000000", "Energy", "J", "100000000")],
    "FB 79 cumul max power 10^-2 W": [record("04fb79", "64000000", "Cumul count max power", "W", "1")],
    "FB 82 75 reactive": [record("04fb8275", "64000000", "Reactive energy", "varh", "10000", vif_ext=["75"])],
    "int64 > 2^53": [record("0703", "0100000000002000", "Energy", "Wh", "9007199254740993")],
    "VIFE 74 x0.01": [record("049374", "64000000", "Volume", "m3", "0.001", vif_ext=["74"])],
    "real32 1e-9 flow": [record("0548", "0000803f", "Volume flow", "m3/s", "0.000000001")],
    "FD 28 months": [record("01fd28", "03", "Storage interval", "months", "3")],
    "VIF 7D reserved": [record("047d", "01000000", "Reserved", "", "1"), ONE_M3],
    "CI 78 no header": [ONE_M3],
    # the unit stands behind the VIFE chain as in the documentation: read as length 74 right after the VIF, the text
    # would end behind the telegram. The two octets left over are a record of their own: no data, VIF 00
    "plain VIF after VIFE chain (spec reading)": [
        record("02fc7403485225", "6400", "%RH", "%RH", "1", vif_ext=["74"]),
        record("0000", "", "Energy", "Wh", "", kind="invalid"),
    ],
}

FIXED = {
    # the status bit 0 says BCD, so the counters of this one are 1 and 135
    "CI 73 BCD power 0x15 (10 W)": [
        record("0015", "01000000", "Power", "W", "10", function="Actual value"),
        record("0029", "35010000", "Volume", "m3", "0.135", function="Actual value"),
    ],
    "CI 73 binary signed": [
        record("0029", "ffffffff", "Volume", "m3", "-0.001", function="Actual value"),
        record("0029", "35010000", "Volume", "m3", "0.309", function="Actual value"),
    ],
}

REFUSED = {
    "DIF 3F reserved": "DIF 3f is reserved (octet 19)",
    "wrong 2nd length": "the two lengths differ: 1f and 1e (octet 2)",
    "bad stop": "the frame stops with 17 instead of 16 (octet 26)",
    "truncated": "the frame has 24 octets, its length field says 27 (octet 24)",
}


def test_every_synthetic_frame_is_judged() -> None:
    assert set(CASES) == {*VARIABLE, *FIXED, *REFUSED, "CI 71 alarm"}


@pytest.mark.parametrize("name", VARIABLE)
def test_a_synthetic_frame_gives_exactly_these_records(name: str) -> None:
    found = describe(bytes.fromhex(CASES[name]))

    assert found["records"] == VARIABLE[name]
    assert found["kind"] == "variable"


@pytest.mark.parametrize("name", FIXED)
def test_a_synthetic_fixed_structure_gives_exactly_these_counters(name: str) -> None:
    found = describe(bytes.fromhex(CASES[name]))

    assert found["records"] == FIXED[name]
    assert found["kind"] == "fixed"
    assert found["header"]["id"] == "12345678"


@pytest.mark.parametrize("name", REFUSED)
def test_a_malformed_synthetic_frame_is_refused(name: str) -> None:
    assert describe(bytes.fromhex(CASES[name])) == {"ok": False, "error": REFUSED[name]}


def test_an_alarm_is_told() -> None:
    found = describe(bytes.fromhex(CASES["CI 71 alarm"]))

    assert (found["ok"], found["kind"], found["alarm"], found["records"]) == (True, "alarm", 1, [])


def test_most_significant_octet_first_gives_the_same_values() -> None:
    first = describe(long_frame(bytes.fromhex("727856341224400107550012340413e80300000d1303636261426c1f0c")))
    second = describe(long_frame(bytes.fromhex("761234567840240107550034120413000003e80d1303616263426c0c1f")))

    assert second["header"] == first["header"]
    assert [one["value"] for one in second["records"]] == [one["value"] for one in first["records"]]
    assert second["records"][0]["data"] == "000003e8"


def test_the_fixed_structure_most_significant_octet_first_gives_the_same_values() -> None:
    first = describe(long_frame(bytes.fromhex("73785634120a00e97e0100000035010000")))
    second = describe(long_frame(bytes.fromhex("77123456780a00e97e0000000100000135")))

    assert second["header"] == first["header"]
    assert (
        [one["value"] for one in second["records"]] == [one["value"] for one in first["records"]] == ["0.001", "0.135"]
    )


def test_a_short_header_gives_what_it_has() -> None:
    found = describe(long_frame(bytes.fromhex("7a2a1000000413e8030000")))

    assert found["header"] == {"access_no": 42, "status": 16, "signature": 0}
    assert found["records"] == [ONE_M3]


@pytest.mark.parametrize(("field", "mode"), [("1005", 5), ("100710", 7)])
def test_encrypted_records_are_refused_by_name(field: str, mode: int) -> None:
    found = describe(long_frame(bytes.fromhex(f"7278563412244001075500{field}" + "a5" * 16)))

    assert found["error"].startswith(f"the records are encrypted (security mode {mode})")


@pytest.mark.parametrize("signature", ["1005", "ffff", "b627"])
def test_plain_records_are_read_whatever_the_signature_says(signature: str) -> None:
    text = f"7278563412244001075500{signature}" + "2f2f" + "0413e8030000" + "2f" * 8

    assert describe(long_frame(bytes.fromhex(text)))["records"] == [ONE_M3]


@pytest.mark.parametrize("signature", ["0005", "0007", "10ff", "ffff", "b627", "f005"])
def test_a_signature_without_a_known_mode_or_room_for_its_blocks_hides_nothing(signature: str) -> None:
    text = f"7278563412244001075500{signature}" + "0413e8030000" + "2f" * 12

    assert describe(long_frame(bytes.fromhex(text)))["records"] == [ONE_M3]


@pytest.mark.parametrize(
    "octets",
    ["", "e5", "16", "68", "6803", "680303", "68030368", "680202680801", "105b015c17", "105b015d16", "105b01", "00"],
)
def test_what_is_no_frame_is_refused(octets: str) -> None:
    assert describe(bytes.fromhex(octets))["ok"] is False


@pytest.mark.parametrize("octets", ["1040014116", "105b015c16", "107b017c16"])
def test_what_a_master_sends_is_recognised(octets: str) -> None:
    assert describe(bytes.fromhex(octets))["kind"] == "master_to_slave"


@pytest.mark.parametrize("control", [0x00, 0x0B, 0x88, 0x0F])
def test_a_c_field_that_no_answer_has_is_refused(control: int) -> None:
    found = describe(long_frame(bytes.fromhex("727856341224401007550000000413e8030000"), control=control))

    assert found == {"ok": False, "error": f"C field {control:02x} is no answer of a meter (octet 4)"}


def test_counters_stored_at_a_fixed_date_and_times_are_told_as_such() -> None:
    found = describe(long_frame(bytes.fromhex("73785634120a02c041" + "00563412" + "31120000")))

    first, second = found["records"]
    assert (first["function"], first["quantity"], first["kind"]) == ("Stored value", "Time (h,m,s)", "hex")
    assert (first["value"], first["dib_vib"]) == ("12345600", "0000")
    assert (second["quantity"], second["value"]) == ("Date (D,M,Y)", "00001231")
