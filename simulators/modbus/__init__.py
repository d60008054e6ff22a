"""Modbus devices as they are on a real line: register maps, read limits, wire time, silences, faults on demand.

    meter = Unit(address=1, layout=layouts()["eastron-sdm630"], counts={"import": 1234})    # 12.34 kWh
    line = Line([meter, Relay(address=9)])                 # Modbus TCP; baud=, turnaround=: a gateway to a serial line
    port = await line.start(); ...; await line.close()
    line = RtuLine([meter], baud=9600, turnaround=0.02)    # RTU frames over TCP; line.converter = Converter(...)
    wire = RtuWire(Path("/tmp/ttyUSB0"), [meter], baud=9600, turnaround=0.02)    # simulators.pty: a pty behind the link
    wire.plug(); ...; wire.unplug()
    bus.send(octets, now); bus.due(grain); bus.take(now)   # RtuBus: no event loop at all, times in seconds

All have units (by address; may change at any time), requests, mute (takes all, says nothing), baud and turnaround (from
the end of the silence behind a request). Ports have most_callers and turned_away, serial lines echo, noise and
too_early (requests before the silence of 3.5 octets was over). On a pty `baud` is what the master has set on the
device; a unit with a `baud` of its own is deaf at any other. One question takes its octets (11 `bits` each), the
silence, the turnaround, the answer's octets and the silence.

Layouts: layouts() of the simulated buildings' meters, layouts_of_models() of all model files of the gateway,
sunspec(203) of a meter that describes itself, Layout(counters={...}) of any other. `unit.counts` are whole steps, and
what does not fit rolls over; `unit.serial`, `unit.missing`, `unit.advance(steps)`, `unit.reset()`, `unit.wind(steps)`
to so many steps before the counters roll over.

Faults: `unit.fault` (one of FAULTS), or `unit.chance = Chance(seed, {"late": 0.01})` for each answer anew, with
`unit.code`, `unit.late` and `unit.boot`; `unit.asked` counts. By hand: python -m simulators.modbus --help.
"""

from simulators.chance import Chance
from simulators.modbus.device import Device, Devices, Reply
from simulators.modbus.faults import FAULTS, Fault, refusal
from simulators.modbus.layouts import Counter, Layout, Limits, SerialNumber, layouts, layouts_of_models
from simulators.modbus.lines import Line, RtuLine
from simulators.modbus.rtu import RtuBus, frame_pause, with_crc
from simulators.modbus.sunspec import sunspec
from simulators.modbus.unit import Unit
from simulators.tcp import Converter

__all__ = [
    "FAULTS",
    "Chance",
    "Converter",
    "Counter",
    "Device",
    "Devices",
    "Fault",
    "Layout",
    "Limits",
    "Line",
    "Reply",
    "RtuBus",
    "RtuLine",
    "SerialNumber",
    "Unit",
    "frame_pause",
    "layouts",
    "layouts_of_models",
    "refusal",
    "sunspec",
    "with_crc",
]
