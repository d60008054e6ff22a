"""What the tables of property.toml are made of: ids, exact numbers, days, and what holds from a day on."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime
from difflib import get_close_matches
from itertools import pairwise
from typing import TYPE_CHECKING, Annotated, Any, cast
from zoneinfo import ZoneInfo, available_timezones

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    PlainValidator,
    ValidationInfo,
    model_validator,
)

from gateway.core.access import SEALED, canonical_identifier
from gateway.core.capacity import per_day
from gateway.core.problem import cut
from gateway.core.tariff import TaxCategory
from gateway.core.units import UNITS, Scaled
from gateway.service.currencies import CURRENCIES

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gateway.core.metering import Limit

MAX_TEXT = 200
WHOLE, DECIMALS = 12, 9
"""digits of a number before and after the point"""
FIRST, AFTER = date(1900, 1, 1), date(2200, 1, 1)
_HUNDRED = Scaled(100, 0)
_ID = re.compile(r"[a-z0-9-]{1,40}")
SINCE_EVER = date.min
"""where a value, a link, a price or an owner has no `from`"""
CYCLE = "cycle"
"""the unit of a use of a machine, such as a wash"""


def _number(value: object, info: ValidationInfo) -> Scaled:
    """Numbers that are billed come as text, so that none passes through a float."""
    if not isinstance(value, str):
        shown = value if isinstance(value, int | float) and not isinstance(value, bool) else "84.5"
        message = f'write {info.field_name} as a string: "{shown}"'
        raise ValueError(message)  # noqa: TRY004 - pydantic collects ValueErrors
    number = Scaled.parse(value)
    if number.digits < 0:
        message = f'"{value}" is below zero; write 0 or more'
        raise ValueError(message)
    whole, _, decimals = value.partition(".")
    if len(whole) > WHOLE or len(decimals) > DECIMALS:
        message = f'"{value}" is too long; write at most {WHOLE} digits before the point and {DECIMALS} after it'
        raise ValueError(message)
    return number


def _percent(number: Scaled) -> Scaled:
    if number > _HUNDRED:
        message = f'"{number}" is more than 100 percent; write a rate such as "8.1"'
        raise ValueError(message)
    return number


def _positive(number: Scaled) -> Scaled:
    if not number.digits:
        message = f'"{number}" is not above zero; write a larger number'
        raise ValueError(message)
    return number


def _power_of_ten(number: Scaled) -> Scaled:
    if str(number.digits).rstrip("0") != "1":
        message = f'"{number}" is no power of ten; write e.g. "1", "0.1" or "0.001"'
        raise ValueError(message)
    return number


def _day(value: object, info: ValidationInfo) -> object:
    """JSON has no dates: there they are text."""
    if info.mode != "json" or not isinstance(value, str):
        return value
    try:
        return date.fromisoformat(value)
    except ValueError as error:
        message = f'"{cut(value)}" is no date; write e.g. 2026-01-31'
        raise ValueError(message) from error


def in_years(day: date) -> bool:
    """Whether it is a day that can be meant; datetime itself counts from year 1 to 9999, in UTC only."""
    return FIRST <= day < AFTER


def _day_meant(day: date) -> date:
    if not in_years(day):
        message = f"{day} lies outside of the years {FIRST.year} to {AFTER.year - 1}; write e.g. 2026-01-31"
        raise ValueError(message)
    return day


def _instant_meant(at: datetime) -> datetime:
    _day_meant(at.date())
    return at


def _instant(value: object, info: ValidationInfo) -> object:
    if info.mode != "json" or not isinstance(value, str):
        return value
    try:
        return datetime.fromisoformat(value)
    except ValueError as error:
        message = f'"{cut(value)}" is no instant; write e.g. 2026-03-12T10:30:00+01:00'
        raise ValueError(message) from error


def _id(text: str) -> str:
    if not _ID.fullmatch(text):
        message = f'"{cut(text)}" is no id; write 1 to 40 of a-z, 0-9 and -'
        raise ValueError(message)
    return text


def _text(text: str) -> str:
    if not text.strip() or not text.isprintable() or len(text) > MAX_TEXT:
        message = f"is no text of one line; write 1 to {MAX_TEXT} characters"
        raise ValueError(message)
    return text


def _not_empty(entries: object) -> object:
    if entries in ([], ()):
        message = "is empty; write at least one entry, or remove the key"
        raise ValueError(message)
    return entries


def _unit(unit: str) -> str:
    if unit not in UNITS:
        message = f'"{cut(unit)}" is no unit that is counted in; write one of {", ".join(sorted(UNITS))}'
        raise ValueError(message)
    return unit


def _price_unit(unit: str) -> str:
    return unit if unit == CYCLE else _unit(unit)


def _currency(code: str) -> str:
    if code not in CURRENCIES:
        message = f'"{code}" is no currency of ISO 4217; write e.g. "CHF"'
        raise ValueError(message)
    return code


def _time_zone(name: str) -> str:
    try:
        ZoneInfo(name)
    except (KeyError, ValueError, OSError) as error:
        close = get_close_matches(name, available_timezones(), n=1)
        message = (
            f'"{cut(name)}" is no time zone; {f"did you mean {close[0]}?" if close else "write e.g. Europe/Zurich"}'
        )
        raise ValueError(message) from error
    return name


def _identifier(text: str) -> str:
    try:
        return canonical_identifier(text)
    except ValueError as error:
        message = f"the identifier {error}"  # which one is told nowhere
        raise ValueError(message) from error


def _limit(text: str, info: ValidationInfo) -> str:
    """The form alone, in a unit of its own: whether it fits the register is looked at with that."""
    limit = cast("Limit", info.field_name)
    per_day(limit, text, "m3" if limit == "pipe" else "kWh")
    return text


def _sealed(text: str) -> str:
    if not re.fullmatch(f"{SEALED}[0-9a-f]{{64}}", text):
        message = "is not what the gateway keeps of an identifier; remove it and give the identifier itself"
        raise ValueError(message)
    return text


Id = Annotated[str, AfterValidator(_id), Field(examples=["flat-1"])]
Text = Annotated[str, AfterValidator(_text), Field(examples=["Ground floor left"])]
Number = Annotated[Scaled, PlainValidator(_number), PlainSerializer(str)]
Positive = Annotated[Number, AfterValidator(_positive)]
Limited = Annotated[str, AfterValidator(_limit)]
Percent = Annotated[Number, AfterValidator(_percent), Field(examples=["8.1"])]
Day = Annotated[date, BeforeValidator(_day), AfterValidator(_day_meant), Field(examples=[date(2026, 1, 1)])]
Resolution = Annotated[Number, AfterValidator(_power_of_ten), Field(examples=["0.001"])]
Unit = Annotated[str, AfterValidator(_unit), Field(examples=["kWh"])]
PriceUnit = Annotated[str, AfterValidator(_price_unit), Field(examples=["kWh"])]
TimeZone = Annotated[str, AfterValidator(_time_zone), Field(examples=["Europe/Zurich"])]
Currency = Annotated[str, Field(pattern=r"^[A-Z]{3}$", examples=["CHF"]), AfterValidator(_currency)]


class Strict(BaseModel):
    """Refuses unknown keys and values of another type; unchangeable."""

    # built when they are first used: together they take a tenth of the daemon's start, and most commands use few
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, defer_build=True)


class Step(Strict):
    """A value and the day from which it holds; without `from` it holds since ever."""

    from_: Day | None = Field(default=None, alias="from")
    value: Number


class PriceStep(Strict):
    """A price and the days from which (inclusive) and until which (exclusive) it holds."""

    from_: Day | None = Field(default=None, alias="from")
    until: Day | None = Field(default=None, examples=[date(2027, 1, 1)])
    price: Number
    version: int | None = Field(default=None, ge=1)
    """what charges call it; None: its place among the prices"""

    @model_validator(mode="after")
    def _not_empty(self) -> PriceStep:
        if self.until is not None and self.until <= (self.from_ or SINCE_EVER):
            message = f"this price ends on {self.until}, before it begins; until is the first day without it"
            raise ValueError(message)
        return self


class ExchangeStep(Strict):
    """One meter ends with the index `final`, the next, with the number `serial`, begins with `start`."""

    at: Annotated[AwareDatetime, BeforeValidator(_instant), AfterValidator(_instant_meant)] = Field(
        examples=[datetime(2026, 3, 12, 9, 30, tzinfo=UTC)]
    )
    final: Number
    start: Number
    serial: Text | None = None
    old_serial: Text | None = None
    """of the register's first exchange: the number of the meter that ended"""


class TaxPart(Strict):
    """Category of EN 16931 and rate in percent."""

    category: TaxCategory
    rate: Percent
    included: bool
    exemption: Text | None = None

    @model_validator(mode="after")
    def _rate_of_category(self) -> TaxPart:
        if (self.category == "S") != bool(self.rate.digits):
            message = f'category "{self.category}" does not go with the rate "{self.rate}"; only "S" has one above zero'
            raise ValueError(message)
        return self


def _steps(value: object, info: ValidationInfo) -> object:
    """A plain string holds since ever."""
    if isinstance(value, str):
        return [{"value": value}]
    return value if isinstance(value, list) else [{"value": _number(value, info)}]


def _in_order(steps: tuple[Any, ...]) -> tuple[Any, ...]:
    days = [step.from_ for step in steps]
    if not all(days[1:]) or any((one or SINCE_EVER) >= other for one, other in pairwise(days)):
        message = "write the entries in order of time, each but the first with a from of its own"
        raise ValueError(message)
    return steps


def _printed(steps: Sequence[Step]) -> object:
    if len(steps) == 1 and steps[0].from_ is None:
        return str(steps[0].value)
    return [step.model_dump(mode="json", by_alias=True, exclude_unset=True) for step in steps]


def _exchanged_once(exchanges: tuple[ExchangeStep, ...]) -> tuple[ExchangeStep, ...]:
    if len({exchange.at for exchange in exchanges}) < len(exchanges):
        message = "two exchanges at the same instant; remove one"
        raise ValueError(message)
    return exchanges


# lists in the file, tuples in the model: strict would refuse that
_LIST = Field(strict=False)
Dated = Annotated[
    tuple[Step, ...],
    _LIST,
    BeforeValidator(_not_empty),
    BeforeValidator(_steps),
    AfterValidator(_in_order),
    PlainSerializer(_printed),
]
Prices = Annotated[tuple[PriceStep, ...], _LIST, BeforeValidator(_not_empty), AfterValidator(_in_order)]
Exchanges = Annotated[tuple[ExchangeStep, ...], _LIST, BeforeValidator(_not_empty), AfterValidator(_exchanged_once)]
Points = Annotated[tuple[Id, ...], _LIST, BeforeValidator(_not_empty)]
Identifier = Annotated[str, AfterValidator(_identifier), Field(examples=["04A1B2C3"])]
Digest = Annotated[str, AfterValidator(_sealed)]
