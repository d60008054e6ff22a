"""The records of a telegram, as far as a slave must tell them apart. M-Bus documentation 4.8, 6.3."""

from __future__ import annotations

from dataclasses import dataclass

_FILLER, _MANUFACTURER, _MORE = 0x2F, 0x0F, 0x1F
_SIZES = (0, 1, 2, 3, 4, 4, 6, 8, 0, 1, 2, 3, 4, None, 6, 0)
"""octets of data by the data field, the low half of the DIF; None: the first octet of the data tells"""
_EXTENDED = 0x80
_TEXT_VIFS = frozenset({0x7C, 0xFC})
_LONG_NUMBERS = (16, 20, 24, 28, 32, 48, 64)
"""octets of a number behind LVAR F0 to F6 (EN 13757-3:2018)"""
GLOBAL_READOUT = 0x7F


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """One record as it stands in the telegram."""

    dib: bytes
    vib: bytes
    data: bytes

    @property
    def octets(self) -> bytes:
        """All of it."""
        return self.dib + self.vib + self.data

    def is_chosen_by(self, chosen: Record) -> bool:
        """Whether a selection for readout means it: the same VIB, and the same DIB but for the data field."""
        alike = chosen.dib[0] & 0xF0 == self.dib[0] & 0xF0 and chosen.dib[1:] == self.dib[1:]
        return alike and chosen.vib in {self.vib, b"\x7e"}


def split(octets: bytes) -> tuple[list[Record], bytes]:
    """The records, without fillers, and what follows them: 0F or 1F and the manufacturer's own data, or nothing."""
    records = []
    at = 0
    while at < len(octets) and octets[at] not in {_MANUFACTURER, _MORE}:
        if octets[at] == _FILLER:
            at += 1
            continue
        record = _record(octets, at)
        records.append(record)
        at += len(record.octets)
    return records, octets[at:]


def with_more_to_come(octets: bytes) -> bytes:
    """The same records with the sign that another telegram follows: DIF 1F."""
    records, rest = split(octets)
    return b"".join(record.octets for record in records) + bytes([_MORE]) + rest[1:]


def _record(octets: bytes, start: int) -> Record:
    vib = _chain_end(octets, start)
    if octets[start] == GLOBAL_READOUT:
        return Record(dib=octets[start:vib], vib=b"", data=b"")
    data = _vib_end(octets, vib)
    size = _SIZES[octets[start] & 0x0F]
    if size is None:
        size = 1 + _variable(octets[data])
    return Record(dib=octets[start:vib], vib=octets[vib:data], data=octets[data : data + size])


def _chain_end(octets: bytes, at: int) -> int:
    while octets[at] & _EXTENDED:
        at += 1
    return at + 1


def _vib_end(octets: bytes, at: int) -> int:
    """A unit in plain text stands right behind its VIF, as in the captured telegrams."""
    if octets[at] not in _TEXT_VIFS:
        return _chain_end(octets, at)
    behind = at + 2 + octets[at + 1]
    return _chain_end(octets, behind) if octets[at] & _EXTENDED else behind


def _variable(length: int) -> int:
    """Octets behind an LVAR: a text below C0, then numbers."""
    if length < 0xC0:
        return length
    return length & 0x0F if length < 0xF0 else _LONG_NUMBERS[length - 0xF0]
