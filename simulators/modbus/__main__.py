"""Modbus meters to try a master on: `python -m simulators.modbus --help`."""

from __future__ import annotations

import argparse
import asyncio
import random
import signal
import sys
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from simulators import arguments
from simulators.modbus import FAULTS, Chance, Line, RtuLine, Unit, layouts_of_models, sunspec
from simulators.modbus.device import DEVICE_FAILURE
from simulators.modbus.sunspec import FLOATS, INTEGERS
from simulators.pty import Noise, RtuWire

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from simulators.modbus import Layout, RtuBus

_REFUSED = 3
_BAUDS = (1200, 2400, 4800, 9600, 19200, 38400, 57600, 115200)
_MOST_METERS = 247
_MOST_STEPS = 3
"""by which a counter goes on each second"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Listen until Ctrl-C; the exit code."""
    options = _parser().parse_args(arguments)
    try:
        asyncio.run(_run(options))
    except OSError as error:
        where = options.pty or f"port {options.port}"
        print(f"{where}: {error.strerror}; name a place that is free", file=sys.stderr)
        return _REFUSED
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m simulators.modbus", description=__doc__)
    add = parser.add_argument
    add("--port", type=arguments.port, metavar="N", default=0, help="TCP port of this machine (a free one)")
    add("--rtu", action="store_true", help="RTU frames at the port, as behind a plain converter")
    add("--pty", type=Path, metavar="LINK", help="a serial device behind this link instead of a port")
    add("--meters", type=arguments.at_most(_MOST_METERS), metavar="N", default=10, help="how many (10)")
    add("--kind", choices=sorted(_kinds()), action="append", metavar="MODEL", help="of these only; may be repeated")
    add("--seed", type=int, default=1, help="the same counters and faults again (1)")
    add("--baud", type=int, choices=_BAUDS, default=0, help="speed of the line (a pty: 9600; a port: no wire time)")
    add("--turnaround", type=float, default=0.005, metavar="SECONDS", help="until a meter answers (0.005)")
    add("--echo", action="store_true", help="the adapter gives back what is sent")
    add("--noise", type=arguments.part, default=0.0, metavar="RATE", help="part of the octets that is spoilt")
    add("--most-callers", type=arguments.at_most(_MOST_METERS), metavar="N", help="hang up on whoever is one too many")
    add("--code", type=arguments.at_most(255), default=DEVICE_FAILURE, metavar="N", help="of the fault exception (4)")
    add(
        "--fault",
        type=arguments.share(FAULTS),
        action="append",
        default=[],
        metavar="NAME=SHARE",
        help=f"part of the answers that has it, e.g. late=0.01; one of {', '.join(FAULTS)}",
    )
    return parser


def _kinds() -> dict[str, Layout]:
    return layouts_of_models() | {f"sunspec-{model}": sunspec(model) for model in (*INTEGERS, *FLOATS)}


def _meters(options: argparse.Namespace) -> list[Unit]:
    """As many as asked for, of all kinds by turns."""
    chance, kinds = random.Random(options.seed), _kinds()
    chosen = options.kind or sorted(kinds)
    return [
        Unit(
            address=i + 1,
            layout=layout,
            counts={name: chance.randrange(10**6) for name in layout.counters},
            chance=Chance(options.seed + i, dict(options.fault)) if options.fault else None,
            code=options.code,
        )
        for i, layout in enumerate(kinds[chosen[i % len(chosen)]] for i in range(options.meters))
    ]


def _set_up(bus: RtuBus, options: argparse.Namespace) -> None:
    bus.echo = options.echo
    if options.noise:
        bus.noise = Noise(chance=random.Random(options.seed), rate=options.noise, parity=False)


@asynccontextmanager
async def _listening(units: list[Unit], options: argparse.Namespace) -> AsyncIterator[str]:
    """Where the meters can be reached."""
    if options.pty is not None:
        wire = RtuWire(options.pty, units, baud=options.baud or 9600, turnaround=options.turnaround)
        _set_up(wire, options)
        wire.plug()
        yield str(options.pty)
        wire.unplug()
        return
    kind = RtuLine if options.rtu else Line
    line = kind(units, baud=options.baud, turnaround=options.turnaround)
    line.most_callers = options.most_callers
    if isinstance(line, RtuLine):
        _set_up(line, options)
    yield f"127.0.0.1:{await line.start(port=options.port)}"
    await line.close()


def _tell(where: str, units: list[Unit]) -> None:
    print(f"{len(units)} meters at {where}; Ctrl-C ends")
    for unit in units:
        places = [f"{name} {counter.function}:{counter.address}" for name, counter in unit.layout.counters.items()]
        print(f"unit {unit.address:3}  {'  '.join(places)}")
    sys.stdout.flush()


async def _run(options: argparse.Namespace) -> None:
    units, stopped = _meters(options), asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stopped.set)
    async with _listening(units, options) as where:
        _tell(where, units)
        flow = asyncio.create_task(_flow(units, random.Random(options.seed)))
        await stopped.wait()
        flow.cancel()
    for unit in units:
        print(f"unit {unit.address}: {unit.asked} requests, {unit.counts}")


async def _flow(units: list[Unit], chance: random.Random) -> None:
    while True:
        await asyncio.sleep(1)
        for unit in units:
            unit.advance(chance.randint(0, _MOST_STEPS))


if __name__ == "__main__":
    sys.exit(main())
