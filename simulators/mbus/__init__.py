"""M-Bus slaves as they are on a real bus: wire time, frame count bits, selection, collisions, faults on demand.

    heat = captured_telegrams()["itron-cf-55"]
    slaves = [Slave(address=a, captured=heat, serial=f"{a:08}", counts={"heat": 100}, lag=0.0) for a in (1, 2)]

    wire = MBusWire(Path("/tmp/ttyUSB0"), slaves, baud=2400)   # simulators.pty: a pty behind the link
    wire.plug(); ...; wire.unplug()
    line = Line(slaves, baud=2400, turnaround=0.01)            # TCP; baud=0: no wire time
    port = await line.start(); ...; await line.close()
    direct = Direct(Bus(slaves, baud=2400))                    # send/receive/close in this process, any loop's clock
    bus.send(octets, now); bus.due(grain); bus.take(now)       # no event loop at all: pure, times in seconds

All four have the attributes of `Bus`: slaves (by address at the start; more of one address under keys from 256 on),
baud, turnaround (seconds after the request's last bit; None: 11 bits), echo, noise, requests (good frames heard).
On a pty `baud` is what the master has set on the device; a slave with a `baud` of its own is deaf at any other.

A slave answers SND_NKE, REQ_UD2 (same FCB: the same telegram again; toggled: the next of `more`, DIF 1F), REQ_UD1
(`alarm`), selection (CI 52/56, wildcards, fabrication number 0C 78), application reset (CI 50, `readouts` by
sub-code), data send (CI 51: address 01 7A, clock 04 6D, number 0C 79, records wanted for readout) and CI B8 to BF (baud
rate; E5 at the old one), at its address, 253 while selected, 254 (everybody: they collide), 255 (no answer). `key` and
`mode` encrypt its answers. `slave.heard` tallies what was meant for it (reset, read, alarm, data, selection),
`slave.wakes` what it cost its battery: reads and everybody's selections. `slave.secondary()` are the eight octets of
a selection, `slave.telegram()` what it would answer. `slave.due` and `slave.kept` are what it remembers of its last
due date.

Faults: `slave.fault` (one of FAULTS), or `slave.chance = Chance(seed, {"late": 0.01})` for each answer anew;
`slave.lag`, `slave.address`, `slave.serial` may change at any time. Of the line: `bus.echo`, `bus.noise =
simulators.pty.Noise(...)`, `bus.intrude(octets, now)` for a second master, `bus.talk(octets, start)` for anything,
`line.converter = Converter(gather=, packet=, gap=, hang_up_after=)` for one that joins, splits, delays or hangs up.

Captured telegrams: captured_telegrams() with counters that move, telegrams_of_models() one of each model of the
gateway, captured(octets) any other. By hand: python -m simulators.mbus --help.
"""

from simulators.chance import Chance
from simulators.mbus.bus import Bus
from simulators.mbus.faults import FAULTS, Fault
from simulators.mbus.frames import Frame, Listener, long_frame, short_frame
from simulators.mbus.lines import Direct, Line
from simulators.mbus.slave import Slave
from simulators.mbus.telegrams import Captured, Counter, bcd, captured, captured_telegrams, telegrams_of_models, type_f
from simulators.tcp import Converter

__all__ = [
    "FAULTS",
    "Bus",
    "Captured",
    "Chance",
    "Converter",
    "Counter",
    "Direct",
    "Fault",
    "Frame",
    "Line",
    "Listener",
    "Slave",
    "bcd",
    "captured",
    "captured_telegrams",
    "long_frame",
    "short_frame",
    "telegrams_of_models",
    "type_f",
]
