"""What the value information field says: quantity, unit, decimal exponent and how to read the value.

M-Bus documentation 4.8, 8.4.3 (primary), 8.4.4 a (extension FD) and b (extension FB); entries of EN 13757-3:2013
that the documentation leaves reserved are marked. All values are given in base units: Wh, J, W, J/h, m3, kg, s ...
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Form = Literal["signed", "unsigned", "point", "octets"]
"""binary as a signed or unsigned number, as a point in time, or as several things at once that are no number"""
_SECONDS = (1, 60, 3600, 86400)


@dataclass(frozen=True, slots=True, kw_only=True)
class Vif:
    """One entry of a table: a count is worth `factor * 10**exponent` of `unit`."""

    quantity: str
    unit: str = ""
    exponent: int = 0
    factor: int = 1
    form: Form = "signed"


RESERVED = Vif(quantity="Reserved")
ANY = Vif(quantity="Any VIF")
MANUFACTURER = Vif(quantity="Manufacturer specific")


def _scale(first: int, exponents: range, quantity: str, unit: str) -> dict[int, Vif]:
    return {
        first + step: Vif(quantity=quantity, unit=unit, exponent=exponent) for step, exponent in enumerate(exponents)
    }


def _durations(first: int, quantity: str, factors: tuple[int, ...] = _SECONDS) -> dict[int, Vif]:
    return {first + step: Vif(quantity=quantity, unit="s", factor=factor) for step, factor in enumerate(factors)}


def _months_years(first: int, quantity: str) -> dict[int, Vif]:
    """Months and years have no fixed length: they are not turned into seconds."""
    return {first: Vif(quantity=quantity, unit="months"), first + 1: Vif(quantity=quantity, unit="years")}


def _named(first: int, *quantities: str, form: Form = "signed") -> dict[int, Vif]:
    return {first + step: Vif(quantity=quantity, form=form) for step, quantity in enumerate(quantities)}


def _table(entries: dict[int, Vif]) -> tuple[Vif, ...]:
    return tuple(entries.get(code, RESERVED) for code in range(128))


PRIMARY = _table(
    _scale(0x00, range(-3, 5), "Energy", "Wh")
    | _scale(0x08, range(8), "Energy", "J")
    | _scale(0x10, range(-6, 2), "Volume", "m3")
    | _scale(0x18, range(-3, 5), "Mass", "kg")
    | _durations(0x20, "On time")
    | _durations(0x24, "Operating time")
    | _scale(0x28, range(-3, 5), "Power", "W")
    | _scale(0x30, range(8), "Power", "J/h")
    | _scale(0x38, range(-6, 2), "Volume flow", "m3/h")
    | _scale(0x40, range(-7, 1), "Volume flow", "m3/min")
    | _scale(0x48, range(-9, -1), "Volume flow", "m3/s")
    | _scale(0x50, range(-3, 5), "Mass flow", "kg/h")
    | _scale(0x58, range(-3, 1), "Flow temperature", "°C")
    | _scale(0x5C, range(-3, 1), "Return temperature", "°C")
    | _scale(0x60, range(-3, 1), "Temperature difference", "K")
    | _scale(0x64, range(-3, 1), "External temperature", "°C")
    | _scale(0x68, range(-3, 1), "Pressure", "bar")
    | _named(0x6C, "Time point (date)", "Time point (date & time)", form="point")
    | {0x6E: Vif(quantity="H.C.A.", unit="Units for H.C.A.")}
    | _durations(0x70, "Averaging Duration")
    | _durations(0x74, "Actuality Duration")
    | _named(0x78, "Fabrication No", "(Enhanced) Identification", "Bus Address", form="unsigned")
    | {0x7E: ANY, 0x7F: MANUFACTURER},
)

FD = _table(
    _scale(0x00, range(-3, 1), "Credit", "Currency units")
    | _scale(0x04, range(-3, 1), "Debit", "Currency units")
    | _named(0x08, "Access Number (transmission count)", "Medium", "Manufacturer", form="unsigned")
    | _named(0x0B, "Parameter set identification", "Model / Version")
    | _named(0x0D, "Hardware version", "Firmware version", "Software version")
    | _named(0x10, "Customer location", "Customer", "Access Code User", "Access Code Operator")
    | _named(0x14, "Access Code System Operator", "Access Code Developer", "Password")
    | _named(0x17, "Error flags", "Error mask", form="unsigned")
    | _named(0x1A, "Digital Output", "Digital Input", form="unsigned")
    | {0x1C: Vif(quantity="Baudrate", unit="Baud", form="unsigned")}
    | {0x1D: Vif(quantity="Response delay time", unit="Bittimes")}
    | _named(0x1E, "Retry", "Remote control")  # 1F: 13757-3:2013
    | _named(0x20, "First storage # for cyclic storage", "Last storage # for cyclic storage", "Size of storage block")
    | _durations(0x24, "Storage interval")
    | _months_years(0x28, "Storage interval")
    | {0x2A: Vif(quantity="Operator specific data"), 0x2B: Vif(quantity="Time point second", unit="s")}  # 13757-3:2013
    | _durations(0x2C, "Duration since last readout")
    | _named(0x30, "Start of tariff", form="point")
    | _durations(0x31, "Duration of tariff", _SECONDS[1:])
    | _durations(0x34, "Period of tariff")
    | _months_years(0x38, "Period of tariff")
    | _named(0x3A, "Dimensionless", "Data container for wireless M-Bus")  # 3B: 13757-3:2013
    | _durations(0x3C, "Period of nominal data transmissions")  # 13757-3:2013
    | _scale(0x40, range(-9, 7), "Voltage", "V")
    | _scale(0x50, range(-12, 4), "Current", "A")
    | _named(0x60, "Reset counter", "Cumulation counter", "Control signal", "Day of week", "Week number")
    | _named(0x65, "Time point of day change", form="point")
    | _named(0x66, "State of parameter activation", "Special supplier information")
    | _durations(0x68, "Duration since last cumulation", _SECONDS[2:])
    | _months_years(0x6A, "Duration since last cumulation")
    | _durations(0x6C, "Operating time battery", _SECONDS[2:])
    | _months_years(0x6E, "Operating time battery")
    | _named(0x70, "Date and time of battery change", form="point")
    # from here on 13757-3:2013
    | {0x71: Vif(quantity="Received signal strength", unit="dBm")}
    | _named(0x72, "Day light saving", "Listening window", form="octets")  # types K and L
    | _durations(0x74, "Remaining battery life time", _SECONDS[3:])
    | _named(0x75, "Number of times the meter was stopped", "Manufacturer specific data container"),
)

FB = _table(
    _scale(0x00, range(5, 7), "Energy", "Wh")
    | _scale(0x02, range(3, 5), "Reactive energy", "varh")  # 13757-3:2013
    | _scale(0x04, range(3, 5), "Apparent energy", "VAh")  # 13757-3:2013
    | _scale(0x08, range(8, 10), "Energy", "J")
    | _scale(0x0C, range(5, 9), "Energy", "cal")  # 13757-3:2013
    | _scale(0x10, range(2, 4), "Volume", "m3")
    | _scale(0x14, range(4), "Reactive power", "var")  # 13757-3:2013
    | _scale(0x18, range(5, 7), "Mass", "kg")
    | _scale(0x1A, range(-1, 1), "Relative humidity", "%")  # 13757-3:2013
    | _scale(0x20, range(0, -2, -1), "Volume", "feet3")  # 20: 13757-3:2013
    | _scale(0x22, range(-1, 1), "Volume", "American gallon")
    | _scale(0x24, range(-3, -2), "Volume flow", "American gallon/min")
    | _scale(0x25, range(1), "Volume flow", "American gallon/min")
    | _scale(0x26, range(1), "Volume flow", "American gallon/h")
    | _scale(0x28, range(5, 7), "Power", "W")
    | {0x2A: Vif(quantity="Phase U-U", unit="°", exponent=-1), 0x2B: Vif(quantity="Phase U-I", unit="°", exponent=-1)}
    | _scale(0x2C, range(-3, 1), "Frequency", "Hz")  # 13757-3:2013
    | _scale(0x30, range(8, 10), "Power", "J/h")
    | _scale(0x34, range(4), "Apparent power", "VA")  # 13757-3:2013
    | _scale(0x58, range(-3, 1), "Flow temperature", "°F")
    | _scale(0x5C, range(-3, 1), "Return temperature", "°F")
    | _scale(0x60, range(-3, 1), "Temperature difference", "°F")
    | _scale(0x64, range(-3, 1), "External temperature", "°F")
    | _scale(0x70, range(-3, 1), "Cold / Warm Temperature Limit", "°F")
    | _scale(0x74, range(-3, 1), "Cold / Warm Temperature Limit", "°C")
    | _scale(0x78, range(-3, 5), "Cumul count max power", "W"),
)
