"""Enrolling a badge by holding it to a reader: real reader protocol, real socket, real store."""

from __future__ import annotations

import asyncio
import json
import logging
from contextlib import asynccontextmanager, nullcontext
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest
from click.testing import CliRunner

from gateway import control
from gateway.cli import group
from gateway.control import ControlServer
from gateway.core.access import digest
from gateway.service import enrol, query
from gateway.service.command_execute import Commander
from gateway.service.command_schema import Answer, Enrol
from gateway.service.enrol import Enrolment
from tests.laundry import ANNA, BLOCKED, PEPPER, Laundry, laundry
from tests.outbox import HANGS

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from click.testing import Result

pytestmark = pytest.mark.steady

NEW, OTHER, RANDOM = "04FACADE000001", "04FACADE000002", "08ABCDEF"
VALUE = {"id": "b-new", "user": "blumer", "point": "flat-1", "access_points": ["washer"]}
WISH = Enrol(reader="reader-1", value=VALUE)


@dataclass(kw_only=True)
class Desk:
    """The laundry with its daemon's socket, and who asks there."""

    here: Laundry
    path: Path
    said: asyncio.Queue[str] = field(default_factory=asyncio.Queue)

    def ask(self, wish: Enrol = WISH) -> asyncio.Task[Answer | None]:
        loop = asyncio.get_running_loop()

        def say(text: str) -> None:
            loop.call_soon_threadsafe(self.said.put_nowait, text)

        return asyncio.create_task(asyncio.to_thread(control.ask, self.path, wish, say))

    async def told(self, words: str) -> None:
        """Wait until the person was told this."""
        async with asyncio.timeout(HANGS):
            while words not in await self.said.get():
                pass

    async def badges(self) -> set[str]:
        return {row.id for row in await self.here.store.property_rows(None) if row.kind == "badge"}

    async def submeter(self, *words: str) -> Result:
        """The command line, in a thread of its own."""
        config = self.path.with_name("gateway.toml")
        text = 'site = "sonnenhof"\ngateway = "gw-01"\nstore = "sqlite:///gateway.db"\n'
        config.write_text(text, encoding="utf-8")
        options = ("--user", "blumer", "--point", "flat-1", "--access-points", "washer", "--reader", "reader-1")
        return await asyncio.to_thread(
            CliRunner().invoke, group, ["--config", str(config), *words, "badge", "enrol", "b-new", *options]
        )

    async def away(self) -> None:
        """Another badge is held there, so that the one before has been away."""
        assert await self.here.tap(BLOCKED) == "red"


@asynccontextmanager
async def desk(folder: Path) -> AsyncIterator[Desk]:
    async with laundry(folder) as here:
        changed: Callable[[], None] = here.point.refresh
        commander = Commander(
            store=here.store, clock=here.clock, seal=lambda text: digest(text, PEPPER), changed=changed
        )
        path = control.socket_path(f"sqlite:///{folder}/gateway.db", folder / "gateway.toml")
        tapped = Enrolment(commander.check, {"reader-1": here.point}).tapped
        server = ControlServer(path, commander.execute, tapped=tapped, busy=nullcontext, beat=lambda: None)
        server.open()
        worker = asyncio.create_task(server.run())
        try:
            yield Desk(here=here, path=path)
        finally:
            worker.cancel()
            await asyncio.wait({worker})
            server.close()


@pytest.fixture
async def there(tmp_path: Path) -> AsyncIterator[Desk]:
    async with desk(tmp_path) as one:
        yield one


async def test_a_badge_that_is_held_there_twice_is_enrolled_audited_and_opens_the_machine(there: Desk) -> None:
    asking = there.ask()
    await there.told("hold the badge")
    assert await there.here.tap(NEW) == "green"
    await there.told("once more")
    assert await there.badges() == {"b-anna", "b-blocked", "b-caretaker", "b-expired"}
    await there.away()
    assert await there.here.tap(OTHER) == "green"  # a stranger's, once
    assert await there.here.tap(NEW) == "green"
    answer = await asking
    assert answer is not None
    assert (answer.ok, answer.applied, [change.id for change in answer.changes]) == (True, True, ["b-new"])
    (entry,) = await query.audit(there.here.store, "badge", "b-new")
    assert entry.by not in {"", "test"}
    assert await there.here.store.open_sessions() == []
    await there.away()
    await there.here.wash(NEW, 20)
    assert [one["badge"] for one in await there.here.ended()] == ["b-new"]


async def test_the_command_line_says_what_to_do_and_ends_with_the_entry(there: Desk) -> None:
    asking = asyncio.create_task(there.submeter("--json"))
    for _ in range(2):
        while await there.here.tap(NEW) == "red" and not asking.done():  # the window opens in a moment
            await there.away()
        await there.away()
    done = await asking
    assert done.exit_code == 0, done.output
    assert [change["id"] for change in json.loads(done.stdout)["changes"]] == ["b-new"]
    first, *_, last = done.stderr.splitlines()
    assert first == "hold the badge to the reader of washer now; it has 60 s"
    assert last == "this badge cannot be told apart from b-blocked, which is enrolled: take another one"
    assert "take the badge away and hold it there once more" in done.stderr


async def test_the_command_line_ends_with_4_without_the_reader_and_3_without_the_daemon(there: Desk) -> None:
    there.here.reader.unplug()
    await there.here.alarmed("reader_down")
    done = await there.submeter()
    assert (done.exit_code, done.stdout) == (4, "")
    assert done.stderr.startswith("reader-1: the reader cannot be reached: ")
    there.path.unlink()
    done = await there.submeter()
    assert (done.exit_code, done.stdout) == (3, "")
    assert done.stderr.startswith("the daemon does not run, and it has the readers")


async def test_one_tap_of_a_strangers_badge_enrols_nothing(there: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(enrol, "WINDOW_S", 1.5)
    asking = there.ask()
    await there.told("hold the badge")
    assert await there.here.tap(NEW) == "green"
    assert await there.here.tap(OTHER) == "green"
    answer = await asking
    assert answer is not None
    assert (answer.ok, answer.unreachable) == (False, False)
    assert "twice within" in str(answer.problems[0])
    assert "b-new" not in await there.badges()


async def test_a_random_badge_and_one_that_is_known_are_refused_and_the_window_stays_open(there: Desk) -> None:
    asking = there.ask()
    await there.told("hold the badge")
    for badge, words in ((RANDOM, "random identifier"), (ANNA, "cannot be told apart from b-anna")):
        assert await there.here.tap(badge) == "red"
        await there.told(words)
    assert await there.here.store.open_sessions() == [], "no tap starts a machine meanwhile"
    assert await there.here.tap(NEW) == "green"
    await there.away()
    assert await there.here.tap(NEW) == "green"
    answer = await asking
    assert answer is not None
    assert answer.ok


async def test_what_cannot_be_enrolled_is_refused_before_anybody_taps(there: Desk) -> None:
    wrong: dict[str, dict[str, Any]] = {
        "user 'nobody' is not known": {"user": "nobody"},
        "this id is taken": {"id": "b-anna"},
        "identifier": {"identifier": NEW},
    }
    for words, change in wrong.items():
        answer = await there.ask(Enrol(reader="reader-1", value=VALUE | change))
        assert answer is not None
        assert words in str(answer.problems[0])
    answer = await there.ask(Enrol(reader="reader-9", value=VALUE))
    assert answer is not None
    assert str(answer.problems[0]) == "reader reader-9 is not in the settings; there are: reader-1"
    assert there.said.empty()


async def test_a_reader_that_is_pulled_out_ends_it_at_once(there: Desk) -> None:
    asking = there.ask()
    await there.told("hold the badge")
    again = await there.ask()
    assert again is not None
    assert "another badge is being enrolled" in str(again.problems[0])
    there.here.reader.unplug()
    during = await asking
    await there.here.alarmed("reader_down")
    for answer in (during, await there.ask()):
        assert answer is not None
        assert answer.unreachable
        assert "the reader cannot be reached" in str(answer.problems[0])
    there.here.reader.plug()
    await there.here.alarmed("reader_down", over=True)
    asking = there.ask()
    await there.told("hold the badge")
    there.here.reader.unplug()
    await asking


async def test_who_goes_away_takes_the_window_along(there: Desk) -> None:
    reader, writer = await asyncio.open_unix_connection(there.path)
    writer.write(WISH.model_dump_json().encode() + b"\n")
    assert b"hold the badge" in await reader.readline()
    writer.close()
    await there.away()
    async with asyncio.timeout(HANGS):
        while await there.here.tap(ANNA) == "red":  # it is seen in a moment
            await there.away()


async def test_an_identifier_that_is_enrolled_by_tap_stands_nowhere(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    async with desk(tmp_path) as there:
        asking = there.ask()
        await there.told("hold the badge")
        await there.here.tap(RANDOM)
        await there.here.tap(NEW)
        await there.away()
        await there.here.tap(NEW)
        answer = await asking
        assert answer is not None
        told = answer.model_dump_json() + json.dumps(await there.here.events("alarm"))
    kept = b"".join(path.read_bytes() for path in tmp_path.glob("gateway.db*"))
    for identifier in (NEW, RANDOM):
        assert identifier.lower() not in (told + caplog.text).lower()
        assert identifier.encode() not in kept
