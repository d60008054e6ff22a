"""Numbers about the running gateway, in Prometheus text, for this machine only."""

from __future__ import annotations

import asyncio
import logging
import shutil
from contextlib import closing, suppress
from typing import TYPE_CHECKING, Protocol

from prometheus_client import CONTENT_TYPE_PLAIN_0_0_4, CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from gateway.service.settle import HELD
from gateway.service.storing import StoreUnavailableError

if TYPE_CHECKING:
    from asyncio import StreamReader, StreamWriter
    from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
    from pathlib import Path

    from gateway.core.event import Alarm, Event
    from gateway.ports.clock import WallClock
    from gateway.service.health import Holdings
    from gateway.service.judge import Verdict
    from gateway.service.messages import Stream
    from gateway.service.poll import PollCounts

HOST = "127.0.0.1"
PATH = "/metrics"
MAX_HEAD = 8192
"""bytes of a request"""
PATIENCE = 5.0
"""seconds for a request, and for its answer to be taken"""
AT_ONCE = 8
"""conversations; one more is turned away"""
AGAIN = 30.0
"""seconds until a port that is taken is tried again"""

_log = logging.getLogger(__name__)


class MetricsStore(Protocol):
    """What is counted in the store."""

    async def streams(self) -> Sequence[Stream]:
        """The streams of the current epoch."""

    async def events(self, stream: str, after: int, limit: int) -> Sequence[Event]:
        """The events of a stream that follow a number."""

    async def open_alarms(self) -> Sequence[Alarm]:
        """The alarms that have not ended."""


class Waiting(Protocol):
    """What the store could not keep so far."""

    given_up: int
    """writes that were lost"""

    def __len__(self) -> int:
        """How many writes wait."""


class Metrics:
    """Everything that is counted, asked for anew each time."""

    def __init__(  # noqa: PLR0913 - one for each thing that is counted
        self,
        *,
        store: MetricsStore,
        holdings: Callable[[], Awaitable[Holdings]],
        counts: Callable[[], Iterable[PollCounts]],
        stored: Callable[[], int],
        backlog: Waiting,
        judged: Callable[[], Mapping[tuple[str, Verdict], int]],
        delivered: Mapping[str, int],
        dropped_taps: Callable[[], Mapping[str, int]],
        unbilled: Callable[[], int],
        clock: WallClock,
        disk: Path | None,
    ) -> None:
        """`delivered` counts messages by what became of them, `dropped_taps` taps by access point.

        `unbilled`: meters of the settings of which the property data have no register. `disk` is where the store lies,
        where it is a file.
        """
        self._store = store
        self._holdings = holdings
        self._counts = counts
        self._readings = stored
        self._backlog = backlog
        self._judged = judged
        self._delivered = delivered
        self._dropped_taps = dropped_taps
        self._unbilled = unbilled
        self._clock = clock
        self._disk = disk

    async def text(self) -> bytes:
        """All numbers in the text format 0.0.4."""
        registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        registry.register(
            _Collected(
                [*self._polls(), *await self._stored(), self._verdicts(), self._messages(), self._taps(), *self._box()]
            )
        )
        return generate_latest(registry)

    def _polls(self) -> Iterable[Metric]:
        polls = CounterMetricFamily("submeter_polls", "Polls since the start", labels=["line", "meter", "result"])
        rounds = CounterMetricFamily("submeter_rounds", "Rounds of polls since the start", labels=["line"])
        missed = CounterMetricFamily("submeter_rounds_missed", "Rounds left out since the start", labels=["line"])
        for line in self._counts():
            rounds.add_metric([line.line], line.rounds)
            missed.add_metric([line.line], line.missed)
            for meter in line.meters:
                polls.add_metric([line.line, meter.meter, "ok"], meter.ok)
                polls.add_metric([line.line, meter.meter, "failed"], meter.failed)
                polls.add_metric([line.line, meter.meter, "spared"], meter.spared)
        return polls, rounds, missed

    def _verdicts(self) -> Metric:
        text = "Readings by their verdict: measured, rollover, exchange_suspected, garbage; no_value"
        family = CounterMetricFamily("submeter_readings_judged", text, labels=["register", "verdict"])
        for (register, verdict), count in sorted(self._judged().items()):
            family.add_metric([register, verdict], count)
        return family

    def _messages(self) -> Metric:
        family = CounterMetricFamily("submeter_messages", "Messages to and from the broker", labels=["result"])
        for result, count in sorted(self._delivered.items()):
            family.add_metric([result], count)
        return family

    def _taps(self) -> Metric:
        text = "Taps of badges beyond what a reader may report"
        family = CounterMetricFamily("submeter_taps_dropped", text, labels=["access_point"])
        for point, count in sorted(self._dropped_taps().items()):
            family.add_metric([point], count)
        return family

    async def _stored(self) -> Iterable[Metric]:
        depth = GaugeMetricFamily("submeter_outbox_events", "Events not finished yet", labels=["kind"])
        oldest = GaugeMetricFamily("submeter_outbox_oldest_seconds", "Age of the oldest of them", labels=["kind"])
        for stream in await self._store.streams():
            depth.add_metric([stream.kind], stream.head - stream.finished)
            oldest.add_metric([stream.kind], await self._age(stream))
        holdings = await self._holdings()
        kept = CounterMetricFamily("submeter_readings_stored", "Readings stored since the start", self._readings())
        charges = CounterMetricFamily("submeter_charges", "Charges and reversals in the store", holdings.charges)
        conflicts = GaugeMetricFamily("submeter_conflicts", "Readings that contradict another", holdings.conflicts)
        alarms = self._alarms(await self._store.open_alarms())
        return depth, oldest, kept, *self._unstored(), charges, conflicts, *alarms

    def _unstored(self) -> Iterable[Metric]:
        text = "Rounds of readings, and alarms, that wait in memory for the store"
        yield GaugeMetricFamily("submeter_writes_waiting", text, len(self._backlog))
        lost = "Of these, lost since the start because too many waited"
        yield CounterMetricFamily("submeter_writes_given_up", lost, self._backlog.given_up)

    async def _age(self, stream: Stream) -> float:
        first = await self._store.events(stream.name, stream.finished, 1)
        return max((self._clock.now() - first[0].time).total_seconds(), 0.0) if first else 0.0

    def _alarms(self, alarms: Sequence[Alarm]) -> Iterable[Metric]:
        family = GaugeMetricFamily("submeter_alarms_open", "Alarms that have not ended", labels=["code", "severity"])
        kinds = [(alarm.code, alarm.severity) for alarm in alarms]
        for kind in sorted(set(kinds)):
            family.add_metric(kind, kinds.count(kind))
        holds = sum(alarm.code in HELD for alarm in alarms)
        return family, GaugeMetricFamily("submeter_holds", "Open alarms that hold back charges", holds)

    def _box(self) -> Iterable[Metric]:
        text = "Meters of the settings of which the property data have no register"
        yield GaugeMetricFamily("submeter_meters_unbilled", text, self._unbilled())
        yield GaugeMetricFamily("submeter_clock_trusted", "1: the clock is synchronised", int(self._clock.trusted()))
        if self._disk is not None:
            with suppress(OSError):  # the folder is gone: then there is no number
                free = shutil.disk_usage(self._disk).free
                yield GaugeMetricFamily("submeter_disk_free_bytes", "Free space where the store lies", free)


class _Collected(Collector):
    """Families as a registry wants them."""

    def __init__(self, families: Sequence[Metric]) -> None:
        self._families = families

    def collect(self) -> Iterable[Metric]:
        return self._families


class MetricsServer:
    """Answers GET /metrics on a local port, and nothing else."""

    def __init__(self, port: int, text: Callable[[], Awaitable[bytes]], beat: Callable[[], None]) -> None:
        """`beat` is called at every sign of life."""
        self._port = port
        self._text = text
        self._beat = beat
        self._talks: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        """Listen until cancelled; a port that somebody else has is tried again: meters are read all the same."""
        while True:
            try:
                server = await asyncio.start_server(self._accept, HOST, self._port, limit=MAX_HEAD)
            except OSError as error:
                _log.warning("Metrics: port %d of %s cannot be had (%s); trying again", self._port, HOST, error)
                self._beat()
                await asyncio.sleep(AGAIN)
                continue
            _log.info("Metrics: http://%s:%d%s", HOST, self._port, PATH)
            try:
                while True:
                    self._beat()
                    await asyncio.sleep(AGAIN)
            finally:
                server.close()
                for talk in self._talks:
                    talk.cancel()

    def _accept(self, reader: StreamReader, writer: StreamWriter) -> None:
        talk = asyncio.get_running_loop().create_task(self._talk(reader, writer))
        self._talks.add(talk)
        talk.add_done_callback(self._talks.discard)

    async def _talk(self, reader: StreamReader, writer: StreamWriter) -> None:
        with closing(writer), suppress(OSError, TimeoutError):
            async with asyncio.timeout(PATIENCE):
                writer.write(await self._answer(reader))
                await writer.drain()

    async def _answer(self, reader: StreamReader) -> bytes:
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode("ascii")
        except (asyncio.IncompleteReadError, asyncio.LimitOverrunError, UnicodeDecodeError):
            head = ""
        if len(self._talks) > AT_ONCE:
            return _response("503 Service Unavailable", b"too many at once\n")
        if refused := _refusal(head.partition("\r\n")[0].split(" ")):
            return refused
        try:
            return _response("200 OK", await self._text())
        except StoreUnavailableError as error:
            return _response("503 Service Unavailable", f"{error}\n".encode())


def _refusal(words: Sequence[str]) -> bytes | None:
    if len(words) != len(("method", "path", "version")) or not words[2].startswith("HTTP/1."):
        return _response("400 Bad Request", b"this is no request\n")
    if words[1] != PATH:
        return _response("404 Not Found", f"there is {PATH} only\n".encode())
    return None if words[0] == "GET" else _response("405 Method Not Allowed", b"", "Allow: GET\r\n")


def _response(status: str, body: bytes, more: str = "") -> bytes:
    head = (
        f"HTTP/1.1 {status}\r\nContent-Type: {CONTENT_TYPE_PLAIN_0_0_4}\r\nContent-Length: {len(body)}\r\n"
        f"Connection: close\r\n{more}\r\n"
    )
    return head.encode() + body
