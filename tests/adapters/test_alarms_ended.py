from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from gateway.core.event import Alarm
from gateway.store import Store
from tests.adapters.importing import Desk, new_desk
from tests.adapters.served import serving
from tests.adapters.stores import START

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

UNBILLED = Alarm(
    code="session_unbilled",
    source="s-1",
    severity="error",
    since=START,
    text="session s-1 of badge anna: settle it with the user",
)
PAID = "Anna Blumer has paid for it"


@pytest.fixture(params=["alone", "through the socket"])
def desk(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Desk]:
    one = new_desk(tmp_path)
    raise_alarm(one, UNBILLED)
    if request.param == "alone":
        yield one
        return
    with serving(one):
        yield one


def raise_alarm(desk: Desk, alarm: Alarm) -> None:
    async def work() -> None:
        async with Store(desk.url) as store:
            await store.raise_alarm(alarm)

    asyncio.run(work())


def listed(desk: Desk) -> Any:  # noqa: ANN401 - what JSON holds
    done = desk.submeter("--json", "alarm", "list")
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)


def told(desk: Desk) -> list[dict[str, Any]]:
    async def ask() -> list[dict[str, Any]]:
        async with Store(desk.url) as store:
            (stream,) = [one for one in await store.streams() if one.kind == "alarm"]
            return [json.loads(one.data) for one in await store.events(stream.name, 0, 100)]

    return asyncio.run(ask())


def test_an_open_alarm_is_listed_in_the_words_of_its_event(desk: Desk) -> None:
    (row,) = listed(desk)
    assert row == {
        "alarm_id": row["alarm_id"],
        "code": "session_unbilled",
        "severity": "error",
        "source": "s-1",
        "since": "2026-10-01T00:00:00Z",
        "text": UNBILLED.text,
    }
    shown = desk.submeter("alarm", "list").stdout
    assert shown == f"{row['alarm_id']}  2026-10-01T00:00:00Z  error  session_unbilled s-1: {UNBILLED.text}\n"


def test_what_a_person_has_dealt_with_ends_and_the_audit_says_who_and_why(desk: Desk) -> None:
    (row,) = listed(desk)
    done = desk.submeter("--json", "alarm", "end", row["alarm_id"], "--reason", PAID)
    assert (done.exit_code, json.loads(done.stdout)["ended"]) == (0, 1)
    assert listed(desk) == []
    (kept,) = json.loads(desk.submeter("--json", "audit", "--kind", "alarm").stdout)
    assert (kept["id"], kept["before"]["reason"], kept["before"]["text"]) == (row["alarm_id"], PAID, UNBILLED.text)
    assert kept["by"]
    assert kept["after"] is None
    assert "Anna Blumer has paid" in desk.submeter("audit").stdout


def test_an_alarm_that_is_not_open_cannot_be_ended(desk: Desk) -> None:
    (row,) = listed(desk)
    assert desk.submeter("alarm", "end", row["alarm_id"], "--reason", PAID).exit_code == 0
    done = desk.submeter("alarm", "end", row["alarm_id"], "--reason", PAID)
    assert done.exit_code == 3
    sentence = "there is no open alarm of this id; `submeter alarm list` names them"
    assert done.stderr == f"alarm {row['alarm_id']}: {sentence}\n"


def test_the_end_is_told_once_and_names_nobody(tmp_path: Path) -> None:
    desk = new_desk(tmp_path)
    raise_alarm(desk, UNBILLED)
    (row,) = listed(desk)
    assert desk.submeter("alarm", "end", row["alarm_id"], "--reason", PAID).exit_code == 0
    begun, ended = told(desk)
    assert begun["ended"] is None
    assert ended == {**begun, "ended": ended["ended"]}
    assert ended["ended"] is not None


def test_what_ends_by_itself_is_refused_with_what_is_to_be_done(tmp_path: Path) -> None:
    desk = new_desk(tmp_path)
    text = "the meter behind power-1 is another one: enter the exchange"
    raise_alarm(desk, replace(UNBILLED, code="identity_changed", source="power-1", text=text))
    (row,) = listed(desk)
    done = desk.submeter("alarm", "end", row["alarm_id"], "--reason", "I have seen it")
    assert done.exit_code == 3
    assert done.stderr.endswith(f"identity_changed ends by itself, once what it says is done: {text}\n")
    assert listed(desk) == [row]
