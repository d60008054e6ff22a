"""Readings of registers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from datetime import datetime

    from gateway.core.units import Scaled

Origin = Literal["measured", "stored", "manual", "substituted"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """The index of one register at one instant."""

    meter: str
    register: str
    """key of the register in the meter's model"""
    at: datetime
    index: Scaled
    unit: str
    obis: str = ""
    serial: str = ""
    status: int = 0
    origin: Origin = "measured"
    clock_trusted: bool = True
    boot: str = ""
