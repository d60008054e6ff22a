"""Hand-made records: each coding, unit and extension gives exactly its value, or is refused.

References are to the M-Bus documentation 4.8 unless EN 13757-3 is named.
"""

from __future__ import annotations

from typing import Any

import pytest

from drivers.mbus.report import describe
from tests.drivers.mbus.slave import long_frame
from tests.drivers.mbus.test_synthetic import ONE_M3

LONG = "72785634122440010755000000"
"""the header that the records, DIB, VIB and data, stand behind"""


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
