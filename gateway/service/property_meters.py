"""The tables [[meter]] and [[register]] of property.toml: what counts, and how much it can count."""

from __future__ import annotations

from typing import cast

from pydantic import Field, ValidationInfo, field_validator

from gateway.core.capacity import per_day, unfit
from gateway.core.metering import EnergySource, Limit, bare_serial
from gateway.core.units import Scaled
from gateway.service.property_entity import Entity, Fact
from gateway.service.property_fields import (
    SINCE_EVER,
    Exchanges,
    Id,
    Limited,
    Number,
    Positive,
    Resolution,
    Text,
    Unit,
)


class Meter(Entity):
    """A device of the settings."""

    table = "meter"
    id: Id = Field(examples=["power-1"])
    facility: Id = Field(examples=["sonnenhof"])
    name: Text
    serial: Text | None = None

    def facts(self) -> frozenset[Fact]:
        """Where it is, and whose readings are billed."""
        return frozenset({(SINCE_EVER, (self.facility, bare_serial(self.serial or "")))})


class Register(Entity):
    """One counter of a meter."""

    table = "register"
    id: Id = Field(examples=["power-1-import"])
    meter: Id = Field(examples=["power-1"])
    key: Text = Field(examples=["import"])
    energy_source: EnergySource
    unit: Unit
    resolution: Resolution
    fuse: Limited | None = Field(default=None, examples=["3x63 A"])
    pipe: Limited | None = Field(default=None, examples=["Q3 2.5"])
    power: Limited | None = Field(default=None, examples=["15 kW"])
    max_per_day: Positive | None = Field(default=None, examples=["500"], validate_default=True)
    modulus: Positive | None = None
    backflow: Number | None = None
    exchanges: Exchanges | None = None

    @field_validator("fuse", "pipe", "power")
    @classmethod
    def _limits_such_a_register(cls, text: str | None, info: ValidationInfo) -> str | None:
        known = text is not None and {"energy_source", "unit"} <= set(info.data)
        if known and (why := unfit(cast("Limit", info.field_name), info.data["energy_source"], info.data["unit"])):
            raise ValueError(why)
        return text

    @field_validator("modulus")
    @classmethod
    def _is_more_than_a_step(cls, number: Scaled | None, info: ValidationInfo) -> Scaled | None:
        step = info.data.get("resolution")
        if number is not None and step is not None and number <= step:
            message = f"{number} is not more than one step of its resolution, {step}; write where the counter restarts"
            raise ValueError(message)
        return number

    @field_validator("max_per_day")
    @classmethod
    def _limited_once(cls, number: Scaled | None, info: ValidationInfo) -> Scaled | None:
        given = [key for key in LIMITS if info.data.get(key) is not None] + ["max_per_day"] * (number is not None)
        if len(given) > 1:
            message = f"{' and '.join(given)} say the same thing; keep one of them"
            raise ValueError(message)
        if not given and set(LIMITS[:-1]) <= set(info.data):  # one that has a mistake is told by itself
            message = f"how much it can count in a day is missing; write {_LIMITED}"
            raise ValueError(message)
        return number

    @property
    def limit(self) -> tuple[Limit, str]:
        """The key that says how much can flow, and what it says."""
        return next((key, str(value)) for key in LIMITS if (value := getattr(self, key)) is not None)

    @property
    def most_per_day(self) -> Scaled:
        """The most that it can count in a day, in its unit."""
        key, text = self.limit
        return Scaled.parse(text) if self.max_per_day is not None else per_day(key, text, self.unit)

    def facts(self) -> frozenset[Fact]:
        """All of it, since ever: it says how every index is to be read."""
        return frozenset({(SINCE_EVER, (self.most_per_day, *(getattr(self, name) for name in _COUNTING)))})


LIMITS: tuple[Limit, ...] = ("fuse", "pipe", "power", "max_per_day")
"""keys of a register, of which it has exactly one"""
_LIMITED = 'e.g. fuse = "3x63 A", pipe = "Q3 2.5", power = "15 kW" or max_per_day = "500"'
_COUNTING = ("meter", "key", "energy_source", "unit", "resolution", "modulus", "backflow", "exchanges")
