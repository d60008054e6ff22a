"""Records of the variable structure: DIF, DIFE, VIF, VIFE and data (M-Bus documentation 4.8, chapters 6.3 and 8.4)."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

from drivers.mbus import values
from drivers.mbus.frame import USER_DATA_AT, FrameError
from drivers.mbus.vif import FB, FD, MANUFACTURER, PRIMARY, RESERVED, Form, Vif
from gateway.core.units import Scaled

if TYPE_CHECKING:
    from collections.abc import Callable

MOST_EXTENSIONS = 10
_SIZES = (0, 1, 2, 3, 4, 4, 6, 8, 0, 1, 2, 3, 4, 0, 6)
"""octets of data by the data field, the low nibble of the DIF"""
_READ = (
    *(values.nothing, values.binary, values.binary, values.binary, values.binary, values.real, values.binary),
    *(values.binary, values.nothing, values.bcd, values.bcd, values.bcd, values.bcd, values.nothing, values.bcd),
)
_LVAR, _SPECIAL, _FILLER, _MANUFACTURER, _MORE = 0x0D, 0x0F, 0x2F, 0x0F, 0x1F
_PLAIN_TEXT = 0x7C
_FUNCTIONS = ("Instantaneous value", "Maximum value", "Minimum value", "Value during error state")
_PRINTABLE = frozenset(range(0x20, 0x7F)) | frozenset(range(0xA0, 0x100))


@dataclass(frozen=True, slots=True, kw_only=True)
class Meaning:
    """What DIB and VIB say about the data that follow."""

    dib_vib: bytes
    function: str
    storage: int
    tariff: int
    subunit: int
    quantity: str
    unit: str
    form: Form
    factor: int
    exponent: int
    offset: Scaled | None
    """additive correction constant"""
    vif_ext: tuple[str, ...]
    record_error: bool
    """the meter itself says that the data are no value (8.4.7)"""


class Record(NamedTuple):
    """One record: what it means, its data as sent and the value read out of them."""

    meaning: Meaning
    data: bytes
    """without the length octet of variable data, which counts as the end of `dib_vib`"""
    kind: values.Kind
    value: Scaled | str


def read_records(octets: bytes, start: int = 0, *, msb_first: bool = False) -> tuple[Record, ...]:
    """All records of the user data from octet `start` on.

    The last record has the DIB 1F where a further telegram follows. FrameError where they end too early or hold
    something that no meter may send; its offset is that of the frame which the user data are in.
    """
    records = []
    end = len(octets)
    while start < end:
        if octets[start] == _FILLER:
            start += 1
            continue
        if octets[start] & 0x0F == _SPECIAL:
            records.append(_manufacturer_data(octets, start))
            break
        record, start = _known(octets, start, msb_first=msb_first) or _record(octets, start, msb_first=msb_first)
        records.append(record)
    return tuple(records)


class _Plan(NamedTuple):
    """How to read the records of fixed length that one DIB and VIB begin."""

    meaning: Meaning
    size: int
    read: Callable[[bytes, Form, int, int], values.Value]
    arguments: tuple[Form, int, int]
    as_it_is: bool
    """the value needs no correction"""


PLANS: dict[bytes, _Plan] = {}
"""of what was read before: a meter sends the same DIB and VIB at every poll"""
MOST_PLANS = 2048


def _known(octets: bytes, start: int, *, msb_first: bool) -> tuple[Record, int] | None:
    """The short way for a DIB and VIB that was read before; None where it has to be looked at."""
    at = start
    try:
        while octets[at] & 0x80:
            at += 1
        at += 1
        while octets[at] & 0x80:
            at += 1
    except IndexError:
        return None
    at += 1
    plan = PLANS.get(octets[start:at])
    if plan is None:
        return None
    meaning, size, read, arguments, as_it_is = plan
    end = at + size
    if end > len(octets):
        return None
    data = octets[at:end]
    kind, value = read(data[::-1] if msb_first else data, *arguments)
    return (Record(meaning, data, kind, value) if as_it_is else _corrected(meaning, data, kind, value)), end


def _plan(meaning: Meaning, data_field: int) -> _Plan:
    as_it_is = meaning.offset is None and not meaning.record_error
    arguments = meaning.form, meaning.factor, meaning.exponent
    return _Plan(meaning, _SIZES[data_field], _READ[data_field], arguments, as_it_is)


def _manufacturer_data(octets: bytes, start: int) -> Record:
    dif, data = octets[start], octets[start + 1 :]
    if dif not in (_MANUFACTURER, _MORE):
        message = f"DIF {dif:02x} is reserved"
        raise FrameError(message, USER_DATA_AT + start)
    return Record(_MORE_RECORDS if dif == _MORE else _MANUFACTURER_DATA, data, "hex", data.hex())


def _record(octets: bytes, start: int, *, msb_first: bool) -> tuple[Record, int]:
    data_field = octets[start] & 0x0F
    try:
        codes, label, at = _codes(octets, start, msb_first=msb_first)
        if data_field == _LVAR:
            return _variable_length(octets, at, meaning_of(codes, octets[start : at + 1], label), msb_first=msb_first)
    except IndexError:
        raise _ended(octets, start) from None
    end = at + _SIZES[data_field]
    if end > len(octets):
        raise _ended(octets, start)
    data = octets[at:end]
    meaning = meaning_of(codes, octets[start:at], label)
    plan = _plan(meaning, data_field)
    if codes == meaning.dib_vib:  # no text in it, which ends where it says itself
        if len(PLANS) >= MOST_PLANS:
            PLANS.clear()
        PLANS[codes] = plan
    kind, value = plan.read(data[::-1] if msb_first else data, *plan.arguments)
    return _corrected(meaning, data, kind, value), end


def _ended(octets: bytes, start: int) -> FrameError:
    return FrameError(f"the telegram ends inside the record {octets[start:].hex()}", USER_DATA_AT + len(octets))


def _codes(octets: bytes, start: int, *, msb_first: bool) -> tuple[bytes, str, int]:
    """DIB and VIB without plain text, the plain text, and the place behind them."""
    vif_at = _chain_end(octets, start, "DIFE")
    if octets[vif_at] & 0x7F == _PLAIN_TEXT:
        return _plain_text(octets, start, vif_at, msb_first=msb_first)
    at = _chain_end(octets, vif_at, "VIFE")
    return octets[start:at], "", at


def _chain_end(octets: bytes, start: int, name: str, most: int = MOST_EXTENSIONS) -> int:
    """The place behind a DIF or VIF and its extensions; without the VIF itself `most` is one less."""
    at = start
    while octets[at] & 0x80:
        at += 1
    if at - start > most:
        message = f"more than {MOST_EXTENSIONS} {name} in the record {octets[start:].hex()}"
        raise FrameError(message, USER_DATA_AT + start + most + 1)
    return at + 1


def _plain_text(octets: bytes, start: int, vif_at: int, *, msb_first: bool) -> tuple[bytes, str, int]:
    """VIF 7C: the unit in plain text stands right after the VIF in real meters, in the documentation after the VIFE.

    The first reading is taken wherever it is possible: the text is printable and ends before the telegram does.
    """
    after_vif, behind_chain = vif_at + 1, _chain_end(octets, vif_at, "VIFE")
    label, at = _label(octets, after_vif, msb_first=msb_first)
    if label is not None and octets[vif_at] & 0x80:
        chain_at, at = at, _chain_end(octets, at, "VIFE", MOST_EXTENSIONS - 1)
        return octets[start:after_vif] + octets[chain_at:at], label, at
    if label is None:
        label, at = _label(octets, behind_chain, msb_first=msb_first)
    if label is None:
        message = f"no readable unit in the record {octets[start:].hex()}"
        raise FrameError(message, USER_DATA_AT + after_vif)
    return octets[start:behind_chain], label, at


def _label(octets: bytes, at: int, *, msb_first: bool) -> tuple[str | None, int]:
    end = at + 1 + octets[at]
    text = octets[at + 1 : end]
    if end > len(octets) or not _PRINTABLE.issuperset(text):
        return None, end
    return (text if msb_first else text[::-1]).decode("latin-1"), end


def _variable_length(octets: bytes, at: int, meaning: Meaning, *, msb_first: bool) -> tuple[Record, int]:
    """LVAR: text, BCD, negative BCD, binary (8.4.1); F0 to F6, left open there, as in EN 13757-3:2013, table 5."""
    end = at + 1 + _variable_size(octets[at], at)
    if end > len(octets):
        raise IndexError
    data = octets[at + 1 : end]
    kind, value = _variable_value(octets[at], data[::-1] if msb_first else data, meaning)
    return _corrected(meaning, data, kind, value), end


def _variable_size(lvar: int, at: int) -> int:
    if lvar < 0xC0:
        return lvar
    if lvar < 0xF0:
        return lvar & 0x0F
    size = {0xF0: 16, 0xF1: 20, 0xF2: 24, 0xF3: 28, 0xF4: 32, 0xF5: 48, 0xF6: 64}.get(lvar)
    if size is None:
        message = f"length {lvar:02x} of variable data is reserved"
        raise FrameError(message, USER_DATA_AT + at)
    return size


def _variable_value(lvar: int, data: bytes, meaning: Meaning) -> values.Value:
    if lvar < 0xC0:
        return values.text(data)
    if lvar >= 0xF0:
        return values.hexadecimal(data)
    if not data:
        return values.NO_VALUE
    if lvar >= 0xE0:
        return values.binary(data, meaning.form, meaning.factor, meaning.exponent)
    kind, value = values.bcd(data, meaning.form, meaning.factor, meaning.exponent)
    if lvar >= 0xD0 and isinstance(value, Scaled):
        return kind, -value
    return kind, value


def _corrected(meaning: Meaning, data: bytes, kind: values.Kind, value: Scaled | str) -> Record:
    if meaning.record_error:
        return Record(meaning, data, "invalid", "")
    if meaning.offset is not None and isinstance(value, Scaled):
        value = value + meaning.offset
    return Record(meaning, data, kind, value)


@lru_cache(maxsize=2048)
def meaning_of(codes: bytes, dib_vib: bytes, label: str) -> Meaning:
    """The meaning of a DIB and VIB (`codes`, without the plain text of a VIF 7C, which is `label`)."""
    storage, tariff, subunit, vif_at = _data_information(codes)
    vif, extensions = _value_information(codes[vif_at], codes[vif_at + 1 :], label)
    extended = _Extended(vif)
    extended.apply(extensions)
    return Meaning(
        dib_vib=dib_vib,
        function=_FUNCTIONS[codes[0] >> 4 & 3],
        storage=storage,
        tariff=tariff,
        subunit=subunit,
        quantity=extended.quantity,
        unit=extended.unit,
        form=extended.form,
        factor=extended.factor,
        exponent=extended.exponent,
        offset=extended.offset,
        vif_ext=tuple(extended.names),
        record_error=extended.record_error,
    )


def _data_information(codes: bytes) -> tuple[int, int, int, int]:
    """Storage, tariff, subunit and the place of the VIF (8.4.2)."""
    storage, tariff, subunit = codes[0] >> 6 & 1, 0, 0
    at = 0
    while codes[at] & 0x80:
        extension = codes[at + 1]
        storage |= (extension & 0x0F) << (4 * at + 1)
        tariff |= (extension >> 4 & 3) << (2 * at)
        subunit |= (extension >> 6 & 1) << at
        at += 1
    return storage, tariff, subunit, at + 1


def _value_information(vif: int, extensions: bytes, label: str) -> tuple[Vif, bytes]:
    """The entry of the right table and the combinable extensions that are left."""
    if vif & 0x7F == _PLAIN_TEXT:
        return Vif(quantity=label, unit=label), extensions
    if vif & 0x7F == 0x7F:
        return MANUFACTURER, b""
    if vif == 0xEF or (vif == 0xFD and extensions[0] & 0x7F == 0x7D):
        return RESERVED, b""  # a table that is not ours: what follows means nothing to us
    if vif in (0xFB, 0xFD):
        table = FB if vif == 0xFB else FD
        return table[extensions[0] & 0x7F], extensions[1:]
    return PRIMARY[vif & 0x7F], extensions


class _Extended:
    """A VIF under its combinable extensions (8.4.5), one after the other."""

    def __init__(self, vif: Vif) -> None:
        self.quantity, self.unit, self.form = vif.quantity, vif.unit, vif.form
        self.factor, self.exponent = vif.factor, vif.exponent
        self.offset: Scaled | None = None
        self.names: list[str] = []
        self.record_error = False

    def apply(self, extensions: bytes) -> None:
        from_next_table = False
        for extension in extensions:
            code = extension & 0x7F
            if code == 0x7F:  # what follows is the manufacturer's own
                self.names.append("mfr")
                return
            self.names.append(f"{code:02x}")
            if not from_next_table:
                self._apply_one(code)
            elif code in _UNSIGNED and self.form == "signed":
                self.form = "unsigned"
            from_next_table = code == 0x7C and not from_next_table  # phase, quadrant ...: no other value

    def _apply_one(self, code: int) -> None:
        if 0x01 <= code <= 0x1F:
            self.record_error = True
        elif 0x70 <= code <= 0x77:
            self.exponent += code - 0x76
        elif 0x78 <= code <= 0x7B:
            self.offset = Scaled(self.factor, code - 0x7B)  # of the VIF's unit, without its multiplier
        elif code == 0x7D:
            self.exponent += 3
        elif 0x50 <= code <= 0x67:
            self._becomes("Duration of", Vif(quantity="", unit="s", factor=(1, 60, 3600, 86400)[code & 3]))
        elif code in _DATES:
            self._becomes("Date of", Vif(quantity="", form="point"))
        elif code in (0x41, 0x49):
            self._becomes("Number of exceeds of", Vif(quantity=""))

    def _becomes(self, what: str, other: Vif) -> None:
        self.quantity = f"{what}: {self.quantity}"
        self.unit, self.form = other.unit, other.form
        self.factor, self.exponent = other.factor, other.exponent


_UNSIGNED = frozenset({0x11, 0x12})
"""of the table behind VIFE 7C: data are of type C or D (EN 13757-3:2018)"""
_DATES = frozenset({0x39, 0x42, 0x43, 0x46, 0x47, 0x4A, 0x4B, 0x4E, 0x4F, 0x6A, 0x6B, 0x6E, 0x6F})


def _special(dif: int, function: str) -> Meaning:
    return Meaning(
        dib_vib=bytes([dif]),
        function=function,
        storage=0,
        tariff=0,
        subunit=0,
        quantity="Manufacturer data",
        unit="",
        form="signed",
        factor=1,
        exponent=0,
        offset=None,
        vif_ext=(),
        record_error=False,
    )


_MANUFACTURER_DATA = _special(_MANUFACTURER, "Manufacturer specific")
_MORE_RECORDS = _special(_MORE, "More records follow")
