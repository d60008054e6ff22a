"""Whether two meters of one line may be one and the same device, by what their settings say. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from drivers.mbus.model import MBusModel
    from drivers.mbus.secondary import Pattern
    from drivers.mbus.settings import MeterSettings

_ANY_MAKER, _ANY = 0xFFFF, 0xFF


def same_device(one: MeterSettings, other: MeterSettings) -> tuple[str, str] | None:
    """A key of the other's settings, and why it does not keep the two apart; None where they are two devices."""
    if one.address is not None and one.address == other.address:
        return "address", f"it has address {one.address} too; give each its own"
    mine, theirs = _pattern(one), _pattern(other)
    if mine is not None and theirs is not None and mine.fabrication and mine.fabrication == theirs.fabrication:
        return "fabrication", "it has the same fabrication number; give each its own"
    if _apart(mine, theirs):
        return None
    if one.secondary is not None and other.secondary is not None:
        return "secondary", "this selects it too; give each the 16 digits that `submeter scan` prints"
    number = _number(other)
    if number is not None and number == _number(one) and _overlap(one.known, other.known):
        key = "secondary" if other.serial is None else "serial"
        return key, f"it has the number {number} too; give each its own"
    return None


def _pattern(meter: MeterSettings) -> Pattern | None:
    return None if isinstance(meter.asked, int) else meter.asked


def _apart(one: Pattern | None, other: Pattern | None) -> bool:
    """Whether no device fits both selections."""
    if one is None or other is None:
        return False
    return (
        ("f" not in one.number + other.number and one.number != other.number)
        or _differ(one.manufacturer, other.manufacturer, _ANY_MAKER)
        or _differ(one.version, other.version, _ANY)
        or _differ(one.medium, other.medium, _ANY)
        or _differ(one.fabrication, other.fabrication, None)
    )


def _differ(one: object, other: object, wildcard: object) -> bool:
    return wildcard not in (one, other) and one != other


def _number(meter: MeterSettings) -> str | None:
    if meter.serial is not None:
        return meter.serial.zfill(8)
    return None if meter.secondary is None else meter.secondary[:8].lower()


def _overlap(one: MBusModel, other: MBusModel) -> bool:
    """Whether one answer may be believed by both models."""
    mine, theirs = one.identity, other.identity
    return (mine.manufacturer, mine.medium) == (theirs.manufacturer, theirs.medium) and not _differ(
        mine.version, theirs.version, None
    )
