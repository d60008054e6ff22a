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


# records by hand: DIB, VIB and data behind a long header

LONG = "72785634122440010755000000"


def records(text: str) -> list[dict[str, Any]]:
    found = describe(long_frame(bytes.fromhex(LONG + text)))
    assert found["ok"], found
    described: list[dict[str, Any]] = found["records"]
    return described


@pytest.mark.parametrize(
    ("text", "quantity", "unit", "value"),
    [
        ("0400 01000000", "Energy", "Wh", "0.001"),
        ("0407 01000000", "Energy", "Wh", "10000"),
        ("040f 01000000", "Energy", "J", "10000000"),
        ("0410 01000000", "Volume", "m3", "0.000001"),
        ("0417 01000000", "Volume", "m3", "10"),
        ("0418 01000000", "Mass", "kg", "0.001"),
        ("041f 01000000", "Mass", "kg", "10000"),
        ("0121 02", "On time", "s", "120"),
        ("0126 02", "Operating time", "s", "7200"),
        ("042f 01000000", "Power", "W", "10000"),
        ("0437 01000000", "Power", "J/h", "10000000"),
        ("0438 01000000", "Volume flow", "m3/h", "0.000001"),
        ("0447 01000000", "Volume flow", "m3/min", "1"),
        ("044f 01000000", "Volume flow", "m3/s", "0.01"),
        ("0457 01000000", "Mass flow", "kg/h", "10000"),
        ("0258 ff7f", "Flow temperature", "°C", "32.767"),
        ("0264 0080", "External temperature", "°C", "-32.768"),
        ("0268 e803", "Pressure", "bar", "1"),
        ("016e 05", "H.C.A.", "Units for H.C.A.", "5"),
        ("016f 05", "Reserved", "", "5"),
        ("0171 05", "Averaging Duration", "s", "300"),
        ("0177 05", "Actuality Duration", "s", "432000"),
        ("0479 ffffffff", "(Enhanced) Identification", "", "4294967295"),
        ("017a fa", "Bus Address", "", "250"),
        ("017e 01", "Any VIF", "", "1"),
        ("01fd00 01", "Credit", "Currency units", "0.001"),
        ("01fd07 01", "Debit", "Currency units", "1"),
        ("01fd08 ff", "Access Number (transmission count)", "", "255"),
        ("01fd09 07", "Medium", "", "7"),
        ("02fd17 ffff", "Error flags", "", "65535"),
        ("02fd1a ffff", "Digital Output", "", "65535"),
        ("02fd1c 6009", "Baudrate", "Baud", "2400"),
        ("01fd27 02", "Storage interval", "s", "172800"),
        ("01fd29 02", "Storage interval", "years", "2"),
        ("01fd31 02", "Duration of tariff", "s", "120"),
        ("01fd33 02", "Duration of tariff", "s", "172800"),
        ("01fd34 02", "Period of tariff", "s", "2"),
        ("01fd39 02", "Period of tariff", "years", "2"),
        ("01fd3a 02", "Dimensionless", "", "2"),
        ("01fd40 02", "Voltage", "V", "0.000000002"),
        ("01fd4f 02", "Voltage", "V", "2000000"),
        ("01fd50 02", "Current", "A", "0.000000000002"),
        ("01fd5f 02", "Current", "A", "2000"),
        ("01fd69 02", "Duration since last cumulation", "s", "172800"),
        ("01fd6a 02", "Duration since last cumulation", "months", "2"),
        ("01fd6c 02", "Operating time battery", "s", "7200"),
        ("01fd6f 02", "Operating time battery", "years", "2"),
        ("01fd74 02", "Remaining battery life time", "s", "172800"),
        ("01fb00 02", "Energy", "Wh", "200000"),
        ("01fb01 02", "Energy", "Wh", "2000000"),
        ("01fb09 02", "Energy", "J", "2000000000"),
        ("01fb11 02", "Volume", "m3", "2000"),
        ("01fb18 02", "Mass", "kg", "200000"),
        ("01fb29 02", "Power", "W", "2000000"),
        ("01fb30 02", "Power", "J/h", "200000000"),
        ("01fb24 02", "Volume flow", "American gallon/min", "0.002"),
        ("01fb25 02", "Volume flow", "American gallon/min", "2"),
        ("01fb58 02", "Flow temperature", "°F", "0.002"),
        ("01fb77 02", "Cold / Warm Temperature Limit", "°C", "2"),
        ("01fb7f 02", "Cumul count max power", "W", "20000"),
        ("01fb7e 02", "Cumul count max power", "W", "2000"),
    ],
)
def test_a_count_is_given_in_the_base_unit_of_its_vif(text: str, quantity: str, unit: str, value: str) -> None:
    (found,) = records(text)

    assert (found["quantity"], found["unit"], found["kind"], found["value"]) == (quantity, unit, "number", value)


@pytest.mark.parametrize(
    ("text", "kind", "value"),
    [
        ("0c13 78563412", "number", "12345.678"),
        ("0c13 bbebdddd", "invalid", "!ddddebbb"),
        ("0c13 000000a1", "invalid", "!a1000000"),
        ("0c13 000000f1", "number", "-1000"),
        ("0c13 ffffffff", "invalid", "!ffffffff"),
        ("0913 f5", "number", "-0.005"),
        ("0e13 999999999999", "number", "999999999.999"),
        ("0713 ffffffffffffffff", "number", "-0.001"),
        ("0713 ffffffffffffff7f", "number", "9223372036854775.807"),
        ("0513 0000c07f", "invalid", ""),
        ("0513 0000807f", "invalid", ""),
        ("0513 00000080", "number", "0"),
        ("0513 cdcccc3d", "number", "0.0001"),
        ("0513 ffff7f7f", "number", "340282350000000000000000000000000000"),
        ("0513 01000000", "number", "0." + "0" * 47 + "1"),
        ("0d13 03 636261", "text", "abc"),
        ("0d13 00", "text", ""),
        ("0d13 c0", "invalid", ""),
        ("0d13 ca 01000000000000000099", "number", "99000000000000000.001"),
        ("0d13 cf " + "01" + "00" * 14, "number", "0.001"),
        ("0d13 df " + "01" + "00" * 14, "number", "-0.001"),
        ("0d13 d2 3412", "number", "-1.234"),
        ("0d13 c2 f4f2", "invalid", "!f2f4"),
        ("0d13 e0", "invalid", ""),
        ("0d13 e2 ffff", "number", "-0.001"),
        ("0d13 f1 " + "01" + "00" * 19, "hex", "00" * 19 + "01"),
        ("0d13 f5 " + "01" + "00" * 47, "hex", "00" * 47 + "01"),
        ("0d13 f6 " + "01" + "00" * 63, "hex", "00" * 63 + "01"),
        ("08 13", "invalid", ""),
        ("04fd72 01020384", "hex", "84030201"),
        ("04fd73 01020384", "hex", "84030201"),
    ],
)
def test_data_of_every_type_give_exactly_their_value(text: str, kind: str, value: str) -> None:
    (found,) = records(text)

    assert (found["kind"], found["value"]) == (kind, value)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("426c 1f0c", "2000-12-31"),
        ("426c ff9c", "2079-12-31"),
        ("426c 81a1", "1984-01-01"),
        ("426c ffff", ""),
        ("426c 0000", ""),
        ("426c fffc", "****-12-31"),
        ("426c e0ff", "****-**-**"),
        ("426c fdf2", "****-02-29"),
        ("426c fef2", ""),
        ("426c 1e02", ""),
        ("426c 1d02", "2000-02-29"),
        ("426c 3d02", ""),
        ("426c 1f0d", ""),
        ("046d 3b17df3c", "2030-12-31T23:59"),
        ("046d 3b37df3c", "2030-12-31T23:59"),
        ("046d 3b17ffac", "1987-12-31T23:59"),
        ("046d 3b37ffac", "2087-12-31T23:59"),
        ("046d bb17df3c", ""),
        ("046d 3f1fdf3c", "2030-12-31T**:**"),
        ("046d 3c17df3c", ""),
        ("046d 3b18df3c", ""),
        ("046d 00000000", ""),
        ("046d ffffffff", ""),
        ("066d 1e2f0a152a00", "2016-10-21T10:47:30"),
        ("066d 1eaf0a152a00", ""),
        ("066d 3c2f0a152a00", ""),
        ("036d 1e2f0a", "10:47:30"),
        ("026d 1f0c", "2000-12-31"),
        ("016d 1f", ""),
        ("0c6d 12345678", ""),
        ("02fd30 1f0c", "2000-12-31"),
        ("04fd70 3b17df3c", "2030-12-31T23:59"),
    ],
)
def test_a_point_in_time_is_a_date_or_no_value_but_never_a_guess(text: str, value: str) -> None:
    (found,) = records(text)

    assert (found["kind"], found["value"]) == (("date" if value else "invalid"), value)


@pytest.mark.parametrize(
    ("text", "quantity", "unit", "kind", "value", "extensions"),
    [
        ("04db6f 3b17df3c", "Date of: Flow temperature", "", "date", "2030-12-31T23:59", ["6f"]),
        ("02db6a 1f0c", "Date of: Flow temperature", "", "date", "2000-12-31", ["6a"]),
        ("04bb51 02000000", "Duration of: Volume flow", "s", "number", "120", ["51"]),
        ("04bb5f 02000000", "Duration of: Volume flow", "s", "number", "172800", ["5f"]),
        ("04bb62 02000000", "Duration of: Volume flow", "s", "number", "7200", ["62"]),
        ("04bb49 02000000", "Number of exceeds of: Volume flow", "", "number", "2", ["49"]),
        ("04bb48 02000000", "Volume flow", "m3/h", "number", "0.002", ["48"]),
        ("04933b 02000000", "Volume", "m3", "number", "0.002", ["3b"]),
        ("04933c 02000000", "Volume", "m3", "number", "0.002", ["3c"]),
        ("049370 02000000", "Volume", "m3", "number", "0.000000002", ["70"]),
        ("049377 02000000", "Volume", "m3", "number", "0.02", ["77"]),
        ("04937d 02000000", "Volume", "m3", "number", "2", ["7d"]),
        ("0493fd77 02000000", "Volume", "m3", "number", "20", ["7d", "77"]),
        ("04937b 02000000", "Volume", "m3", "number", "1.002", ["7b"]),
        ("049378 02000000", "Volume", "m3", "number", "0.003", ["78"]),
        ("04937e 02000000", "Volume", "m3", "number", "0.002", ["7e"]),
        ("049300 02000000", "Volume", "m3", "number", "0.002", ["00"]),
        ("049301 02000000", "Volume", "m3", "invalid", "", ["01"]),
        ("049315 02000000", "Volume", "m3", "invalid", "", ["15"]),
        ("04931f 02000000", "Volume", "m3", "invalid", "", ["1f"]),
        ("0493ff15 02000000", "Volume", "m3", "number", "0.002", ["mfr"]),
        ("0493fc01 02000000", "Volume", "m3", "number", "0.002", ["7c", "01"]),
        ("0493fc8177 02000000", "Volume", "m3", "number", "0.02", ["7c", "01", "77"]),
        ("04ff15 02000000", "Manufacturer specific", "", "number", "2", []),
        ("0493fc11 ffffffff", "Volume", "m3", "number", "4294967.295", ["7c", "11"]),
        ("04fdfd02 02000000", "Reserved", "", "number", "2", []),
        ("04fdc9bb74 02000000", "Voltage", "V", "number", "0.02", ["3b", "74"]),
    ],
)
def test_combinable_extensions_change_what_a_record_means(
    text: str, quantity: str, unit: str, kind: str, value: str, extensions: list[str]
) -> None:
    (found,) = records(text)

    assert (found["quantity"], found["unit"]) == (quantity, unit)
    assert (found["kind"], found["value"], found["vif_ext"]) == (kind, value, extensions)


def test_storage_tariff_and_subunit_have_all_their_bits() -> None:
    (found,) = records("c4 ff ff ff ff ff ff ff ff ff 7f 13 00000000".replace(" ", ""))

    assert (found["storage"], found["tariff"], found["subunit"]) == (2**41 - 1, 2**20 - 1, 2**10 - 1)


@pytest.mark.parametrize(
    ("text", "unit", "value", "dib_vib"),
    [
        ("027c 03485225 6400", "%RH", "100", "027c03485225"),
        ("02fc 03485225 74 6400", "%RH", "1", "02fc0348522574"),
        ("02fc 74 03485225 6400", "%RH", "1", "02fc7403485225"),
        ("02fc f4 7d 03485225 6400", "%RH", "1000", "02fcf47d03485225"),
        ("027c 00 6400", "", "100", "027c00"),
    ],
)
def test_a_unit_in_plain_text_is_read_in_both_places(text: str, unit: str, value: str, dib_vib: str) -> None:
    (found,) = records(text)

    assert (found["quantity"], found["unit"], found["value"]) == (unit, unit, value)
    assert found["dib_vib"] == dib_vib


def test_ten_extensions_are_read_wherever_the_unit_stands() -> None:
    (behind,) = records("0493" + "80" * 9 + "77" + "02000000")
    (text,) = records("04fc0141" + "80" * 9 + "77" + "02000000")

    assert (behind["value"], text["value"]) == ("0.02", "20")


def test_what_follows_0f_is_the_manufacturers_and_1f_announces_more() -> None:
    found = describe(long_frame(bytes.fromhex(LONG + "2f2f0413e80300002f1f0102")))

    assert found["more_records_follow"] is True
    assert found["records"][0] == ONE_M3
    last = found["records"][1]
    assert (last["function"], last["dib_vib"], last["data"], last["kind"]) == (
        "More records follow",
        "1f",
        "0102",
        "hex",
    )


@pytest.mark.parametrize(
    "text",
    [
        "04",
        "84",
        "8410",
        "0493",
        "04fd",
        "04fb",
        "0413e80300",
        "0d13",
        "0d1303",
        "0d13034142",
        "0d13c1",
        "0d13ca000000000000000000",
        "0d13da000000000000000000",
        "0d13f7" + "00" * 80,
        "027c",
        "027c0348",
        "027c030102036400",
        "04" + "93" * 5,
        "84" + "80" * 10 + "0013" + "00" * 4,
        "04" + "93" + "80" * 10 + "00" + "00" * 4,
        "04fc0141" + "80" * 10 + "00" + "00" * 4,
        "3f",
        "4f",
        "7f",
        "8f13",
        "ff13",
    ],
)
def test_a_record_that_is_not_whole_or_reserved_is_refused(text: str) -> None:
    found = describe(long_frame(bytes.fromhex(LONG + text)))

    assert set(found) == {"ok", "error"}


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
    found = describe(long_frame(bytes.fromhex(LONG + "0413e8030000"), control=control))

    assert found == {"ok": False, "error": f"C field {control:02x} is no answer of a meter (octet 4)"}


def test_counters_stored_at_a_fixed_date_and_times_are_told_as_such() -> None:
    found = describe(long_frame(bytes.fromhex("73785634120a02c041" + "00563412" + "31120000")))

    first, second = found["records"]
    assert (first["function"], first["quantity"], first["kind"]) == ("Stored value", "Time (h,m,s)", "hex")
    assert (first["value"], first["dib_vib"]) == ("12345600", "0000")
    assert (second["quantity"], second["value"]) == ("Date (D,M,Y)", "00001231")
