"""M-Bus meters to try a master on: `python -m simulators.mbus --help`."""

from __future__ import annotations

import argparse
import asyncio
import random
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from simulators import arguments
from simulators.mbus import FAULTS, Chance, Line, Slave, captured_telegrams, telegrams_of_models
from simulators.mbus.telegrams import captured, with_checksum
from simulators.pty import MBusWire, Noise

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from simulators.mbus import Bus, Captured

_REFUSED = 3
_BAUDS = (300, 600, 1200, 2400, 4800, 9600, 19200, 38400)
_MOST_METERS = 250
_MOST_LAG_BITS = 330
_RECORDS = 19
"""where they begin behind the long header"""
_MORE_FOLLOWS = frozenset({"abb-delta", "berg-dz-plus", "sensus-pollutherm"})
"""kinds whose captured telegram announces another one"""


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
    parser = argparse.ArgumentParser(prog="python -m simulators.mbus", description=__doc__)
    parser.add_argument(
        "--port", type=arguments.port, metavar="N", default=0, help="TCP port of this machine (a free one)"
    )
    parser.add_argument("--pty", type=Path, metavar="LINK", help="a serial device behind this link instead of a port")
    parser.add_argument("--meters", type=arguments.at_most(_MOST_METERS), metavar="N", default=10, help="how many (10)")
    parser.add_argument("--kind", choices=sorted(_kinds()), action="append", help="of these only; may be repeated")
    parser.add_argument("--unset", action="store_true", help="all have address 0: only their numbers tell them apart")
    parser.add_argument("--seed", type=int, default=1, help="the same meters and faults again (1)")
    parser.add_argument("--baud", type=int, choices=_BAUDS, default=2400, help="speed of the bus (2400)")
    parser.add_argument("--turnaround", type=float, metavar="SECONDS", help="until a meter answers (11 bits)")
    parser.add_argument(
        "--lag",
        type=arguments.at_most(_MOST_LAG_BITS),
        metavar="BITS",
        default=0,
        help="each meter answers up to so many bits later than the turnaround (0); confirmations that overlap then"
        " spoil each other's parity, and a serial device without a parity check drops such octets",
    )
    parser.add_argument("--echo", action="store_true", help="the converter gives back what is sent")
    parser.add_argument(
        "--noise", type=arguments.part, default=0.0, metavar="RATE", help="part of the octets that is spoilt"
    )
    parser.add_argument(
        "--fault",
        type=arguments.share(FAULTS),
        action="append",
        default=[],
        metavar="NAME=SHARE",
        help=f"part of the answers that has it, e.g. late=0.01; one of {', '.join(FAULTS)}",
    )
    return parser


def _kinds() -> dict[str, Captured]:
    return {**telegrams_of_models(), **captured_telegrams()}


def _meters(options: argparse.Namespace) -> list[Slave]:
    """As many as asked for, of all kinds by turns, each with a number of its own."""
    chance, kinds = random.Random(options.seed), _kinds()
    chosen = options.kind or sorted(kinds)
    numbers = chance.sample(range(1, 10**8), options.meters)
    return [
        Slave(
            address=0 if options.unset else i + 1,
            captured=kinds[chosen[i % len(chosen)]],
            more=_rest(chosen[i % len(chosen)], kinds),
            serial=f"{number:08}",
            baud=options.baud if options.pty else None,
            lag=chance.uniform(0, options.lag) / options.baud,
            chance=Chance(options.seed + i, dict(options.fault)) if options.fault else None,
        )
        for i, number in enumerate(numbers)
    ]


def _rest(kind: str, kinds: Mapping[str, Captured]) -> tuple[Captured, ...]:
    """The last telegram of a meter of which only the first was captured: nothing but its header."""
    if kind not in _MORE_FOLLOWS:
        return ()
    octets = kinds[kind].raw[4:_RECORDS] + b"\x0f"
    return (captured(with_checksum(bytearray([0x68, len(octets), len(octets), 0x68, *octets, 0, 0x16]))),)


def _set_up(bus: Bus, options: argparse.Namespace) -> None:
    bus.echo = options.echo
    if options.noise:
        bus.noise = Noise(chance=random.Random(options.seed), rate=options.noise, parity=True)


def _tell(where: str, options: argparse.Namespace, slaves: list[Slave]) -> None:
    print(f"{len(slaves)} meters at {where}, {options.baud} Bd; Ctrl-C ends")
    for slave in slaves:
        octets = slave.secondary()
        secondary = (octets[3::-1] + octets[4:]).hex()
        print(f"address {slave.address:3}  secondary {secondary}  {len(slave.telegram())} octets")
    sys.stdout.flush()


async def _run(options: argparse.Namespace) -> None:
    slaves, stopped = _meters(options), asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stopped.set)
    if options.pty is not None:
        wire = MBusWire(options.pty, slaves, baud=options.baud, turnaround=options.turnaround)
        _set_up(wire, options)
        wire.plug()
        _tell(str(options.pty), options, slaves)
        await stopped.wait()
        wire.unplug()
    else:
        line = Line(slaves, baud=options.baud, turnaround=options.turnaround)
        _set_up(line, options)
        _tell(f"127.0.0.1:{await line.start(port=options.port)}", options, slaves)
        await stopped.wait()
        await line.close()
    for slave in slaves:
        print(f"{slave.serial}: {slave.heard['read']} reads, {slave.heard['selection']} selections heard")


if __name__ == "__main__":
    sys.exit(main())
