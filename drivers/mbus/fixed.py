"""The fixed structure, CI 73 and 77 (M-Bus documentation 4.8, 6.2): two counters of four octets."""

from __future__ import annotations

from drivers.mbus import values
from drivers.mbus.frame import USER_DATA_AT, FrameError
from drivers.mbus.records import Meaning, Record
from drivers.mbus.vif import RESERVED, Vif

LENGTH = 16
_COUNTERS_AT, _STATUS_AT, _UNITS_AT, _COUNTER_SIZE = 8, 5, 6, 4
_BINARY, _STORED = 0x01, 0x02
"""bits of the status: counters are signed binary instead of BCD; stored at a fixed date instead of actual"""
_SAME_BUT_HISTORIC = 0x3E


_SCALES = (
    (0x02, 0, "Energy", "Wh"),
    (0x0B, 3, "Energy", "J"),
    (0x14, 0, "Power", "W"),
    (0x1D, 3, "Power", "J/h"),
    (0x26, -6, "Volume", "m3"),
    (0x2F, -6, "Volume flow", "m3/h"),
)
"""first of nine codes, each ten times the one before (8.2, table of the units)"""
_OTHERS = {
    0x00: Vif(quantity="Time (h,m,s)"),
    0x01: Vif(quantity="Date (D,M,Y)"),
    0x38: Vif(quantity="Temperature", unit="°C", exponent=-3),
    0x39: Vif(quantity="H.C.A.", unit="Units for H.C.A."),
    0x3F: Vif(quantity="Dimensionless"),
}
_UNITS = _OTHERS | {
    first + step: Vif(quantity=quantity, unit=unit, exponent=exponent + step)
    for first, exponent, quantity, unit in _SCALES
    for step in range(9)
}


def read_counters(octets: bytes, *, msb_first: bool) -> tuple[Record, ...]:
    """Both counters of the 16 octets behind the CI field; FrameError for another length."""
    if len(octets) != LENGTH:
        message = f"the fixed structure has {LENGTH} octets, not {len(octets)}"
        raise FrameError(message, USER_DATA_AT + 1 + min(len(octets), LENGTH))
    codes = [unit & 0x3F for unit in octets[_UNITS_AT:_COUNTERS_AT]]
    return tuple(_counter(octets, number, codes, msb_first=msb_first) for number in range(2))


def medium(octets: bytes) -> int:
    """The medium: the two highest bits of each unit octet."""
    return octets[_UNITS_AT] >> 6 | octets[_UNITS_AT + 1] >> 6 << 2


def _counter(octets: bytes, number: int, codes: list[int], *, msb_first: bool) -> Record:
    status = octets[_STATUS_AT]
    historic = codes[number] == _SAME_BUT_HISTORIC
    code = codes[1 - number] if historic else codes[number]
    unit = _UNITS.get(code, RESERVED)
    start = _COUNTERS_AT + number * _COUNTER_SIZE
    data = octets[start : start + _COUNTER_SIZE]
    read = values.binary if status & _BINARY and code > 0x01 else values.bcd
    kind, value = read(data[::-1] if msb_first else data, unit.form, unit.factor, unit.exponent)
    if code <= 0x01:
        kind, value = values.hexadecimal(data[::-1] if msb_first else data)
    return Record(_meaning(code, unit, stored=historic or bool(status & _STORED), historic=historic), data, kind, value)


def _meaning(code: int, unit: Vif, *, stored: bool, historic: bool) -> Meaning:
    return Meaning(
        dib_vib=bytes([0, code]),
        function="Stored value" if stored else "Actual value",
        storage=0,
        tariff=0,
        subunit=0,
        quantity=unit.quantity,
        unit=unit.unit,
        form=unit.form,
        factor=unit.factor,
        exponent=unit.exponent,
        offset=None,
        vif_ext=("hist",) if historic else (),
        record_error=False,
    )
