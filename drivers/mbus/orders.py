"""Orders of the installer to one meter: show all you say, take this address, this baud rate, this time.

M-Bus documentation 4.8, 6.4 and 8.1.
"""

from __future__ import annotations

from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from drivers.mbus import secondary
from drivers.mbus.frame import parse_frame
from drivers.mbus.link import req_ud2, snd_nke
from drivers.mbus.master import TRIES, Master, told
from drivers.mbus.report import describe
from drivers.mbus.secondary import SELECTED, identity
from gateway.ports.field import Done, NoAnswerError, OrderRefusedError, Seen, UnreadableAnswerError, WrongAnswerError

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Sequence

    from drivers.mbus.master import Asked, Taken
    from drivers.mbus.scan import Speed

_APPLICATION_RESET, _DATA = 0x50, 0x51
_ADDRESS, _CLOCK = b"\x01\x7a", b"\x04\x6d"
BAUD_RATES = {300: 0xB8, 600: 0xB9, 1200: 0xBA, 2400: 0xBB, 4800: 0xBC, 9600: 0xBD, 19200: 0xBE, 38400: 0xBF}
"""and the CI fields that order them"""
_CLOCKS = (_CLOCK, b"\x06\x6d")
_NEARLY = timedelta(minutes=2)
"""by which a clock just set may differ: it counts minutes, and the line takes its time"""
_SUMMER_TIME = 0x80
"""SU, in the octet with the hour (type F)"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """Whom an order is for."""

    asked: Asked
    serial: str | None = None
    """the identification number that its answer must carry"""
    application_reset: int | None = None
    key: bytes | None = None


def target(text: str) -> Target:
    """The meter at an address as a person writes it; OrderRefusedError."""
    if text.isdecimal() and len(text) <= 3 and int(text) <= 250:
        return Target(asked=int(text))
    try:
        return Target(asked=secondary.parse(text))
    except secondary.SecondaryError as error:
        message = f'"{text}" is no meter of the settings and no address; write 0 to 250, or the 8 or 16 digits of one'
        raise OrderRefusedError(message) from error


@asynccontextmanager
async def spoken_to(speed: Speed) -> AsyncGenerator[Master, None]:
    """The line, open for one conversation; LineDownError."""
    line = await speed.connect()
    try:
        yield Master(line, speed.timing)
    finally:
        await line.close()


async def inspect(master: Master, whom: Target) -> Seen:
    """All that the meter says, read or not; NoAnswerError, WrongAnswerError."""
    if whom.application_reset is not None:
        await master.tell(whom.asked, bytes([_APPLICATION_RESET, whom.application_reset]))
    try:
        taken = await master.read(whom.asked, whom.key)
        raw = b"".join(one.octets for one in taken)
        frames = tuple(describe(one.octets, whom.key) for one in taken)
    except UnreadableAnswerError as error:
        raw, frames = error.raw, (describe(error.raw, whom.key),)
    return Seen(raw=raw, frames=frames, alarm=await _alarm(master, whom.asked))


async def _alarm(master: Master, asked: Asked) -> str | None:
    """What REQ_UD1 brings; many meters do not know it and stay silent."""
    try:
        code = await master.alarm(asked)
    except (NoAnswerError, WrongAnswerError):
        return None
    return None if code is None else alarm_text(code)


def alarm_text(code: int) -> str:
    """The alarm state (data type D): the documentation leaves every bit to the maker (4.8, 8.1)."""
    bits = ", ".join(str(bit) for bit in range(8) if code >> bit & 1)
    return f"alarm {code:02x}: bits {bits or 'none'} set; the maker's manual says what they mean"


async def set_address(master: Master, whom: Target, new: int) -> Done:
    """Give the meter this primary address; OrderRefusedError where somebody has it, FieldError."""
    if not 1 <= new <= 250:
        message = f"{new} is no address for a meter; write 1 to 250"
        raise OrderRefusedError(message)
    meter = await _identified(master, whom)
    if meter.address == new:
        return Done(
            text=f"meter {meter.number} has address {new} already; nothing was changed", settings={"address": new}
        )
    await _refuse_taken(master, new)
    await master.tell(meter.exact, bytes([_DATA, *_ADDRESS, new]))
    try:
        found = _number(await master.read(new))
    except NoAnswerError as error:
        message = f"meter {meter.number} has acknowledged address {new}, but does not answer there; it kept its own"
        raise WrongAnswerError(message) from error
    if found != meter.number:
        message = f"at address {new} answers the meter {found} instead of {meter.number}"
        raise WrongAnswerError(message)
    before = "" if meter.address is None else f"; it had {meter.address}"
    return Done(text=f"meter {meter.number} has address {new} now{before}", settings={"address": new})


async def _refuse_taken(master: Master, new: int) -> None:
    """Acknowledgements of several may vanish in their collision; their data leave something."""
    for request in (*[snd_nke(new)] * TRIES, req_ud2(new, fcb=True)):
        octets, problem = await master.attempt(new, request, "any")
        if octets is not None or problem is not None:
            message = f"address {new} answers already; give that meter another one first, or choose another"
            raise OrderRefusedError(message)


async def set_baud(at: Callable[[int], Speed], now: int, whom: Target, baud: int) -> Done:
    """Let the meter speak at this baud rate; `at` opens the line, `now` is its present rate. FieldError."""
    if baud not in BAUD_RATES:
        message = f"{baud} is no baud rate of the M-Bus; write one of {', '.join(map(str, BAUD_RATES))}"
        raise OrderRefusedError(message)
    async with spoken_to(at(now)) as master:
        meter = await _identified(master, whom)
        if baud == now:
            return Done(text=f"meter {meter.number} answers at {baud} baud already", settings={"baud": baud})
        await master.tell(meter.exact, bytes([BAUD_RATES[baud]]))
    if await _answers(at(baud), meter):
        return Done(text=f"meter {meter.number} answers at {baud} baud now", settings={"baud": baud})
    if await _answers(at(now), meter):
        message = f"meter {meter.number} has acknowledged {baud} baud, but answers at {now} baud as before"
        raise WrongAnswerError(message)
    message = (
        f"meter {meter.number} has acknowledged {baud} baud and answers neither there nor at {now} baud; most meters go"
        f" back by themselves within ten minutes: read it again then, or search for it with"
        f" `submeter scan mbus BUS --baud {baud} --baud {now}`"
    )
    raise NoAnswerError(message)


async def _answers(speed: Speed, meter: _Meter) -> bool:
    async with spoken_to(speed) as master:
        try:
            return _number(await master.read(meter.exact)) == meter.number
        except (NoAnswerError, WrongAnswerError):
            return False


async def set_clock(master: Master, whom: Target, now: datetime, *, daylight_saving: bool) -> Done:
    """Set the meter's clock; `now` carries its time zone. FieldError.

    `daylight_saving`: whether the clock goes with summer time; otherwise it shows standard time all year.
    """
    summer = now.dst() or timedelta()
    shown = (now + timedelta(seconds=30)).replace(tzinfo=None, second=0, microsecond=0)
    shown -= timedelta() if daylight_saving else summer
    meter = await _identified(master, whom)
    await master.tell(meter.exact, bytes([_DATA]) + _CLOCK + type_f(shown, summer=bool(daylight_saving and summer)))
    clock = _clock(await master.read(meter.exact))
    text = f"meter {meter.number} has its clock at {shown.isoformat(' ', 'minutes')} now"
    if clock is None:
        return Done(text=f"{text}; its answer does not show the clock", settings={})
    if abs(clock - shown) > _NEARLY:
        message = f"meter {meter.number} has acknowledged {shown}, but its clock shows {clock}; it may be protected"
        raise WrongAnswerError(message)
    return Done(text=text, settings={})


def type_f(at: datetime, *, summer: bool) -> bytes:
    """Date and time as four octets (type F of the documentation's appendix 8.2); years 2000 to 2080."""
    year = at.year % 100
    hour = at.hour | (_SUMMER_TIME if summer else 0)
    return bytes([at.minute, hour, at.day | (year & 0x07) << 5, at.month | (year >> 3) << 4])


def _clock(taken: Sequence[Taken]) -> datetime | None:
    records = [record for one in taken for record in one.telegram.records]
    for record in records:
        if record.meaning.dib_vib in _CLOCKS and record.kind == "date" and "*" not in str(record.value):
            return datetime.fromisoformat(str(record.value))
    return None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Meter:
    """Who was found."""

    number: str
    exact: Asked
    """that means this meter only: its whole secondary address, where it has one"""
    address: int | None
    """its primary address, where it says so"""


async def _identified(master: Master, whom: Target) -> _Meter:
    """The meter that is meant, by its own answer; orders go to it alone."""
    taken = await master.read(whom.asked, whom.key)
    number = _number(taken)
    if whom.serial is not None and number != whom.serial:
        message = f"{told(whom.asked)}: the meter {number} answers instead of {whom.serial}; nothing was changed"
        raise WrongAnswerError(message)
    frame = parse_frame(taken[0].octets)
    who = identity(frame.user_data)
    exact = whom.asked if who is None else secondary.parse(str(who))
    return _Meter(number=number, exact=exact, address=None if frame.address == SELECTED else frame.address)


def _number(taken: Sequence[Taken]) -> str:
    return taken[0].telegram.header.id or "without a number"
