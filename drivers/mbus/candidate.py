"""A model file to complete, written from one answer of a meter that no model file knows. Pure.

Every record is in it. What looks like a total that is billed is a register; other energies and volumes are registers
behind `#`; the rest is a line of what the meter said. The answer is the file's proof.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from dataclasses import dataclass
from textwrap import wrap
from typing import TYPE_CHECKING, Literal

from drivers.mbus.frame import FrameError
from drivers.mbus.link import split
from drivers.mbus.media import MEDIA
from drivers.mbus.model import MBusRegister, register_value
from drivers.mbus.no_value import stands_for
from drivers.mbus.telegram import decode
from gateway.ports.field import OrderRefusedError, WrongAnswerError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from drivers.mbus.records import Record
    from drivers.mbus.telegram import Header

Kind = Literal["energy", "volume"]
_KINDS: dict[str, Kind] = {"Energy": "energy", "Volume": "volume"}
_UNITS = {"Wh": ("kWh", 3), "J": ("MJ", 6), "m3": ("m3", 0)}
"""unit of a record -> the one that is delivered, and how many powers of ten it is larger"""
_MAKER = re.compile(r"[A-Z]{3}")
_EXPORT = "3c"
_DIRECTIONS = frozenset({"3b", _EXPORT})
"""extensions that say which way an energy went (M-Bus documentation 4.8, 8.4.5)"""
_REAL = 0x05
"""data field of floats: they have no step, so no exponent either"""
_GAS, _HEAT_AND_COOLING = 0x03, 0x0D
_COOLING = frozenset({0x0A, 0x0B})
_HEAT = frozenset({0x04, 0x05, 0x0C, _HEAT_AND_COOLING})
_WARM_WATER = frozenset({0x06, 0x15})
_LINE = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class _Place:
    """A record, and which of those with the same name it is."""

    record: Record
    occurrence: int


def model_file(octets: bytes, source: str) -> str:
    """The text of a model file from the telegrams of one answer; `source` says where it was captured.

    OrderRefusedError where none can be written: the octets cannot be read, or do not say who made the meter.
    """
    header, places = _read(octets)
    registers = _registers(places, header.medium or 0)
    records = [place.record for place in places]
    parts, expect, aside = [_head(header)], [f'serial = "{header.id}"', f"status = {header.status or 0}"], []
    for place, register in zip(places, registers, strict=True):
        if register is None:
            aside.append(f"# {_said(place.record)}")
            continue
        index = f'{register.key} = "{register_value(register, records).index}"'
        if _is_total(place):
            parts.append(_table(register, place.record))
            expect.append(index)
        else:
            parts.append(_behind_mark(f"{_table(register, place.record)}\n{index} # into expect"))
    if aside:
        parts.append("\n".join(["# What else it said, behind the bytes that name each record:", *aside]))
    return "\n\n".join([*parts, _proof(octets, source, expect)]) + "\n"


def _read(octets: bytes) -> tuple[Header, Sequence[_Place]]:
    try:
        telegrams = [decode(frame) for frame in split(octets)]
    except FrameError as error:
        message = f"no model file can be written from this answer: {error}"
        raise OrderRefusedError(message) from error
    header = telegrams[0].header
    if _MAKER.fullmatch(header.manufacturer or "") is None:
        message = "no model file can be written: the answer does not say who made the meter, by which it is recognised"
        raise OrderRefusedError(message)
    return header, _places(record for telegram in telegrams for record in telegram.records)


def _places(records: Iterable[Record]) -> Sequence[_Place]:
    seen: list[Record] = []
    places = []
    for record in records:
        before = sum(stands_for(record.meaning.dib_vib, each) for each in seen)
        places.append(_Place(record=record, occurrence=before))
        seen.append(record)
    return places


def _registers(places: Sequence[_Place], medium: int) -> list[MBusRegister | None]:
    keys: Counter[str] = Counter()
    registers = []
    for place in places:
        register = _register(place, medium)
        if register is not None:
            keys[register.key] += 1
            if keys[register.key] > 1:
                register = register.model_copy(update={"key": f"{register.key}-{keys[register.key]}"})
        registers.append(register)
    return registers


def _register(place: _Place, medium: int) -> MBusRegister | None:
    """The register that stands in this record; None where it is no energy or volume, or holds no value."""
    meaning = place.record.meaning
    kind = _KINDS.get(meaning.quantity)
    unit, power = _UNITS.get(meaning.unit, ("", 0))
    if kind is None or not unit or meaning.dib_vib[0] & 0x0F == _REAL:
        return None
    register = MBusRegister(
        key=_key(place.record, kind, medium),
        kind=kind,
        dib_vib=meaning.dib_vib.hex(),
        occurrence=place.occurrence,
        unit=unit,
        exponent=meaning.exponent - power,
        obis=_obis(place.record, kind, medium),
    )
    try:
        register_value(register.model_copy(update={"occurrence": 0}), [place.record])
    except WrongAnswerError:
        return None
    return register


def _is_total(place: _Place) -> bool:
    meaning = place.record.meaning
    return (
        meaning.function == "Instantaneous value"
        and not (place.occurrence or meaning.storage or meaning.tariff or meaning.subunit)
        and _DIRECTIONS.issuperset(meaning.vif_ext)
    )


def _key(record: Record, kind: Kind, medium: int) -> str:
    tariff = f"-t{record.meaning.tariff}" if record.meaning.tariff else ""
    if kind == "volume":
        return f"volume{tariff}"
    outwards = _EXPORT in record.meaning.vif_ext
    if medium in _COOLING or (medium == _HEAT_AND_COOLING and outwards):
        return f"cooling{tariff}"
    if medium in _HEAT:
        return f"heat{tariff}"
    return f"{'export' if outwards else 'import'}{tariff}"


def _obis(record: Record, kind: Kind, medium: int) -> str:
    """By IEC 62056-61 and EN 13757-1: a guess, as the medium is all that the meter says."""
    key = _key(record, kind, medium).partition("-")[0]
    if kind == "energy":
        group, what = {"import": (1, "1.8"), "export": (1, "2.8"), "cooling": (5, "1.0"), "heat": (6, "1.0")}[key]
    elif medium in _HEAT | _COOLING:
        group, what = (5 if medium in _COOLING else 6), "2.0"
    elif medium == _GAS:
        group, what = 7, "3.0"
    else:
        group, what = (9 if medium in _WARM_WATER else 8), "1.0"
    return f"{group}-{record.meaning.subunit % 256}:{what}.{record.meaning.tariff % 256}"


# text


def _head(header: Header) -> str:
    return f"""\
# To be completed: the maker's names of the device in `models`. Look at each register, and remove what is not billed.
# What is removed or added there is removed or added in `expect`, too. Lines behind # count for nothing.
protocol = "mbus"
make = "{header.manufacturer}" # the maker's name in full
models = [] # such as ["CF 55"]
# read_budget_per_day = 300 # where it has a battery: reads a day by primary address,
# selections_per_day = 90 # and by secondary address
# unbilled = "why nothing that it sends is billed" # instead of registers

[identity]
manufacturer = "{header.manufacturer}"
medium = {header.medium} # {MEDIA.get(header.medium or 0, "reserved")}
version = {header.version}"""


def _table(register: MBusRegister, record: Record) -> str:
    occurrence = [f"occurrence = {register.occurrence}"] if register.occurrence else []
    return "\n".join(
        [
            f"# {_said(record)}",
            "[[register]]",
            f'key = "{register.key}"',
            f'kind = "{register.kind}"',
            f'dib_vib = "{register.dib_vib}"',
            *occurrence,
            f'unit = "{register.unit}"',
            f"exponent = {register.exponent}",
            f'obis = "{register.obis}" # a guess',
        ]
    )


def _behind_mark(text: str) -> str:
    return "\n".join(line if line.startswith("#") else f"# {line}" for line in text.splitlines())


def _said(record: Record) -> str:
    meaning = record.meaning
    value = json.dumps(record.value) if record.kind == "text" else f"{record.value} {meaning.unit}".strip()
    where = [f"{name} {getattr(meaning, name)}" for name in ("storage", "tariff", "subunit") if getattr(meaning, name)]
    extensions = [f"extensions {' '.join(meaning.vif_ext)}"] if meaning.vif_ext else []
    aside = ", ".join([meaning.function, *where, *extensions])
    return f"{meaning.dib_vib.hex()} {meaning.quantity}: {value or 'no value'} ({aside})"


def _proof(octets: bytes, source: str, expect: Sequence[str]) -> str:
    raw = "\n".join(line for frame in split(octets) for line in wrap(frame.hex(), _LINE))
    return f"""\
[[proof]]
origin = "captured"
source = {json.dumps(source)}
raw = \"\"\"
{raw}
\"\"\"
expect = {{ {", ".join(expect)} }}"""
