"""Modbus meters to try a master on: `python -m simulators.modbus --help`."""

from __future__ import annotations

import argparse
import asyncio
import random
import selectors
import signal
import sys
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from simulators import arguments
from simulators.modbus import FAULTS, Chance, Line, RtuLine, Unit, layouts_of_models, sunspec
from simulators.modbus.device import DEVICE_FAILURE
from simulators.modbus.rtu import BITS
from simulators.modbus.sunspec import FLOATS, INTEGERS
from simulators.pty import Noise, RtuWire

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from simulators.modbus import Layout, RtuBus

_REFUSED = 3
_BAUDS = (1200, 2400, 4800, 9600, 19200, 38400, 57600, 115200)
_USUAL_BAUD = 9600
_MOST_METERS = 247
_MOST_STEPS = 3
"""by which a counter goes on each second"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Listen until Ctrl-C; the exit code."""
    options = _options(arguments)
    try:
        with asyncio.Runner(loop_factory=_finer if options.pty else None) as runner:
            runner.run(_run(options))
    except OSError as error:
        where = options.pty or f"port {options.port}"
        print(f"{where}: {error.strerror}; name a place that is free", file=sys.stderr)
        return _REFUSED
    return 0


_EXAMPLES = """\
where: --port is a meter with Ethernet or a gateway that speaks Modbus TCP; with --baud it is as slow as the serial line
behind it. --rtu: a plain converter, RTU frames over TCP (framing = "rtu" in the gateway's settings). --pty: a serial
device; its meters are deaf at any other speed than --baud, as real ones are. It holds no parity: --parity and
--stopbits say how long an octet takes there, and nobody is deaf for them.

faults, as a part of the answers:
  late            --late seconds later, into the next question
  other_request   what the question before was to be answered with
  wrong_unit, wrong_function, short_count    of another unit, another function, one register less
  exception       --code
  silence         nothing
  noise, noise_within, noise_after           octets that nobody meant
  close           half an answer, and over TCP the end of the conversation
  reboot          half an answer, then nothing for --boot seconds
  not_available   the model's pattern for "no value", mostly all FF
  reset           the counters begin anew at 0
--wrap 20: the counters roll over within half a minute. --noise 0.001: on the wire, in both directions.

  python -m simulators.modbus --port 5020 --kind abb-b23 --fault late=0.01 --fault not_available=0.02
  python -m simulators.modbus --pty /tmp/ttyUSB0 --baud 19200 --parity even --meters 32
"""


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = _parser()
    options = parser.parse_args(arguments)
    if sum(dict(options.fault).values()) > 1:
        parser.error("the parts of the answers that have a fault add up to more than 1")
    return options


def _finer() -> asyncio.AbstractEventLoop:
    """Not epoll, which waits for whole milliseconds: as long as an octet takes at 9600 Bd."""
    return asyncio.SelectorEventLoop(selectors.SelectSelector())


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m simulators.modbus",
        description=__doc__,
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    _add_line(parser.add_argument_group("the line"))
    _add_meters(parser.add_argument_group("the meters"))
    return parser


def _add_line(group: argparse._ArgumentGroup) -> None:
    add = group.add_argument
    add("--port", type=arguments.port, metavar="N", default=0, help="TCP port of this machine (a free one)")
    add("--rtu", action="store_true", help="RTU frames at the port, as behind a plain converter")
    add("--pty", type=Path, metavar="LINK", help="a serial device behind this link instead of a port")
    add("--baud", type=int, choices=_BAUDS, default=0, help="speed of the line (a pty: 9600; a port: no wire time)")
    add("--parity", choices=("none", "even", "odd"), help="of the line (an octet has 11 bits where nothing is named)")
    add("--stopbits", type=int, choices=(1, 2), help="of the line")
    add("--turnaround", type=arguments.seconds, default=0.005, metavar="SECONDS", help="until a meter answers (0.005)")
    add("--echo", action="store_true", help="the adapter gives back what is sent")
    add("--noise", type=arguments.part, default=0.0, metavar="RATE", help="part of the octets that is spoilt")
    add("--most-callers", type=arguments.at_most(_MOST_METERS), metavar="N", help="hang up on whoever is one too many")


def _add_meters(group: argparse._ArgumentGroup) -> None:
    add = group.add_argument
    add("--meters", type=arguments.at_most(_MOST_METERS), metavar="N", default=10, help="how many (10)")
    add("--kind", choices=sorted(_kinds()), action="append", metavar="MODEL", help="of these only; may be repeated")
    add("--seed", type=int, default=1, help="the same counters and faults again (1)")
    add("--wrap", type=arguments.at_most(10**6), metavar="STEPS", help="counters begin so many steps before their end")
    add("--code", type=arguments.at_most(255), default=DEVICE_FAILURE, metavar="N", help="of the fault exception (4)")
    add("--late", type=arguments.seconds, default=1.5, metavar="SECONDS", help="of the fault late (1.5)")
    add("--boot", type=arguments.seconds, default=2.0, metavar="SECONDS", help="of the fault reboot (2)")
    add(
        "--fault",
        type=arguments.share(FAULTS),
        action="append",
        default=[],
        metavar="NAME=SHARE",
        help=f"part of the answers that has it, e.g. late=0.01; one of {', '.join(FAULTS)}",
    )


def _kinds() -> dict[str, Layout]:
    return layouts_of_models() | {f"sunspec-{model}": sunspec(model) for model in (*INTEGERS, *FLOATS)}


def _meters(options: argparse.Namespace) -> list[Unit]:
    """As many as asked for, of all kinds by turns."""
    chance, kinds = random.Random(options.seed), _kinds()
    chosen = options.kind or sorted(kinds)
    units = [
        Unit(
            address=i + 1,
            layout=layout,
            counts={name: chance.randrange(10**6) for name in layout.counters},
            chance=Chance(options.seed + i, dict(options.fault)) if options.fault else None,
            code=options.code,
            late=options.late,
            boot=options.boot,
            baud=None if options.pty is None else options.baud or _USUAL_BAUD,
        )
        for i, layout in enumerate(kinds[chosen[i % len(chosen)]] for i in range(options.meters))
    ]
    if options.wrap is not None:
        for unit in units:
            unit.wind(options.wrap)
    return units


def _bits(options: argparse.Namespace) -> int:
    """Of an octet: a start bit, eight of data, the parity, one or two stop bits."""
    if options.parity is None and options.stopbits is None:
        return BITS
    return 1 + 8 + (options.parity not in (None, "none")) + (options.stopbits or 1)


def _set_up(bus: RtuBus, options: argparse.Namespace) -> None:
    bus.echo, bus.bits = options.echo, _bits(options)
    if options.noise:
        bus.noise = Noise(chance=random.Random(options.seed), rate=options.noise, parity=False)


@asynccontextmanager
async def _listening(units: list[Unit], options: argparse.Namespace) -> AsyncIterator[str]:
    """Where the meters can be reached."""
    if options.pty is not None:
        wire = RtuWire(options.pty, units, baud=options.baud or _USUAL_BAUD, turnaround=options.turnaround)
        _set_up(wire, options)
        wire.plug()
        yield str(options.pty)
        wire.unplug()
        return
    kind = RtuLine if options.rtu else Line
    line = kind(units, baud=options.baud, turnaround=options.turnaround)
    line.most_callers, line.bits = options.most_callers, _bits(options)
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
