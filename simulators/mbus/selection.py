"""Which slaves a selection means. M-Bus documentation 4.8, 7.1: F for any digit, FF in the rest."""

from __future__ import annotations

_ANY = 0xF
_FABRICATION = bytes.fromhex("0c78")
_SECONDARY_LENGTH = 8


def matches(mask: bytes, secondary: bytes, fabrication: str | None) -> bool:
    """Whether a slave feels meant.

    `mask` is number (BCD, least significant byte first), manufacturer, version, medium; perhaps a fabrication number
    record (0C 78 and four bytes BCD) after it, which only a slave with that record can match. `secondary` are the
    slave's own eight octets (four with the fixed structure, which names no manufacturer), `fabrication` its digits.
    """
    head, record = mask[:_SECONDARY_LENGTH], mask[_SECONDARY_LENGTH:]
    if len(head) < _SECONDARY_LENGTH or not secondary or not _secondary(head, secondary):
        return False
    if not record:
        return True
    if fabrication is None or record[:2] != _FABRICATION or len(record) != 6:
        return False
    return _digits(record[2:], bytes.fromhex(fabrication.rjust(8, "0"))[::-1])


def _secondary(mask: bytes, own: bytes) -> bool:
    manufacturer = mask[4:6] == b"\xff\xff" or mask[4:6] == own[4:6]
    rest = all(asked == 0xFF or own[i : i + 1] == bytes([asked]) for i, asked in enumerate(mask[6:], 6))
    return manufacturer and rest and _digits(mask[:4], own[:4])


def _digits(mask: bytes, own: bytes) -> bool:
    return all(
        asked >> shift & 0xF in {_ANY, there >> shift & 0xF}
        for asked, there in zip(mask, own, strict=True)
        for shift in (0, 4)
    )
