"""The driver as the gateway finds it: models, opening a line, searching it, decoding."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, cast

from pydantic import ValidationError

from drivers.mbus import candidate, orders
from drivers.mbus.bus import MBusBus, Wired, answer
from drivers.mbus.frame import FrameError
from drivers.mbus.keys import parse_key, read_key
from drivers.mbus.link import split
from drivers.mbus.master import Taken
from drivers.mbus.model import MODELS, Billed, MBusModel
from drivers.mbus.orders import Target, spoken_to
from drivers.mbus.report import describe
from drivers.mbus.scan import WAYS, Speed, scan
from drivers.mbus.settings import BusSettings, MeterSettings, meter_settings
from drivers.mbus.telegram import decode
from drivers.mbus.twice import same_device
from drivers.model import RegisterKeys, mismatches, stored_mismatches
from gateway.ports.field import OrderRefusedError, ScanRefusedError, WrongAnswerError

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Mapping
    from datetime import datetime

    from pydantic import BaseModel

    from gateway.ports.clock import Clock
    from gateway.ports.field import Done, MeterBus, Scanned, ScanOrder, Seen

_FULL_LINE = 60
"""devices on the line for which makers say how often a day each of them may be read by secondary address"""
_FIXED_BAUD = "the baud rate behind {} is the level converter's own; set it there and in the settings"


class MBusDriver:
    """Satisfies `ModelKeeper`, `Selector`, `Distinguisher`, `Scanner`, `Inspector` and `Installer` of the port."""

    name = "mbus"
    ways: tuple[str, ...] = WAYS
    bus_schema: type[BaseModel] = BusSettings
    model_schema: type[BaseModel] = MBusModel

    def __init__(self, own: Mapping[str, MBusModel] | None = None) -> None:
        self._own = own or {}
        self.meter_schema: type[BaseModel] = meter_settings(self._own) if own else MeterSettings

    def with_models(self, own: Mapping[str, BaseModel]) -> MBusDriver:
        """The same driver with models of the installer's beside its own."""
        return MBusDriver(cast("Mapping[str, MBusModel]", own))

    def open(self, bus: BaseModel, meters: Mapping[str, BaseModel], clock: Clock) -> MeterBus:  # noqa: ARG002 - the port's
        """The line; its time-outs run on the event loop's clock, which is never accelerated."""
        line = BusSettings.model_validate(bus)
        wired = {meter: _wired(MeterSettings.model_validate(settings)) for meter, settings in meters.items()}
        return MBusBus(line.connect(), line.timing, wired)

    def models(self) -> Mapping[str, tuple[str, ...]]:
        """Model name -> register keys."""
        return RegisterKeys(Billed(self._own), MODELS)

    def reads_per_day(self, meter: BaseModel) -> int | None:
        """What the meter's model file declares."""
        wired = MeterSettings.model_validate(meter)
        return wired.known.reads_per_day(selected=wired.address is None)

    def selects(self, meter: BaseModel) -> bool:
        """By its secondary address or fabrication number."""
        return MeterSettings.model_validate(meter).address is None

    def same_device(self, one: BaseModel, other: BaseModel) -> tuple[str, str] | None:
        """By address, number and model."""
        return same_device(MeterSettings.model_validate(one), MeterSettings.model_validate(other))

    def selections_per_day(self, meter: BaseModel) -> int | None:
        """What the model file declares is said of a full line: the neighbours' selections are in the maker's figure."""
        rounds = MeterSettings.model_validate(meter).known.selections_per_day
        return None if rounds is None else rounds * _FULL_LINE

    def scan(self, bus: BaseModel, order: ScanOrder) -> AsyncGenerator[Scanned, None]:
        """Search by secondary or by primary addresses, at one baud rate after the other."""
        line = BusSettings.model_validate(bus)
        for baud in order.speeds:
            if line.device is None and baud != line.baud:
                raise ScanRefusedError(_FIXED_BAUD.format(line.host))
            _speed(line, baud)
        at = partial(_speed, line, drops_damaged=False)
        return scan(at, order.speeds or (line.baud,), order, {**Billed(self._own), **MODELS})

    async def inspect(self, bus: BaseModel, meter: BaseModel | str) -> Seen:
        """All that one meter says, and its alarm."""
        line = BusSettings.model_validate(bus)
        async with spoken_to(_speed(line, line.baud)) as master:
            return await orders.inspect(master, _target(meter))

    def model_file(self, raw: bytes, source: str) -> str:
        """A model file to complete."""
        return candidate.model_file(raw, source)

    async def set_address(self, bus: BaseModel, meter: BaseModel | str, address: int) -> Done:
        """Give a meter a primary address."""
        line = BusSettings.model_validate(bus)
        async with spoken_to(_speed(line, line.baud)) as master:
            return await orders.set_address(master, _target(meter), address)

    async def set_baud(self, bus: BaseModel, meter: BaseModel | str, baud: int) -> Done:
        """Change a meter's baud rate; at a serial line only, which then follows it there."""
        line = BusSettings.model_validate(bus)
        if line.device is None:
            raise OrderRefusedError(_FIXED_BAUD.format(line.host))
        return await orders.set_baud(partial(_speed, line), line.baud, _target(meter), baud)

    async def set_clock(self, bus: BaseModel, meter: BaseModel | str, now: datetime) -> Done:
        """Set a meter's clock, to standard time unless its settings or its model say that it goes with summer time."""
        line = BusSettings.model_validate(bus)
        async with spoken_to(_speed(line, line.baud)) as master:
            summer = isinstance(meter, MeterSettings) and meter.clock_follows_summer_time
            return await orders.set_clock(master, _target(meter), now, daylight_saving=summer)

    def decode(self, frame: bytes, key: str | None = None) -> dict[str, Any]:
        """One frame as a JSON-ready object; {"ok": False, "error": sentence} for a malformed one."""
        try:
            return describe(frame, None if key is None else parse_key(key))
        except ValueError as error:
            return {"ok": False, "error": str(error)}

    def prove(self, name: str) -> list[str]:
        """Read every proof of a model file; what came out otherwise than expected."""
        model = self._own.get(name) or MODELS[name]
        wired = Wired(asked=0, model=model, serial=None)
        found: list[str] = []
        for proof in model.proof:
            try:
                taken = tuple(Taken(telegram=decode(octets), octets=octets) for octets in split(proof.octets))
                read = answer(name, wired, taken)
            except (FrameError, WrongAnswerError) as error:
                found.append(f"{proof.source}: {error}")
                continue
            found += mismatches(proof, read.serial, read.status, read.values)
            found += stored_mismatches(proof, read.stored)
        return found


def _speed(line: BusSettings, baud: int, *, drops_damaged: bool = True) -> Speed:
    try:
        at = BusSettings.model_validate({**line.model_dump(), "baud": baud})
    except ValidationError as error:
        raise ScanRefusedError(error.errors()[0]["msg"].removeprefix("Value error, ")) from error
    return Speed(baud=baud, timing=at.timing, connect=at.connect(drops_damaged=drops_damaged))


def _target(meter: BaseModel | str) -> Target:
    if isinstance(meter, str):
        return orders.target(meter)
    wired = _wired(MeterSettings.model_validate(meter))
    return Target(
        asked=wired.asked,
        serial=wired.serial,
        application_reset=wired.application_reset,
        key=None if wired.key is None else read_key(wired.key),
    )


def _wired(settings: MeterSettings) -> Wired:
    serial = None if settings.serial is None else settings.serial.zfill(8)
    return Wired(
        asked=settings.asked,
        model=settings.known,
        serial=serial,
        application_reset=settings.application_reset,
        key=settings.key,
        daylight_saving=settings.daylight_saving,
    )


driver = MBusDriver()
