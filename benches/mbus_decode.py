"""What decoding an M-Bus telegram costs, beside the library that Python programs use for it."""

from __future__ import annotations

import contextlib
import json
import logging
import random
import resource
import time
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

from benches.figure import Figure, UnmeasurableError, say
from drivers.mbus.frame import FrameError
from drivers.mbus.report import describe
from drivers.mbus.telegram import decode

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

LIMIT = 8.0
RUNS = 5
_ROUNDS = 100
"""of all frames in one run"""
_PEER_ROUNDS = 10
MUTANTS = 200_000
LONGEST_MS = 10.0
GROWTH_KB = 4096
_WARM = 20_000
_FRAMES = Path(__file__).parents[1] / "tests" / "data" / "mbus-frames.jsonl"


async def measure(_folder: Path) -> Figure:
    """CPU time of loading and interpreting every captured telegram: pyMeterBus over ours, in one process."""
    interpret = _pymeterbus()
    cases = [case for case in map(json.loads, _FRAMES.read_text("utf-8").splitlines()) if case["expect"] == "variable"]
    wrong = [case["name"] for case in cases if describe(bytes.fromhex(case["hex"]))["records"] != case["records"]]
    if wrong:
        message = f"{', '.join(wrong)}: decoded wrongly, so it does not matter how fast"
        raise UnmeasurableError(message)
    frames = [octets for octets in (bytes.fromhex(case["hex"]) for case in cases) if _can(interpret, octets)]
    ours, theirs = [], []
    for run in range(RUNS):
        ours.append(_cpu_us(decode, frames, _ROUNDS))
        theirs.append(_cpu_us(interpret, frames, _PEER_ROUNDS))
        say(f"  run {run + 1} of {RUNS}: {ours[-1]:.0f} and {theirs[-1]:.0f} us a telegram")
    return Figure(
        name="mbus_decode_vs_pymeterbus",
        unit="times",
        value=median(their / our for our, their in zip(ours, theirs, strict=True)),
        limit=LIMIT,
        at_least=True,
        peers={"ours_us": median(ours), "pymeterbus_us": median(theirs)},
        note=f"{len(frames)} of {len(cases)} captured telegrams, which pyMeterBus can read",
    )


async def measure_mutants(_folder: Path) -> Figure:
    """The longest that any of many damaged telegrams takes, in CPU time; memory must stay what it was."""
    cases = [bytes.fromhex(case["hex"]) for case in map(json.loads, _FRAMES.read_text("utf-8").splitlines())]
    chance = random.Random(1)
    longest, warm_kb = 0.0, 0
    for number in range(_WARM + MUTANTS):
        octets = _mutant(chance, chance.choice(cases))
        taken = _decode_s(octets)
        if taken > longest:  # perhaps it was not its own: the collector ran, or another process disturbed
            taken = min(taken, _decode_s(octets), _decode_s(octets))
        longest = max(longest, taken)
        if number == _WARM:
            longest, warm_kb = 0.0, _peak_kb()
    growth = _peak_kb() - warm_kb
    if growth > GROWTH_KB:
        message = f"memory has grown by {growth} kB over {MUTANTS} mutants; {GROWTH_KB} kB is what chance explains"
        raise UnmeasurableError(message)
    return Figure(
        name="mbus_mutant_max_ms",
        unit="ms",
        value=longest * 1e3,
        limit=LONGEST_MS,
        peers={"growth_kb": growth},
        note=f"{MUTANTS} mutants of the captured telegrams, the shortest of three runs of a long one",
    )


def _decode_s(octets: bytes) -> float:
    begun = time.process_time()
    with contextlib.suppress(FrameError):
        decode(octets)
    return time.process_time() - begun


def _mutant(chance: random.Random, frame: bytes) -> bytes:
    """Some octets changed, dropped or added, in a frame whose lengths and checksum are right again."""
    body = bytearray(frame[4:-2])
    for _ in range(chance.randint(1, 4)):
        at = chance.randrange(len(body) + 1)
        body[at : at + chance.randrange(3)] = chance.randbytes(chance.randrange(3))
    del body[255:]
    return bytes([0x68, len(body), len(body), 0x68, *body, sum(body) & 0xFF, 0x16])


def _peak_kb() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def _pymeterbus() -> Callable[[bytes], Any]:
    level = logging.getLogger().level
    try:
        import meterbus  # noqa: PLC0415 - of the test lock
    except ImportError as error:
        message = "pyMeterBus is not installed; make test installs it"
        raise UnmeasurableError(message) from error
    logging.getLogger().setLevel(level)  # the import sets it to DEBUG

    def interpret(octets: bytes) -> Any:  # noqa: ANN401 - whatever it makes of them
        return [record.interpreted for record in meterbus.load(octets).records]

    return interpret


def _can(interpret: Callable[[bytes], Any], octets: bytes) -> bool:
    try:
        interpret(octets)
    except Exception:  # noqa: BLE001 - it raises what it likes: KeyError for a version, for one
        return False
    return True


def _cpu_us(work: Callable[[bytes], Any], frames: Sequence[bytes], rounds: int) -> float:
    begun = time.process_time()
    for _ in range(rounds):
        for octets in frames:
            work(octets)
    return (time.process_time() - begun) / rounds / len(frames) * 1e6
