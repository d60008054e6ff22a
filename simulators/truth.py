"""The truth about a simulated building: its devices, what flows through them, who lives where, at what price.

Read from a building's devices.toml. Everything is exact: an index is a whole number of the counter's own steps at
every instant, drawn from a profile and a seed, so a run can be repeated.
"""

from __future__ import annotations

import hashlib
import tomllib
from bisect import bisect_right
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from typing import TYPE_CHECKING, Any, Literal
from zoneinfo import ZoneInfo

from simulators import mbus, modbus
from simulators.laundry import Machine, Wash

if TYPE_CHECKING:
    from pathlib import Path

Protocol = Literal["mbus", "modbus"]
Scope = Literal["building", "unit"]
HOUR = timedelta(hours=1)
_HOURS_PER_VALUE = 3


class TruthError(ValueError):
    """The building's devices.toml cannot be used. The text is one sentence."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Dated:
    """A value that changes at instants: (from, value), the first since ever."""

    steps: tuple[tuple[datetime, Fraction], ...]

    def at(self, instant: datetime) -> Fraction:
        """The value that holds at the instant."""
        return self.steps[bisect_right([start for start, _ in self.steps], instant) - 1][1]


@dataclass(frozen=True, slots=True, kw_only=True)
class Stay:
    """Somebody lives or works somewhere, [start, until)."""

    who: str
    start: datetime
    until: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A flat, a shop, a parking space: whoever is there pays, else its owner."""

    id: str
    owner: str
    stays: tuple[Stay, ...]
    values: dict[str, Dated]
    """surface, volume, quotity, people"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Price:
    """What one unit of a source costs from an instant on."""

    source: str
    start: datetime
    price: Decimal
    places: tuple[str, ...]
    """only these; empty: all that have no price of their own"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """Flow in thousandths of the unit per hour, a value for every three hours of the local day."""

    weekday: tuple[int, ...]
    weekend: tuple[int, ...]
    spread: int
    """per cent by which an hour may lie above or below"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Counter:
    """One register: where it is read, what flows through it, and whose it is."""

    register: str
    key: str
    source: str
    unit: str
    step: int
    """what one count means, in thousandths of the unit"""
    start: int
    """counts when the truth begins"""
    profile: Profile
    percent: Dated
    """how much of the profile flows here"""
    places: tuple[str, ...]
    scope: Scope | None
    share_by: str | None
    """quotity, surface, people or volume; None: all of it is the one place's"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Device:
    """A meter on a line."""

    id: str
    line: str
    protocol: Protocol
    model: str
    address: int
    serial: str
    counters: tuple[Counter, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Truth:
    """All of it."""

    name: str
    zone: ZoneInfo
    month: date
    seed: int
    quantum: int
    """the smallest quantity that is billed, in thousandths of the unit"""
    currency: str
    owner: str
    values: dict[str, Dated]
    """the building's own surface, volume, quotity, people"""
    lines: dict[str, Protocol]
    places: dict[str, Place]
    prices: tuple[Price, ...]
    devices: tuple[Device, ...]
    machines: tuple[Machine, ...] = ()
    washes: tuple[Wash, ...] = ()
    """in order of time"""
    _flows: dict[str, list[int]] = field(default_factory=dict)

    def midnight(self, day: date) -> datetime:
        """The instant at which a local day begins."""
        return midnight(day, self.zone)

    @property
    def begins(self) -> datetime:
        """Before this instant nothing flows: a day ahead of the month."""
        return self.midnight(self.month) - timedelta(days=1)

    def counts(self, counter: Counter, at: datetime) -> int:
        """What the counter shows at an instant, in its own steps."""
        washed = sum(wash.flown(at) for wash in self.washes if wash.register == counter.register)
        return self.unbadged(counter, at) + washed // counter.step

    def unbadged(self, counter: Counter, at: datetime) -> int:
        """What it would show had nobody used a badge."""
        hours, rest = divmod(at - self.begins, HOUR)
        flows = self._flows.setdefault(counter.register, [0])
        while len(flows) <= hours + 1:
            flows.append(flows[-1] + self._flow(counter, len(flows) - 1))
        part = (flows[hours + 1] - flows[hours]) * (rest // timedelta(seconds=1)) // 3600
        return counter.start + (flows[hours] + part) // counter.step

    def _flow(self, counter: Counter, hour: int) -> int:
        """Thousandths of the unit that flow in this hour since the beginning."""
        at = self.begins + hour * HOUR
        local = at.astimezone(self.zone)
        day = counter.profile.weekend if local.weekday() > 4 else counter.profile.weekday
        digest = hashlib.sha256(f"{self.seed}/{counter.register}/{at.isoformat()}".encode()).digest()
        spread = counter.profile.spread
        chance = 100 - spread + int.from_bytes(digest[:4], "big") % (2 * spread + 1)
        return (day[local.hour // _HOURS_PER_VALUE] * chance * counter.percent.at(at) / 10_000).__floor__()


def midnight(day: date, zone: ZoneInfo) -> datetime:
    """The instant at which a local day begins, in UTC."""
    return datetime(day.year, day.month, day.day, tzinfo=zone).astimezone(UTC)


def load(folder: Path) -> Truth:
    """Read the building's devices.toml; TruthError where that is not possible."""
    path = folder / "devices.toml"
    try:
        with path.open("rb") as file:
            return _Reader(tomllib.load(file)).truth()
    except OSError as error:
        message = f"{path} cannot be read: {error.strerror}. Give a folder with devices.toml and property.toml."
        raise TruthError(message) from error
    except KeyError as error:
        message = f"{path}: {error} is missing or named nowhere. Compare with simulators/buildings/sonnenhof."
        raise TruthError(message) from error
    except (ValueError, TypeError, AttributeError) as error:
        message = f"{path}: {error}. Compare with simulators/buildings/sonnenhof."
        raise TruthError(message) from error


class _Reader:
    """Turns the file's tables into the truth."""

    def __init__(self, file: dict[str, Any]) -> None:
        self._file = file
        self._zone = ZoneInfo(file["time_zone"])
        self._lines: dict[str, Protocol] = {line["id"]: line["protocol"] for line in file["line"]}
        self._profiles = {
            entry["id"]: Profile(
                weekday=tuple(entry["weekday"]), weekend=tuple(entry["weekend"]), spread=entry["spread"]
            )
            for entry in file["profile"]
        }
        self._telegrams = mbus.captured_telegrams()
        self._layouts = modbus.layouts()

    def truth(self) -> Truth:
        file = self._file
        places = {entry["id"]: self._place(entry) for entry in file["place"]}
        truth = Truth(
            name=file["name"],
            zone=self._zone,
            month=file["month"],
            seed=file["seed"],
            quantum=thousandths(file["quantum"]),
            currency=file["currency"],
            owner=file["owner"],
            values=self._values(file["building"]),
            lines=self._lines,
            places=places,
            prices=tuple(self._price(entry) for entry in file["price"]),
            devices=tuple(self._device(entry) for entry in file["meter"]),
            machines=tuple(self._machine(entry) for entry in file.get("machine", [])),
            washes=tuple(sorted(map(self._wash, file.get("wash", [])), key=lambda wash: wash.start)),
        )
        for device in truth.devices:
            for counter in device.counters:
                for place in counter.places:
                    self._has(f"place {place}", places[place].values, counter)  # a place that is there, or KeyError
                if counter.scope == "building":
                    self._has("the building", truth.values, counter)
        return truth

    def _has(self, what: str, values: dict[str, Dated], counter: Counter) -> None:
        if counter.share_by is not None and counter.share_by not in values:
            message = f"{what} has no {counter.share_by}, by which {counter.register} is shared"
            raise ValueError(message)

    def _instant(self, day: date) -> datetime:
        return midnight(day, self._zone)

    def _values(self, entry: dict[str, Any]) -> dict[str, Dated]:
        return {key: self._dated(entry[key]) for key in ("surface", "volume", "quotity", "people") if key in entry}

    def _dated(self, value: str | list[dict[str, Any]]) -> Dated:
        ever = datetime(1, 1, 1, tzinfo=UTC)
        if isinstance(value, str):
            return Dated(steps=((ever, Fraction(value)),))
        return Dated(
            steps=tuple(
                (self._instant(step["from"]) if "from" in step else ever, Fraction(step["value"])) for step in value
            )
        )

    def _place(self, entry: dict[str, Any]) -> Place:
        stays = tuple(
            Stay(
                who=stay["who"],
                start=self._instant(stay["from"]),
                until=self._instant(stay["until"]) if "until" in stay else None,
            )
            for stay in entry.get("stays", [])
        )
        owner = entry.get("owner", self._file["owner"])
        return Place(id=entry["id"], owner=owner, stays=stays, values=self._values(entry))

    def _price(self, entry: dict[str, Any]) -> Price:
        return Price(
            source=entry["source"],
            start=self._instant(entry["from"]),
            price=Decimal(entry["price"]),
            places=tuple(entry.get("places", [])),
        )

    def _machine(self, entry: dict[str, Any]) -> Machine:
        meter = next(one for one in self._file["meter"] if one["id"] == entry["meter"])
        (counter,) = meter["counters"]
        return Machine(
            id=entry["id"],
            access_point=entry["access_point"],
            line=entry["line"],
            relay=entry["relay"],
            meter=entry["meter"],
            register=counter["register"],
            key=counter["key"],
            place=counter["place"],
        )

    def _wash(self, entry: dict[str, Any]) -> Wash:
        machine = next(one for one in map(self._machine, self._file["machine"]) if one.id == entry["machine"])
        start = entry["at"].replace(tzinfo=self._zone).astimezone(UTC)
        until = start + timedelta(minutes=entry.get("minutes", 0))
        if until.replace(minute=0) != start.replace(minute=0):
            message = f"the wash at {entry['at']} goes beyond its hour: let it end before the meters are read"
            raise ValueError(message)
        return Wash(
            machine=machine.id,
            register=machine.register,
            start=start,
            until=until,
            badge=entry["badge"],
            who=entry.get("who", ""),
            place=entry.get("place", ""),
            energy=thousandths(entry.get("energy", "0")),
        )

    def _device(self, entry: dict[str, Any]) -> Device:
        protocol = self._lines[entry["line"]]
        offered = self._telegrams[entry["model"]] if protocol == "mbus" else self._layouts[entry["model"]]
        return Device(
            id=entry["id"],
            line=entry["line"],
            protocol=protocol,
            model=entry["model"],
            address=entry["address"],
            serial=entry.get("serial", ""),
            counters=tuple(self._counter(counter, offered.counters[counter["key"]]) for counter in entry["counters"]),
        )

    def _counter(self, entry: dict[str, Any], offered: mbus.Counter | modbus.Counter) -> Counter:
        shared = entry.get("shared", {})
        step = thousandths(offered.step)
        return Counter(
            register=entry["register"],
            key=entry["key"],
            source=entry["source"],
            unit=offered.unit,
            step=step,
            start=whole(Fraction(thousandths(entry["start"]), step)),
            profile=self._profiles[entry["profile"]],
            percent=self._dated(entry.get("percent", "100")),
            places=tuple(shared["places"]) if shared else (entry["place"],),
            scope=shared.get("scope"),
            share_by=shared.get("key"),
        )


def thousandths(text: str) -> int:
    """A decimal as whole thousandths; ValueError where it is finer."""
    return whole(Fraction(text) * 1000)


def whole(value: Fraction) -> int:
    """The integer; ValueError where it is none."""
    if value.denominator != 1:
        message = f"{value} is not a whole number of steps"
        raise ValueError(message)
    return value.numerator
