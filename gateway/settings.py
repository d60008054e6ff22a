"""The settings file `gateway.toml`: the wiring, checked before it is used."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from pydantic import BaseModel, ValidationError

from gateway.core.refusal import dotted
from gateway.own_models import FOLDER, own_models
from gateway.ports.field import Distinguisher
from gateway.settings_access import (
    MachineSettings,
    MachineTable,
    ReaderSettings,
    ReaderTable,
    machine_settings,
    reader_settings,
    wrong_pairs,
    wrong_wiring,
)
from gateway.settings_fields import duration, tables
from gateway.settings_file import CREDENTIAL, SQLITE, BusTable, MeterTable, MqttTable, SettingsFile
from gateway.tomlfile import Document, FileProblem, Lines, Loaded, in_order, read, schema_problems, validated

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from datetime import timedelta
    from pathlib import Path

    from gateway.core.refusal import Place
    from gateway.own_models import OwnModels
    from gateway.ports.field import Driver, MachineDriver, ReaderDriver
    from gateway.tomlfile import Problems

_Kind = TypeVar("_Kind")
MQTT_PORT, MQTTS_PORT = 1883, 8883
_MQTT_NEEDS = (
    ("cert_file", "key_file"),
    ("key_file", "cert_file"),
    ("cert_file", "ca_file"),
    ("password_file", "user"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class BusSettings:
    """One line: its driver with the settings that the driver has accepted."""

    id: str
    driver: Driver
    poll: timedelta
    line: BaseModel
    """of the driver's `bus_schema`"""
    meters: Mapping[str, BaseModel]
    """meter id -> of the driver's `meter_schema`"""


@dataclass(frozen=True, slots=True, kw_only=True)
class MqttSettings:
    """The broker and the receivers that acknowledge. A file is an absolute path, or credential:<name>."""

    host: str
    port: int
    ca_file: str | None = None
    cert_file: str | None = None
    key_file: str | None = None
    user: str | None = None
    password_file: str | None = None
    backfill_per_second: int = 200
    consumers: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The whole file; there is nothing left in it to check."""

    file: Path
    """itself, with an absolute path"""
    site: str
    gateway: str
    store: str
    """SQLAlchemy URL; of an SQLite file with an absolute path"""
    ballast: int = 1_000_000
    """bytes that are kept free on the disk of the store"""
    mqtt: MqttSettings | None
    buses: tuple[BusSettings, ...]
    readers: tuple[ReaderSettings, ...] = ()
    machines: tuple[MachineSettings, ...] = ()
    metrics_port: int | None = None
    raw_days: int = 30
    readings_months: int = 36


class Drivers(Protocol):
    """Gives the driver of a name; LookupError, whose text is one sentence, where there is none."""

    @property
    def find(self) -> Callable[[str], Driver]:
        """Of lines with meters."""

    @property
    def find_reader(self) -> Callable[[str], ReaderDriver]:
        """Of badge readers."""

    @property
    def find_machine(self) -> Callable[[str], MachineDriver]:
        """Of permits of machines."""


def load(path: Path, drivers: Drivers) -> Settings | Problems:
    """Read the settings, or all of their mistakes."""
    document = read(path)
    if not isinstance(document, Document):
        return document
    loaded = validated(document, SettingsFile)
    own = own_models(path.resolve().parent / FOLDER, drivers.find)
    wiring = _Wiring(document.lines, drivers, own)
    wiring.check(document.table)
    problems = wiring.problems if isinstance(loaded, Loaded) else [*loaded, *wiring.problems]
    if problems or own.problems or not isinstance(loaded, Loaded):
        return (*in_order(problems), *own.problems)
    return _settings(loaded.value, wiring, path)


def _settings(file: SettingsFile, wiring: _Wiring, path: Path) -> Settings:
    folder = path.resolve().parent
    return Settings(
        file=path.resolve(),
        site=file.site,
        gateway=file.gateway,
        store=_store_from(file.store, folder),
        ballast=file.ballast_kb * 1000,
        mqtt=None if file.mqtt is None else _mqtt(file.mqtt, folder),
        buses=tuple(_bus(bus, index, wiring) for index, bus in enumerate(file.bus)),
        readers=tuple(
            reader_settings(one, wiring.readers[one.driver], wiring.parts["reader", index])
            for index, one in enumerate(file.reader)
        ),
        machines=tuple(
            machine_settings(one, wiring.machines[one.driver], wiring.parts["machine", index])
            for index, one in enumerate(file.machine)
        ),
        metrics_port=None if file.metrics is None else file.metrics.port,
        raw_days=file.retention.raw_days,
        readings_months=file.retention.readings_months,
    )


def _bus(table: BusTable, index: int, wiring: _Wiring) -> BusSettings:
    return BusSettings(
        id=table.id,
        driver=wiring.drivers[table.driver],
        poll=duration(table.poll),
        line=wiring.parts["bus", index],
        meters={meter.id: wiring.parts["bus", index, "meter", at] for at, meter in enumerate(table.meter)},
    )


def _store_from(url: str, folder: Path) -> str:
    return f"{SQLITE}{folder / url.removeprefix(SQLITE)}" if url.startswith(SQLITE) else url


def _mqtt(table: MqttTable, folder: Path) -> MqttSettings:
    return MqttSettings(
        host=table.host,
        port=table.port or (MQTTS_PORT if table.ca_file else MQTT_PORT),
        ca_file=_beside(table.ca_file, folder),
        cert_file=_beside(table.cert_file, folder),
        key_file=_beside(table.key_file, folder),
        user=table.user,
        password_file=_beside(table.password_file, folder),
        backfill_per_second=table.backfill_per_second,
        consumers=tuple(each.name for each in table.consumer),
    )


def _beside(file: str | None, folder: Path) -> str | None:
    return file if file is None or file.startswith(CREDENTIAL) else str(folder / file)


class _Wiring:
    """What no schema of the whole file can say: the drivers' own keys, and what occurs twice.

    It looks at the file as it is, so that its findings stand beside those of the schema.
    """

    def __init__(self, lines: Lines, drivers: Drivers, own: OwnModels) -> None:
        self.problems: list[FileProblem] = []
        self.drivers: dict[str, Driver] = dict(own.drivers)
        self.readers: dict[str, ReaderDriver] = {}
        self.machines: dict[str, MachineDriver] = {}
        self.parts: dict[Place, BaseModel] = {}
        """path of a line or a meter -> its settings by the driver's schema"""
        self._lines = lines
        self._installed = drivers
        self._broken = own.broken

    def check(self, table: dict[str, Any]) -> None:
        buses = tables((), table, "bus")
        meters = [each for place, bus in buses for each in tables(place, bus, "meter")]
        self._once(buses, "id")
        self._once(meters, "id")
        self._once(tables(("mqtt",), table.get("mqtt"), "consumer"), "name")
        for place, bus in buses:
            self._bus(place, bus)
        self._lines_once()
        self._access(table)
        self._needs(table.get("mqtt"))

    def _needs(self, mqtt: object) -> None:
        """What is of no use without another key."""
        keys = mqtt.keys() if isinstance(mqtt, dict) else ()
        for key, other in _MQTT_NEEDS:
            if key in keys and other not in keys:
                text = f"is of no use without {other}; write both, or neither"
                self.problems.append(self._lines.problem(("mqtt", key), text))

    def _bus(self, place: Place, bus: dict[str, Any]) -> None:
        driver = self._driver(place, bus, self.drivers, self._installed.find)
        if driver is None:
            return
        self._part(place, bus, driver.bus_schema, BusTable)
        for inner, meter in tables(place, bus, "meter"):
            self._part(inner, meter, driver.meter_schema, MeterTable)
        if isinstance(driver, Distinguisher):
            self._devices_once(driver, [inner for inner, _ in tables(place, bus, "meter") if inner in self.parts])

    def _access(self, table: dict[str, Any]) -> None:
        readers, machines = tables((), table, "reader"), tables((), table, "machine")
        for entries in (readers, machines):
            self._once(entries, "id")
            self._once(entries, "access_point")
        for place, one in readers:
            reader = self._driver(place, one, self.readers, self._installed.find_reader)
            if reader is not None:
                self._part(place, one, reader.schema, ReaderTable)
        for place, one in machines:
            machine = self._driver(place, one, self.machines, self._installed.find_machine)
            if machine is not None:
                self._part(place, one, machine.schema, MachineTable)
        wrong = (*wrong_pairs(table), *wrong_wiring(table, self.drivers, self.machines, self.parts))
        self.problems.extend(self._lines.problem(place, text) for place, text in wrong)

    def _driver(
        self, place: Place, table: dict[str, Any], known: dict[str, _Kind], find: Callable[[str], _Kind]
    ) -> _Kind | None:
        """The driver that the table names; None, and a problem, where there is none."""
        name = table.get("driver")
        if not isinstance(name, str):
            return None  # the schema of the file says so
        try:
            return known.setdefault(name, known.get(name) or find(name))
        except LookupError as error:
            self.problems.append(self._lines.problem((*place, "driver"), str(error)))
            return None

    def _part(self, place: Place, table: dict[str, Any], schema: type[BaseModel], ours: type[BaseModel]) -> None:
        names = {field.alias or name for name, field in ours.model_fields.items()}
        theirs = {key: value for key, value in table.items() if key not in names}
        try:
            self.parts[place] = schema.model_validate(theirs)
        except ValidationError as error:
            wrong = schema_problems(error, schema, self._lines, place, names)
            told = theirs.get("model") in self._broken  # why there is no such model is told of its own file
            self.problems.extend(each for each in wrong if not told or each.path != dotted((*place, "model")))

    def _once(self, tables: Iterable[tuple[Place, dict[str, Any]]], key: str) -> None:
        first: dict[str | int, Place] = {}
        for place, table in tables:
            value = table.get(key)
            if isinstance(value, str | int) and first.setdefault(value, place) != place:
                line = self._lines.line((*first[value], key))
                text = f"{value} is already used in line {line}; give each its own"
                self.problems.append(self._lines.problem((*place, key), text))

    def _devices_once(self, driver: Distinguisher, meters: list[Place]) -> None:
        """One device under two ids would be billed twice."""
        for at, place in enumerate(meters):
            found = ((first, driver.same_device(self.parts[first], self.parts[place])) for first in meters[:at])
            first, same = next((each for each in found if each[1] is not None), (place, None))
            if same is not None:
                key, why = same
                text = f"this may be the meter in line {self._lines.line(first)} once more: {why}"
                self.problems.append(self._lines.problem((*place, key), text))

    def _lines_once(self) -> None:
        """Two masters on one line would spoil each other's conversations."""
        first: dict[str, Place] = {}
        for place in [place for place in self.parts if len(place) == len(("bus", 0))]:
            part = getattr(self.parts[place], "place", None) or repr(self.parts[place])
            if first.setdefault(part, place) != place:
                text = f"this is the same line as in line {self._lines.line(first[part])}; list all its meters there"
                self.problems.append(self._lines.problem(place, text))
