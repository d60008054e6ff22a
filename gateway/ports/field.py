"""What the gateway asks of the field: meters on a bus, found through drivers."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Mapping
    from datetime import datetime

    from pydantic import BaseModel

    from gateway.core.units import Scaled
    from gateway.ports.clock import Clock


class FieldError(Exception):
    """A device did not deliver. The text is one sentence for the installer."""


class NoAnswerError(FieldError):
    """The device stayed silent through all repeats."""


class OwingError(NoAnswerError):
    """It may yet answer an earlier question, which would look like the answer to this one: it has to be waited for."""

    def __init__(self, message: str, seconds: float) -> None:
        """`seconds` until it can be asked."""
        super().__init__(message)
        self.seconds = seconds


class WrongAnswerError(FieldError):
    """Something answered, but it cannot be believed: checksum, address, length, register, identity."""


class UnreadableAnswerError(WrongAnswerError):
    """The right device has answered, and its answer needs another key. It is kept as it came, to be read later."""

    def __init__(self, message: str, *, serial: str, status: int, raw: bytes) -> None:
        super().__init__(message)
        self.serial = serial
        self.status = status
        self.raw = raw


class LineDownError(FieldError):
    """The line itself is not there: connection refused or lost, device file missing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RegisterValue:
    """One register of one answer, as the meter's model reads it."""

    register: str
    """key of the register in the meter's model, such as "import" or "volume" """
    index: Scaled
    unit: str
    obis: str
    modulus: Scaled | None = None
    """the index, in `unit`, at which the register begins again at 0; None where the model cannot know"""


@dataclass(frozen=True, slots=True, kw_only=True)
class NoValue:
    """A register of which the meter says in an answer that it has no value, while it has one of others."""

    register: str
    """its key in the meter's model"""
    why: str
    """what the meter says instead"""


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredValue:
    """An index that the meter kept itself for a date: its due date, the end of a month (EN 13757-3, storage number)."""

    register: str
    """key of the register whose index it was"""
    at: datetime
    """by the meter's own clock: without a zone"""
    daylight_saving: bool
    """whether that clock goes with summer time; False: it shows standard time all year"""
    index: Scaled
    unit: str
    obis: str
    """with the storage number as group F ("6-0:1.0.0*1"), so that it is no reading of the register's own"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What one read of one meter gave. All values are of the same instant."""

    meter: str
    serial: str
    """the identity that the answer itself carries; "" where the protocol has none"""
    status: int
    """the device's own status byte, 0 = good (M-Bus header status; 0 for Modbus)"""
    values: tuple[RegisterValue, ...]
    raw: bytes
    """the checked telegrams as they came, one after the other"""
    stored: tuple[StoredValue, ...] = ()
    """what the meter kept itself for dates gone by"""
    device: str = ""
    """all by which the answer tells its device from others on the line; "" where the protocol has nothing such"""
    without: tuple[NoValue, ...] = ()
    """registers that the meter has said to have no value"""


class MeterBus(Protocol):
    """One line with its meters: one conversation at a time."""

    async def read(self, meter: str) -> Answer:
        """Read the meter with this id (of the wiring given to `Driver.open`); FieldError otherwise."""

    async def close(self) -> None:
        """Let go of the line."""


@runtime_checkable
class Rereader(Protocol):
    """A line whose answers may need a key that comes later."""

    def needs_key(self, meter: str) -> bool:
        """Whether the settings name a key for this meter."""

    def reread(self, meter: str, raw: bytes) -> Answer:
        """What a kept answer of this meter means with the key of today; FieldError otherwise."""


@runtime_checkable
class Deferrer(Protocol):
    """A line whose meters may have to be waited for, while others can be read."""

    async def read_now(self, meter: str) -> Answer:
        """As `MeterBus.read`, but OwingError at once where that would wait for the meter."""


class Driver(Protocol):
    """A protocol, found by the entry points `submeter.drivers`."""

    name: str
    bus_schema: type[BaseModel]
    """settings of one bus, without id, driver, poll and meter"""
    meter_schema: type[BaseModel]
    """settings of one meter on such a bus, without id: model, address, serial"""

    def open(self, bus: BaseModel, meters: Mapping[str, BaseModel], clock: Clock) -> MeterBus:
        """Make the bus; no connection yet: a line that is down shows at the first read."""

    def models(self) -> Mapping[str, tuple[str, ...]]:
        """Model name -> the register keys that it delivers."""

    def reads_per_day(self, meter: BaseModel) -> int | None:
        """How many reads a day the battery of a meter with these settings is made for; None without a battery."""

    def decode(self, frame: bytes, key: str | None = None) -> dict[str, Any]:
        """One frame as a JSON-ready object for `submeter decode`; {"ok": False, "error": ...} for bad bytes.

        `key`: what the key file of an encrypted device holds.
        """


@runtime_checkable
class Selector(Protocol):
    """A driver that reaches some devices by a selection, which wakes every device on the line."""

    def selects(self, meter: BaseModel) -> bool:
        """Whether a read of a meter with these settings takes a selection."""

    def selections_per_day(self, meter: BaseModel) -> int | None:
        """How many selections a day, of whomever, the meter's battery is made for; None without a battery."""


@runtime_checkable
class Distinguisher(Protocol):
    """A driver whose devices can be named in several ways."""

    def same_device(self, one: BaseModel, other: BaseModel) -> tuple[str, str] | None:
        """Where two meters of one line may be one device: a key of the other's settings, and a clause with the remedy.

        None where they are two.
        """


@runtime_checkable
class ModelKeeper(Driver, Protocol):
    """A driver to whose models an installer's files add."""

    model_schema: type[BaseModel]
    """one model file"""

    def with_models(self, own: Mapping[str, BaseModel]) -> ModelKeeper:
        """The same driver with these models, by name, beside its own; of the `model_schema`."""

    def prove(self, model: str) -> list[str]:
        """What the raw answers in the model's file give otherwise than the file expects."""


class ScanRefusedError(ValueError):
    """A line cannot be searched like that. The text is one sentence for the installer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ScanOrder:
    """How a line is searched."""

    way: str = ""
    """one of the driver's `ways`; "": the first of them"""
    speeds: tuple[int, ...] = ()
    """baud rates, one after the other; none: the line's own"""
    parities: tuple[str, ...] = ()
    """none, even, odd: likewise, each at each speed; a protocol with a fixed one refuses them"""
    units: tuple[int, ...] = ()
    """the only addresses to ask, in ascending order; none: all. A protocol that does not ask one by one refuses them"""
    rest: str = ""
    """from a `ScanProgress`: to go on from there"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Device:
    """A device that a search has found."""

    wiring: Mapping[str, str | int]
    """keys of the driver's `meter_schema` that reach it: its address, and the model where one is known"""
    facts: Mapping[str, str | int | None]
    """what it says of itself, in words for a table; the same names for every device of a search"""
    speed: int | None
    """baud rate at which it answered; None where the line has none"""
    raw: bytes
    """its answer: the checked telegrams as they came, one after the other"""
    line: Mapping[str, str | int] = field(default_factory=dict)
    """keys of the driver's `bus_schema` with which it was heard: baud rate and parity of a serial line"""


@dataclass(frozen=True, slots=True, kw_only=True)
class ScanTrouble:
    """A place where something answers that is no single device."""

    place: str
    text: str
    """one sentence for the installer"""


@dataclass(frozen=True, slots=True, kw_only=True)
class ScanProgress:
    """How far a search has come."""

    place: str
    """what was asked last, such as "address 5" """
    percent: int
    """of the whole way, as far as it is known: what is found may make it longer"""
    woken: int
    """how often every device on the line has been woken so far, beside being read itself"""
    rest: str
    """for `ScanOrder.rest`"""
    seconds_left: float | None = None
    """about; None where nobody knows"""


Scanned = Device | ScanTrouble | ScanProgress


@runtime_checkable
class Scanner(Protocol):
    """A driver that can search its lines."""

    ways: tuple[str, ...]
    """the ways in which it does, the usual one first"""

    def scan(self, bus: BaseModel, order: ScanOrder) -> AsyncGenerator[Scanned, None]:
        """Search the line: what is found, as it is found, and after each step the progress.

        ScanRefusedError for an order that the driver cannot carry out, FieldError where the line fails. Closing the
        generator lets go of the line.
        """


class OrderRefusedError(ValueError):
    """An order to a single device cannot be carried out. The text is one sentence for the installer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """All that one device says, whether or not a model file knows it."""

    raw: bytes
    """the checked telegrams as they came, one after the other"""
    frames: tuple[dict[str, Any], ...]
    """what `Driver.decode` makes of each of them, or an object of that form for each register"""
    alarm: str | None = None
    """what it reports beside them, in words; None: nothing"""


@runtime_checkable
class Inspector(Protocol):
    """A driver that shows everything a device says."""

    async def inspect(self, bus: BaseModel, meter: BaseModel | str) -> Seen:
        """Ask the meter with these settings, or at this address.

        FieldError where it gives none, OrderRefusedError for what is no address.
        """

    def model_file(self, raw: bytes, source: str) -> str:
        """A model file to complete, with all that this answer holds and the answer as its proof.

        `source` says where it was captured. OrderRefusedError where the answer tells too little.
        """


@runtime_checkable
class Tracer(Protocol):
    """A driver whose answers are words that only a model gives a meaning."""

    async def trace(self, bus: BaseModel, meter: BaseModel) -> Seen:
        """The words of all registers of this meter, also of those that give no value; FieldError."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """What an order has led to."""

    text: str
    """one sentence for the installer"""
    settings: Mapping[str, str | int]
    """what is to be written into the settings of the meter, or of the line where it says `baud`"""


@runtime_checkable
class Installer(Protocol):
    """A driver that sets up the devices on its lines.

    A meter is named by its settings or its address. FieldError where it does not answer or has not done it,
    OrderRefusedError for what may not be ordered.
    """

    async def set_address(self, bus: BaseModel, meter: BaseModel | str, address: int) -> Done:
        """Give it a primary address that nobody has."""

    async def set_baud(self, bus: BaseModel, meter: BaseModel | str, baud: int) -> Done:
        """Let it speak at this baud rate from now on."""

    async def set_clock(self, bus: BaseModel, meter: BaseModel | str, now: datetime) -> Done:
        """Set its clock to what a clock shows now, where the meter is."""


class BadgeReader(Protocol):
    """A badge reader at an access point."""

    async def report(self) -> str:
        """The identifier that the reader reports next: upper-case hex, in ISO 14443 order.

        A badge that is held may be reported many times. LineDownError while the reader is not there; each call
        looks for it again.
        """

    async def show(self, *, accepted: bool) -> None:
        """Tell the person at the reader; LineDownError where it is not there."""

    async def close(self) -> None:
        """Let go of the reader."""


class ReaderDriver(Protocol):
    """A kind of badge reader, found by the entry points `submeter.readers`."""

    name: str
    schema: type[BaseModel]
    """settings of one reader, without id, driver and access_point"""

    def open(self, settings: BaseModel) -> BadgeReader:
        """Make the reader; nothing is opened yet."""


class Machine(Protocol):
    """The permit of a machine: a relay that lets it run."""

    async def switch(self, *, on: bool) -> None:
        """Give or withdraw the permit; FieldError where the relay does not acknowledge it."""

    async def is_on(self) -> bool:
        """What the relay says it is; FieldError where it says nothing."""


class MachineDriver(Protocol):
    """A kind of permit, found by the entry points `submeter.machines`."""

    name: str
    bus: str
    """name of the driver of the lines that it can be on"""
    schema: type[BaseModel]
    """settings of one machine, without id, driver, access_point, bus, meter, register, point and times"""

    def open(self, settings: BaseModel, bus: MeterBus) -> Machine:
        """Make the permit on an open line of the driver `bus`: one master for its meters and its relays."""
