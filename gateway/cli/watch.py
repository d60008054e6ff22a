"""`read METER --watch`: what an installer sees while turning a tap or clamping a transformer."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import click

from gateway.cli.exits import INTERRUPTED
from gateway.clock import SystemClock
from gateway.ports.field import FieldError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pydantic import BaseModel

    from gateway.cli import Options
    from gateway.core.units import Scaled
    from gateway.ports.field import Answer, MeterBus
    from gateway.settings import BusSettings

EVERY = 1.0
"""seconds; a slow line takes longer and is read as fast as it goes"""


def watched(options: Options, bus: BusSettings, meter: str, wired: BaseModel) -> None:
    """Read the meter, wired like that, again and again until Ctrl-C: exit 130. What fails is told, and tried again."""
    budget = bus.driver.reads_per_day(wired)
    if budget is not None:
        click.echo(f"the battery of {meter} bears {budget} reads a day, and each second takes one", err=True)
    try:
        asyncio.run(_watch(bus, meter, wired, as_json=options.json))
    except KeyboardInterrupt:
        raise click.exceptions.Exit(INTERRUPTED) from None


async def _watch(bus: BusSettings, meter: str, wired: BaseModel, *, as_json: bool) -> None:
    opened = bus.driver.open(bus.line, {meter: wired}, SystemClock())
    clock = asyncio.get_running_loop().time
    before: dict[str, Scaled] = {}
    try:
        due = clock()
        while True:
            before = await _shown(opened, meter, before, as_json=as_json)
            due = max(due + EVERY, clock())
            await asyncio.sleep(due - clock())
    finally:
        await opened.close()


async def _shown(opened: MeterBus, meter: str, before: dict[str, Scaled], *, as_json: bool) -> dict[str, Scaled]:
    """The indexes that the next difference is from."""
    try:
        answer = await opened.read(meter)
    except FieldError as error:
        click.echo(f"{meter}: {error}", err=True)
        return before
    told = _told(answer, before)
    click.echo(json.dumps(told) if as_json else _text(told))
    return {each.register: each.index for each in answer.values}


def _told(answer: Answer, before: Mapping[str, Scaled]) -> dict[str, Any]:
    registers = [
        {
            "register": each.register,
            "index": str(each.index),
            "difference": str(each.index - before[each.register]) if each.register in before else None,
            "unit": each.unit,
        }
        for each in answer.values
    ]
    at = SystemClock().now().isoformat(timespec="milliseconds")
    without = [{"register": each.register, "why": each.why} for each in answer.without]
    told = {"meter": answer.meter, "at": at, "serial": answer.serial, "status": answer.status, "registers": registers}
    return {**told, "without": without}


def _text(told: dict[str, Any]) -> str:
    registers = [
        f"{each['register']} {each['index']} {each['unit']}"
        + (f" (+{each['difference']})" if each["difference"] is not None else "")
        for each in told["registers"]
    ]
    registers += [f"{each['register']} no value" for each in told["without"]]
    status = f"  status {told['status']}" if told["status"] else ""
    return f"{told['at'][11:19]}  {'  '.join(registers)}{status}".replace("(+-", "(-")
