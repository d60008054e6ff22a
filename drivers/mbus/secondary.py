"""Secondary addresses: which meters a selection means, and whose answer a telegram is. Pure.

M-Bus documentation 4.8, 7.1: a digit F of the number, FFFF of the manufacturer and FF of version and medium fit all.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from drivers.mbus import fixed

SELECTED = 0xFD
"""the primary address by which the selected meter is spoken to"""
ANY_NUMBER = "ffffffff"
_ANY_MAKER, _ANY = 0xFFFF, 0xFF
_TEXT = re.compile(r"[0-9a-f]{8}([0-9a-f]{8})?", re.IGNORECASE)
_LONG_HEADERS: dict[int, Literal["little", "big"]] = {0x72: "little", 0x76: "big"}
_FIXED = {0x73: False, 0x77: True}
"""CI of the fixed structure -> whether the most significant octet comes first"""
FABRICATION = b"\x0c\x78"
"""names the record with the fabrication number, in a selection and in an answer"""


class SecondaryError(ValueError):
    """The text is no secondary address. It says what to write."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """Whose telegram it is, by its own header; None where the header does not say."""

    number: str
    """8 digits"""
    manufacturer: int | None
    version: int | None
    medium: int

    def __str__(self) -> str:
        """The 16 digits that select this meter; wildcards for what it does not say."""
        return str(
            Pattern(
                number=self.number,
                manufacturer=_ANY_MAKER if self.manufacturer is None else self.manufacturer,
                version=_ANY if self.version is None else self.version,
                medium=_ANY if self.manufacturer is None else self.medium,
            )
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Pattern:
    """Which meters are selected."""

    number: str = ANY_NUMBER
    """8 digits, the most significant first; f stands for any"""
    manufacturer: int = _ANY_MAKER
    version: int = _ANY
    medium: int = _ANY
    fabrication: str | None = None
    """8 digits of the enhanced selection, f for any; None: not asked for"""

    @property
    def octets(self) -> bytes:
        """The user data of the selection, behind the CI field."""
        number, maker = bytes.fromhex(self.number)[::-1], self.manufacturer.to_bytes(2, "little")
        plain = number + maker + bytes([self.version, self.medium])
        return plain if self.fabrication is None else plain + FABRICATION + bytes.fromhex(self.fabrication)[::-1]

    def objection(self, user_data: bytes) -> str | None:
        """Why this answer is not of a meter that was selected; None where it is."""
        found = identity(user_data)
        if found is None:
            return "the answer does not say whose it is; give this meter's primary address"
        fits = (
            all(wanted in ("f", digit) for wanted, digit in zip(self.number, found.number, strict=True))
            and self.manufacturer in (_ANY_MAKER, found.manufacturer)
            and self.version in (_ANY, found.version)
            and self.medium in (_ANY, found.medium)
        )
        return None if fits else f"the answer comes from the meter {found}"

    def __str__(self) -> str:
        """16 digits: the number as it is printed on the meter, then manufacturer, version and medium as sent."""
        rest = self.manufacturer.to_bytes(2, "little") + bytes([self.version, self.medium])
        text = (self.number + rest.hex()).upper()
        return text if self.fabrication is None else f"{text} (fabrication number {self.fabrication})"


def parse(text: str, fabrication: str | None = None) -> Pattern:
    """The pattern of 8 digits, or of 16 as the search prints them; SecondaryError for other texts."""
    if not _TEXT.fullmatch(text):
        message = (
            f'"{text}" is no secondary address; write the 8 digits of the number, or the 16 digits that'
            " `submeter scan` prints"
        )
        raise SecondaryError(message)
    rest = bytes.fromhex(text[8:] or "ffffffff")
    return Pattern(
        number=text[:8].lower(),
        manufacturer=int.from_bytes(rest[:2], "little"),
        version=rest[2],
        medium=rest[3],
        fabrication=fabrication,
    )


def identity(user_data: bytes) -> Identity | None:
    """Who sends this answer (from the CI field on); None where it has neither the long header nor the fixed one."""
    ci, octets = user_data[0] if user_data else 0, user_data[1:]
    if ci in _LONG_HEADERS and len(octets) >= 12:
        order = _LONG_HEADERS[ci]
        return Identity(
            number=_number(octets, most_significant_first=order == "big"),
            manufacturer=int.from_bytes(octets[4:6], order),
            version=octets[6],
            medium=octets[7],
        )
    if ci in _FIXED and len(octets) == fixed.LENGTH:
        number = _number(octets, most_significant_first=_FIXED[ci])
        return Identity(number=number, manufacturer=None, version=None, medium=fixed.medium(octets))
    return None


def _number(octets: bytes, *, most_significant_first: bool) -> str:
    return (octets[:4] if most_significant_first else octets[3::-1]).hex()
