"""Every VIF with every coding, and every combinable extension, against two other decoders.

Where they differ from ours, the M-Bus documentation 4.8 has judged, or EN 13757-3 where it is newer: the judgements
stand here, each with its reason. One that no longer differs fails too.
"""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING

import meterbus
import pymbusparser
import pytest

from drivers.mbus.report import describe
from tests.drivers.mbus.slave import long_frame

if TYPE_CHECKING:
    from collections.abc import Callable

HEADER = bytes.fromhex("72785634122440010755000000")
CODINGS = {
    0x01: "85",
    0x02: "0580",
    0x03: "050080",
    0x04: "05000080",
    0x06: "050000000080",
    0x07: "0500000000000080",
    0x09: "85",
    0x0A: "0580",
    0x0B: "050080",
    0x0C: "05000080",
    0x0E: "050000000080",
}
"""data field -> data with the highest bit set"""
SECONDS_AND_KG = {"min": 60, "h": 3600, "d": 86400, "t": 1000}
Found = Fraction | str


def codes(table: str, *spans: tuple[int, int]) -> set[str]:
    return {f"{table}{code:02x}" for first, last in spans for code in range(first, last + 1)}


VIFS = sorted((codes("", (0x00, 0x7F)) - {"7c"}) | codes("fd", (0x00, 0x7F)) | codes("fb", (0x00, 0x7F)))
EXTENSIONS = sorted(codes("93", (0x00, 0x7B), (0x7D, 0x7F)) | codes("fdc9", (0x00, 0x7B), (0x7D, 0x7F)))
"""of a volume and of a voltage; 7C is followed by one more"""

PYMBUSPARSER = {
    "reads dates that are none as dates, and none with seconds (8.2, types F, G, I, J)": {"6c", "6d"},
    "stops at what is reserved; the data behind it are whole (8.4.3)": {"6f"},
    "reads identifications and flags, types C and D, as signed (8.2)": codes("", (0x78, 0x7A))
    | codes("fd", (0x08, 0x0A), (0x17, 0x18), (0x1A, 0x1C)),
    "has the table wrong from 2C to 3F: durations, tariff, transmissions (8.4.4 a)": codes(
        "fd", (0x2D, 0x2F), (0x31, 0x37), (0x3D, 0x3F)
    ),
    "reads points in time as numbers (8.4.4 a)": {"fd30", "fd65", "fd70"},
    "counts battery years in hours (8.4.4 a)": {"fd6f"},
    "counts battery days in seconds (EN 13757-3:2013)": {"fd74"},
    "reads the compound types K and L as numbers (EN 13757-3:2013)": {"fd72", "fd73"},
    "adds an offset to what is reserved (8.4.4 a)": codes("fd", (0x78, 0x7B)),
    "has a coefficient of performance where ours has nothing yet (EN 13757-3:2018)": {"fb06"},
    "has none of the American units (8.4.4 b)": codes("fb", (0x22, 0x24)),
    "adds an offset to the cumulated maximum power (8.4.4 b)": codes("fb", (0x78, 0x7B)),
}
PYMBUSPARSER_EXTENSIONS = {
    "gives a value where the meter says that there is none (8.4.7)": (0x01, 0x1F),
    "divides by the kilo of per kWh, GJ, kW; ours names the extension and leaves the value": (0x30, 0x32),
    "gives a number where a date is meant (8.4.5)": (0x39, 0x39),
    "goes over to other units without a name (EN 13757-3, annex C); ours names the extension": (0x3D, 0x3D),
    "counts in the VIF's unit what is a number of times (8.4.5)": (0x41, 0x49),
    "gives dates of a limit exceed as numbers, durations in the VIF's unit (8.4.5)": (0x42, 0x67),
    "gives dates as numbers (8.4.5)": (0x6A, 0x6F),
}


_SAME_IN_BOTH = (
    "gives a value where the meter says that there is none (8.4.7)",
    "gives a number where a date is meant (8.4.5)",
    "counts in the VIF's unit what is a number of times (8.4.5)",
    "gives dates of a limit exceed as numbers, durations in the VIF's unit (8.4.5)",
    "gives dates as numbers (8.4.5)",
)
PYMETERBUS = {
    "raises for a date that is none (8.2)": {"6c", "6d"},
    "gives 0 for what is reserved, or raises (8.4.3)": {"6f", "7b", "7d"},
    "turns months and years into seconds of a mean length (8.4.4 a)": codes(
        "fd", (0x28, 0x29), (0x38, 0x39), (0x6A, 0x6B), (0x6E, 0x6F)
    ),
    "reads points in time as numbers (8.4.4 a)": {"fd30", "fd65", "fd70"},
    "counts FB 79 in mW (8.4.4 b)": {"fb79"},
    "does not know what EN 13757-3:2013 has added": codes("fd", (0x3D, 0x3F))
    | {"fd71", "fd72", "fd73", "fd74"}
    | codes("fb", (0x02, 0x05), (0x0C, 0x0F), (0x15, 0x17), (0x2A, 0x2E), (0x35, 0x37)),
}
PYMETERBUS_EXTENSIONS = {reason: PYMBUSPARSER_EXTENSIONS[reason] for reason in _SAME_IN_BOTH} | {
    "ignores multipliers and offsets (8.4.5)": (0x70, 0x7D)
}


def ours(octets: bytes) -> Found:
    described = describe(long_frame(HEADER + octets))
    record = described["records"][0]
    return Fraction(record["value"]) if record["kind"] == "number" else str(record["kind"])


def pymbusparsers(octets: bytes) -> Found:
    records = pymbusparser.parse(long_frame(HEADER + octets).hex())["records"]
    if not records:
        return "nothing"
    value = records[0]["value"]
    if value["kind"] != "decimal":
        return str(value["kind"])
    return Fraction(value["value"]) * SECONDS_AND_KG.get(records[0].get("unit"), 1)


def pymeterbuses(octets: bytes) -> Found:
    try:
        record = meterbus.load(long_frame(HEADER + octets)).records[0]
        return Fraction(str(record.interpreted["value"])) if record.value is not None else "nothing"
    except Exception:  # noqa: BLE001 - it raises what it likes
        return "nothing"


def differing(theirs: Callable[[bytes], Found], vibs: list[str], codings: dict[int, str]) -> set[str]:
    return {
        vib
        for vib in vibs
        for dif, data in codings.items()
        if not same(*(read(bytes([dif]) + bytes.fromhex(vib + data)) for read in (ours, theirs)))
    }


def same(one: Found, other: Found) -> bool:
    """Numbers may be floats in the other decoder."""
    if isinstance(one, str) or isinstance(other, str):
        return one == other
    return abs(one - other) <= abs(one) / 10**12


DECODERS = {"pymbusparser": pymbusparsers, "pyMeterBus": pymeterbuses}


@pytest.mark.parametrize(
    ("decoder", "judged", "codings"),
    [
        ("pymbusparser", PYMBUSPARSER, CODINGS),
        ("pyMeterBus", PYMETERBUS, {0x04: "05000000", 0x0C: "05000000"}),
    ],
)
def test_another_decoder_reads_the_same_numbers_but_for_what_is_judged_here(
    decoder: str, judged: dict[str, set[str]], codings: dict[int, str]
) -> None:
    assert differing(DECODERS[decoder], VIFS, codings) == set().union(*judged.values())


@pytest.mark.parametrize(
    ("decoder", "judged"), [("pymbusparser", PYMBUSPARSER_EXTENSIONS), ("pyMeterBus", PYMETERBUS_EXTENSIONS)]
)
def test_another_decoder_reads_the_same_extensions_but_for_what_is_judged_here(
    decoder: str, judged: dict[str, tuple[int, int]]
) -> None:
    found = {int(vib[-2:], 16) for vib in differing(DECODERS[decoder], EXTENSIONS, {0x04: "05000000"})}
    spans = {reason: set(range(first, last + 1)) for reason, (first, last) in judged.items()}

    assert found <= set().union(*spans.values())
    assert [reason for reason, span in spans.items() if not found & span] == []


def test_pymbusparser_forgets_the_multiplier_of_a_float() -> None:
    octets = bytes.fromhex("0513" + "0000a040")

    assert ours(octets) == Fraction(5, 1000)
    assert pymbusparser.parse(long_frame(HEADER + octets).hex())["records"][0]["value"]["value"] == 5.0
