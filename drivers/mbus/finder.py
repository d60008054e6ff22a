"""Carries a search out on an open line."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from drivers.mbus.frame import parse_frame
from drivers.mbus.link import req_ud2, select, snd_nke
from drivers.mbus.master import TRIES
from drivers.mbus.secondary import SELECTED, identity, parse

if TYPE_CHECKING:
    from drivers.mbus.master import Master
    from drivers.mbus.search import Search, Step


@dataclass(frozen=True, slots=True, kw_only=True)
class Heard:
    """What a step has shown."""

    who: Literal["nobody", "one", "several"]
    octets: bytes = b""
    """the answer of the one"""
    surely: bool = True
    """whether several have been heard; otherwise they are only likely"""


async def look(master: Master, search: Search, step: Step) -> Heard:
    """Do one step. LineDownError of the line, WrongAnswerError where it never falls silent."""
    asked = step.asked
    acknowledged, problem = await _wake(master, search, step)
    search.uneven = search.uneven or problem is not None
    if acknowledged is None and problem is None and step.kind != "again":
        return Heard(who="nobody")
    if acknowledged is not None and search.crowded(asked):
        return Heard(who="several", surely=False)
    return await _data(master, search, step, acknowledged=acknowledged is not None, damaged=int(problem is not None))


async def _wake(master: Master, search: Search, step: Step) -> tuple[bytes | None, str | None]:
    """Who is meant is to acknowledge: what `Master.attempt` says of it. Where much is lost, it is asked thrice."""
    asked = step.asked
    wake = snd_nke(asked) if isinstance(asked, int) else select(asked)
    for _ in range(TRIES if step.kind == "again" and search.is_bad() else 1):
        search.selections += not isinstance(asked, int)
        acknowledged, problem = await master.attempt(asked, wake, "ack")
        if acknowledged is not None or problem is not None:
            return acknowledged, problem
    return None, None


async def _data(master: Master, search: Search, step: Step, *, acknowledged: bool, damaged: int) -> Heard:
    """Who answers with data, after so many damaged answers."""
    asked = step.asked
    request = req_ud2(asked if isinstance(asked, int) else SELECTED, fcb=True)
    before = damaged
    while True:
        octets, problem = await master.attempt(asked, request, "data")
        if octets is not None and not await master.surplus():
            if search.doubts(asked) and not await _is_there(master, search, octets):
                return Heard(who="several")
            search.answers += 1 + damaged - before
            search.damaged += damaged - before
            return Heard(who="one", octets=octets)
        if octets is None and problem is None and not acknowledged:
            return Heard(who="nobody")  # what came instead of an acknowledgement was noise
        damaged += 1
        if not search.asks_again(asked, damaged):
            return Heard(who="several")


async def _is_there(master: Master, search: Search, octets: bytes) -> bool:
    """Whether the meter that the answer names acknowledges when it is selected by all of its address.

    Answers that coincide bit for bit show a space wherever one of them does, and their checksums may fit by chance.
    """
    who = identity(parse_frame(octets).user_data)
    if who is None:
        return True
    exact = parse(str(who))
    for _ in range(TRIES):
        search.selections += 1
        if (await master.attempt(exact, select(exact), "ack"))[0] is not None:
            return True
    return False
