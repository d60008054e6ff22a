"""The local port with numbers: what it answers, what it refuses, and what the numbers are."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager, suppress
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from gateway import metrics
from gateway.core.event import Alarm
from gateway.metrics import AT_ONCE, MAX_HEAD, Metrics, MetricsServer
from gateway.service.poll import MeterCount, PollCounts
from gateway.service.storing import ROUNDS, Backlog
from gateway.store import Store
from gateway.store.figures import Figures, folder
from tests.adapters.stores import QUARTER, START, charge, new_store, poll, reading
from tests.adapters.test_settle import HandClock
from tests.adapters.test_store_disk import Disk, hand_over
from tests.broker import free_port
from tests.outbox import HANGS
from tests.scenarios.plant import begin

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from pathlib import Path

COUNTS = PollCounts(line="mbus-1", rounds=3, missed=1, meters=(MeterCount(meter="heat-01", ok=2, failed=1, spared=4),))
GET = b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n"


async def asked(port: int, request: bytes = GET) -> tuple[str, bytes]:
    """The status line and the body of one answer."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(request)
    answer = await reader.read()
    writer.close()
    head, _, body = answer.partition(b"\r\n\r\n")
    return head.decode().partition("\r\n")[0], body


def numbers(text: bytes) -> dict[str, float]:
    """Every sample, read by the format's own parser: name{labels} -> value."""
    families = text_string_to_metric_families(text.decode())
    samples = (sample for family in families for sample in family.samples)
    return {
        ",".join([one.name, *(f"{key}={one.labels[key]}" for key in sorted(one.labels))]): one.value for one in samples
    }


@asynccontextmanager
async def serving(text: Callable[[], Awaitable[bytes]]) -> AsyncIterator[int]:
    """The port of a running server, once it listens."""
    port, alive = free_port(), asyncio.Event()
    task = asyncio.create_task(MetricsServer(port, text, alive.set).run())
    async with asyncio.timeout(HANGS):
        await alive.wait()
        yield port
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task


async def overfull() -> Backlog:
    """A hundred writes wait for a full disk, two more were given up."""
    disk = Disk()
    disk.full = True
    backlog = Backlog(disk, lambda: None)
    await hand_over(backlog, 0, ROUNDS + 2)
    return backlog


async def short() -> bytes:
    return b"one 1\n"


async def test_the_numbers_are_those_of_the_store_the_lines_and_the_box(tmp_path: Path) -> None:
    url = new_store(tmp_path)
    clock = HandClock(START + timedelta(hours=2))
    backlog = await overfull()
    async with Store(url) as store:
        await store.keep([poll(reading(), reading(register="volume")), poll(reading(START + QUARTER, "2.000"))])
        await store.keep([poll(reading(index="1.500"))])
        await store.publish([charge(1), charge(2), charge(3)], START)
        stream = next(one for one in await store.streams() if one.kind == "charge")
        await store.acknowledge([], {stream.name: 1})
        for code, source in (("no_price", "r"), ("meter_silent", "a"), ("meter_silent", "b")):
            await store.raise_alarm(Alarm(code=code, source=source, severity="warning", since=START, text="."))
        found = numbers(
            await Metrics(
                store=store,
                holdings=Figures(store).holdings,
                counts=lambda: [COUNTS],
                stored=lambda: store.stored,
                backlog=backlog,
                judged=lambda: {("heat-01-heat", "garbage"): 2},
                delivered={"published": 7, "command_dropped": 2},
                dropped_taps=lambda: {"washer": 180},
                unbilled=lambda: 3,
                clock=clock,
                disk=folder(url),
            ).text()
        )
    process = {name: found.pop(name) for name in list(found) if name.startswith("process_")}
    assert process["process_resident_memory_bytes"] > 1e6
    assert found.pop("submeter_disk_free_bytes") > 0
    assert found == {
        "submeter_polls_total,line=mbus-1,meter=heat-01,result=ok": 2,
        "submeter_polls_total,line=mbus-1,meter=heat-01,result=failed": 1,
        "submeter_polls_total,line=mbus-1,meter=heat-01,result=spared": 4,
        "submeter_rounds_total,line=mbus-1": 3,
        "submeter_rounds_missed_total,line=mbus-1": 1,
        "submeter_readings_stored_total": 3,
        "submeter_readings_judged_total,register=heat-01-heat,verdict=garbage": 2,
        "submeter_taps_dropped_total,access_point=washer": 180,
        "submeter_meters_unbilled": 3,
        "submeter_messages_total,result=published": 7,
        "submeter_messages_total,result=command_dropped": 2,
        "submeter_writes_waiting": 100,
        "submeter_writes_given_up_total": 2,
        "submeter_conflicts": 1,
        "submeter_charges_total": 3,
        "submeter_outbox_events,kind=charge": 2,
        "submeter_outbox_events,kind=session": 0,
        "submeter_outbox_events,kind=alarm": 3,
        "submeter_outbox_events,kind=reading": 3,
        "submeter_outbox_oldest_seconds,kind=charge": 7200,
        "submeter_outbox_oldest_seconds,kind=session": 0,
        "submeter_outbox_oldest_seconds,kind=alarm": 7200,
        "submeter_outbox_oldest_seconds,kind=reading": 7200,
        "submeter_alarms_open,code=meter_silent,severity=warning": 2,
        "submeter_alarms_open,code=no_price,severity=warning": 1,
        "submeter_holds": 1,
        "submeter_clock_trusted": 1,
    }


async def test_metrics_are_answered_and_nothing_else() -> None:
    async with serving(short) as port:
        assert await asked(port) == ("HTTP/1.1 200 OK", b"one 1\n")
        assert (await asked(port, b"GET / HTTP/1.1\r\n\r\n"))[0] == "HTTP/1.1 404 Not Found"
        assert (await asked(port, b"GET /metrics/../x HTTP/1.1\r\n\r\n"))[0] == "HTTP/1.1 404 Not Found"
        assert (await asked(port, b"POST /metrics HTTP/1.1\r\n\r\n"))[0] == "HTTP/1.1 405 Method Not Allowed"
        assert (await asked(port))[0] == "HTTP/1.1 200 OK"


@pytest.mark.parametrize(
    "request_",
    [b"\r\n\r\n", b"GET /metrics\r\n\r\n", b"GET /metrics SSH-2.0\r\n\r\n", b"\xff\xfe\r\n\r\n", GET + b"x" * MAX_HEAD],
)
async def test_what_is_no_request_harms_nobody(request_: bytes) -> None:
    async with serving(short) as port:
        first = await asked(port, request_)
        assert first[0] == ("HTTP/1.1 200 OK" if request_.startswith(GET) else "HTTP/1.1 400 Bad Request")
        assert (await asked(port, b"GET /" + b"x" * 2 * MAX_HEAD + b" HTTP/1.1\r\n\r\n"))[
            0
        ] == "HTTP/1.1 400 Bad Request"
        assert (await asked(port))[0] == "HTTP/1.1 200 OK"


async def test_one_too_many_is_turned_away_and_room_is_made_again() -> None:
    async with serving(short) as port:
        silent = [await asyncio.open_connection("127.0.0.1", port) for _ in range(AT_ONCE)]
        assert (await asked(port))[0] == "HTTP/1.1 503 Service Unavailable"
        reader, writer = silent[0]
        writer.write(GET)
        assert (await reader.read()).startswith(b"HTTP/1.1 200 OK")
        assert (await asked(port))[0] == "HTTP/1.1 200 OK"
        for _, one in silent:
            one.close()


async def test_who_says_nothing_is_let_go(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metrics, "PATIENCE", 0.01)
    async with serving(short) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        assert await reader.read() == b""
        writer.close()


async def test_a_port_that_is_taken_is_tried_again(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(metrics, "AGAIN", 0.01)
    alive, listening = asyncio.Event(), asyncio.Event()
    start = asyncio.start_server

    async def starting(*arguments: Any, **named: Any) -> asyncio.Server:  # noqa: ANN401 - as asyncio's own
        server = await start(*arguments, **named)
        listening.set()
        return server

    async with serving(short) as port:
        monkeypatch.setattr(asyncio, "start_server", starting)
        task = asyncio.create_task(MetricsServer(port, short, alive.set).run())
        await alive.wait()
        assert f"port {port} of 127.0.0.1 cannot be had" in caplog.text
    async with asyncio.timeout(HANGS):
        await listening.wait()
    assert (await asked(port))[0] == "HTTP/1.1 200 OK"
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task


async def test_the_daemon_answers_on_its_port_of_this_machine_only(tmp_path: Path) -> None:
    port, config = free_port(), tmp_path / "gateway.toml"
    new_store(tmp_path)
    config.write_text(
        f'site = "s"\ngateway = "g"\nstore = "sqlite:///gateway.db"\n[metrics]\nport = {port}\n', encoding="utf-8"
    )
    daemon = await begin("--config", str(config), "run", SUBMETER_CLOCK="")
    assert daemon.stderr is not None
    try:
        async with asyncio.timeout(HANGS):
            while not (await daemon.stderr.readline()).endswith(f"http://127.0.0.1:{port}/metrics\n".encode()):
                pass
        found = numbers((await asked(port))[1])
        assert found["submeter_charges_total"] == 0
        with pytest.raises(OSError, match="Connect"):
            await asyncio.open_connection("127.0.0.2", port)
    finally:
        daemon.terminate()
        _, log = await daemon.communicate()
    assert daemon.returncode == 0, log
