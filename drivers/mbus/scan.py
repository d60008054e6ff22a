"""The search of a line, at one baud rate after the other, as the gateway asks for it."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, get_args

from drivers.mbus import search
from drivers.mbus.finder import look
from drivers.mbus.frame import FrameError, parse_frame
from drivers.mbus.master import Master, told
from drivers.mbus.media import MEDIA
from drivers.mbus.model import MODELS
from drivers.mbus.search import Search, Way
from drivers.mbus.secondary import SELECTED, Identity, identity, parse
from drivers.mbus.telegram import decode
from gateway.ports.field import (
    Device,
    NoAnswerError,
    ScanProgress,
    ScanRefusedError,
    ScanTrouble,
    WrongAnswerError,
)

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping

    from drivers.mbus.link import Timing
    from drivers.mbus.model import MBusModel
    from drivers.mbus.search import Step
    from drivers.network import Line
    from gateway.ports.field import Scanned, ScanOrder

WAYS: tuple[Way, ...] = ("secondary", "primary")
OTHERS = (
    "ACW",
    "ABB",
    "AMT",
    "DME",
    "EFE",
    "ELR",
    "ELV",
    "GAV",
    "HYD",
    "ITR",
    "KAM",
    "LUG",
    "NZR",
    "REL",
    "SON",
    "ZRI",
)
"""makers of wired meters (FLAG association) to try, beside those of the model files, where meters share a number"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Speed:
    """How to open the line at one baud rate."""

    baud: int
    timing: Timing
    connect: Callable[[], Awaitable[Line]]


async def scan(
    at: Callable[[int], Speed], speeds: tuple[int, ...], order: ScanOrder, models: Mapping[str, MBusModel] = MODELS
) -> AsyncGenerator[Scanned, None]:
    """See `gateway.ports.field.Scanner`. `at` says how to open the line at a baud rate."""
    left, going = _begun(speeds, order, models)
    while left:
        speed = at(left[0])
        line = await speed.connect()
        try:
            async for scanned in _one_speed(line, speed, going, left, models):
                yield _of_the_whole_way(scanned, len(speeds) - len(left), len(speeds))
        finally:
            await line.close()
        left = left[1:]
        going = _next_speed(order, going, models)


def _of_the_whole_way(scanned: Scanned, done: int, speeds: int) -> Scanned:
    if not isinstance(scanned, ScanProgress):
        return scanned
    return replace(scanned, percent=(100 * done + scanned.percent) // speeds)


def _begun(
    speeds: tuple[int, ...], order: ScanOrder, models: Mapping[str, MBusModel]
) -> tuple[tuple[int, ...], Search]:
    if order.parities:
        message = "the M-Bus has even parity everywhere; leave --parity out"
        raise ScanRefusedError(message)
    if order.units:
        message = "an M-Bus line is searched as a whole, whatever addresses its meters have; leave --units out"
        raise ScanRefusedError(message)
    if order.way not in (*WAYS, ""):
        message = f'"{order.way}" is no way to search an M-Bus line; write {" or ".join(WAYS)}'
        raise ScanRefusedError(message)
    if not order.rest:
        return speeds, _from_the_beginning(order, models)
    try:
        rest = json.loads(order.rest)
        return tuple(map(int, rest["speeds"])), search.resume(rest["search"])
    except (ValueError, KeyError, TypeError) as error:
        message = "what is kept of the earlier search cannot be read; search from the beginning"
        raise ScanRefusedError(message) from error


def _from_the_beginning(order: ScanOrder, models: Mapping[str, MBusModel]) -> Search:
    way = next(each for each in get_args(Way) if each == (order.way or WAYS[0]))
    known = {*OTHERS, *(model.identity.manufacturer for model in models.values())}
    return search.begin(way, sorted(map(_code, known)))


def _next_speed(order: ScanOrder, before: Search, models: Mapping[str, MBusModel]) -> Search:
    """Who was found at an earlier speed is not found again."""
    begun = _from_the_beginning(order, models)
    begun.seen, begun.selections = before.seen, before.selections
    return begun


async def _one_speed(
    line: Line, speed: Speed, going: Search, left: tuple[int, ...], models: Mapping[str, MBusModel]
) -> AsyncGenerator[Device | ScanTrouble | ScanProgress, None]:
    master = Master(line, speed.timing)
    while (step := going.next()) is not None:
        heard = await look(master, going, step)
        if heard.who == "one":
            found = _device(step, heard.octets, speed.baud, models)
            if going.one(step, str(found.facts["secondary"] or step.place)):
                yield replace(found, raw=await _whole(master, going, step, heard.octets))
        elif heard.who == "nobody":
            going.silence(step)
        elif not going.several(step, surely=heard.surely):
            yield ScanTrouble(place=told(step.asked), text=_trouble(step))
        rest = json.dumps({"speeds": left, "search": going.dump()})
        yield ScanProgress(
            place=f"{told(step.asked)} at {speed.baud} baud",
            percent=going.percent(),
            woken=going.selections,
            rest=rest,
        )


async def _whole(master: Master, going: Search, step: Step, first: bytes) -> bytes:
    """All telegrams of an answer of several; the first alone where the others do not come or cannot be read."""
    who = identity(parse_frame(first).user_data)
    asked = step.asked if isinstance(step.asked, int) or who is None else parse(str(who))
    try:
        if not decode(first).more_records_follow:
            return first
        going.selections += not isinstance(asked, int)
        return b"".join(one.octets for one in await master.read(asked))
    except (FrameError, NoAnswerError, WrongAnswerError):
        return first


def _trouble(step: Step) -> str:
    if isinstance(step.asked, int):
        return "several meters answer, or one whose answer never arrives whole; search by secondary address"
    return (
        "several meters share this secondary address, or one does whose answer never arrives whole; connect them one"
        " by one and give them primary addresses"
    )


def _device(step: Step, octets: bytes, baud: int, models: Mapping[str, MBusModel]) -> Device:
    frame = parse_frame(octets)
    who = identity(frame.user_data)
    address = step.asked if isinstance(step.asked, int) else frame.address
    known = None if who is None else _model(who, models)
    own = None if address == SELECTED else address
    by_number = not isinstance(step.asked, int) and who is not None
    wiring: dict[str, str | int] = {"secondary": str(who)} if by_number else {"address": address}
    return Device(
        wiring={"model": known, **wiring} if known else wiring,
        facts={
            "address": own,
            "secondary": None if who is None else str(who),
            "manufacturer": None if who is None or who.manufacturer is None else letters(who.manufacturer),
            "medium": None if who is None else MEDIA.get(who.medium, f"{who.medium:02x}"),
            "version": None if who is None else who.version,
            "model": known,
        },
        speed=baud,
        raw=octets,
        line={"baud": baud},
    )


def _model(who: Identity, models: Mapping[str, MBusModel]) -> str | None:
    """The model file for meters that identify themselves like this."""
    if who.manufacturer is None:
        return None
    maker = letters(who.manufacturer)
    fitting = (name for name, model in models.items() if model.identity.fits(maker, who.medium, who.version))
    return next(fitting, None)


def letters(code: int) -> str:
    """The three letters of a manufacturer's code (EN 62056-21)."""
    return "".join(chr(64 + (code >> shift & 0x1F)) for shift in (10, 5, 0))


def _code(maker: str) -> int:
    first, second, third = (ord(letter) - 64 for letter in maker)
    return first << 10 | second << 5 | third
