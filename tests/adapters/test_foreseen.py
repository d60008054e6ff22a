"""Who changes something in a closed month is told at once what becomes of its charges, and what is held."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from gateway.service import foresee
from gateway.service.settle import Settler
from gateway.store import Store, StoreView
from gateway.store.charges import ChargeFilter
from tests.adapters.importing import HOUSE, Desk, new_desk
from tests.adapters.served import serving
from tests.adapters.test_settle import HandClock

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

NOVEMBER = datetime(2026, 11, 4, tzinfo=UTC)
OPEN = HOUSE.replace("exit = 2026-10-14\n", "")


def settle(desk: Desk) -> None:
    """What the daemon does when it hears of a change."""

    async def work() -> None:
        async with Store(desk.url) as store:
            settler = Settler(store=store, clock=HandClock(NOVEMBER), bell=None, gateway="gw", beat=lambda: None)  # type: ignore[arg-type]  # nothing waits for the bell
            await settler.settle_due()

    asyncio.run(work())


def kinds(desk: Desk) -> dict[str, int]:
    """How many charges of each kind are published of October."""

    async def ask() -> list[str]:
        async with StoreView(desk.url) as view:
            found = await view.all_charges(ChargeFilter(facility="sonnenhof", closing="2026-10"))
            return [json.loads(one.data)["kind"] for one in found]

    found = asyncio.run(ask())
    return {kind: found.count(kind) for kind in set(found)}


def months(desk: Desk, *words: str) -> list[dict[str, Any]]:
    done = desk.submeter("--json", *words)
    assert done.exit_code == 0, done.output
    found: list[dict[str, Any]] = json.loads(done.stdout)["foreseen"]
    return found


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    """A house whose October is settled; its meter was read on the 1st, the 16th and at the end."""
    one = new_desk(tmp_path)
    assert one.take(OPEN).exit_code == 0
    for day, value in (("10-01", "100"), ("10-16", "150"), ("11-01", "300")):
        words = ("reading", "add", "power", "import", f"2026-{day}T00:00", value, "--reason", "by hand")
        assert one.submeter(*words).exit_code == 0
    settle(one)
    assert kinds(one) == {"charge": 2}
    return one


@pytest.fixture(params=["alone", "served"])
def asked(request: pytest.FixtureRequest, desk: Desk) -> Iterator[Desk]:
    """The same house, with the store to itself and through the socket of who holds it."""
    if request.param == "alone":
        yield desk
        return
    with serving(desk):
        yield desk


def test_what_is_taken_back_and_charged_anew_is_told_before_it_happens(desk: Desk) -> None:
    (told,) = months(desk, "rate", "set", "electricity", "--price", "0.3", "--from", "2026-10-01")
    assert (told["facility"], told["month"], told["held"]) == ("sonnenhof", "2026-10", [])
    before = kinds(desk)
    settle(desk)
    after = kinds(desk)
    assert after["reversal"] - before.get("reversal", 0) == told["taken_back"] == 2
    assert sum(after.values()) - sum(before.values()) == told["taken_back"] + told["charged"]


def test_what_is_held_is_told_with_its_register_and_the_reason(asked: Desk) -> None:
    done = asked.submeter("move", "flat-1", "2026-10-15", "--to", "immo-ag")
    assert done.exit_code == 0, done.output
    lines = done.stdout.splitlines()
    at = lines.index("closed months settled again: 2026-10")
    assert lines[at + 1] == "2026-10: 0 charges taken back, 0 charged anew"
    assert lines[at + 2] == (
        "2026-10: HELD: register power-1, 2026-10-01T00:00:00+02:00 to 2026-11-01T00:00:00+01:00: no measured reading "
        "on both sides of a change inside; what was published for it stays until then"
    )


def test_a_plan_tells_it_too_and_changes_nothing(asked: Desk) -> None:
    before = asked.rows()
    file = asked.folder / "moved.toml"
    file.write_text(HOUSE, encoding="utf-8")
    (told,) = months(asked, "import", "--plan", str(file))
    assert (told["taken_back"], told["charged"]) == (0, 0)
    assert [(one["register"], one["code"]) for one in told["held"]] == [("power-1", "outside")]
    assert asked.rows() == before


def test_a_reading_that_is_voided_tells_what_becomes_of_its_month(asked: Desk) -> None:
    (told, *_) = months(asked, "reading", "void", "power", "import", "2026-10-01T00:00", "--reason", "wrong")
    assert [(one["register"], one["code"]) for one in told["held"]] == [("power-1", "outside")]
    assert told["held"][0]["text"].endswith("; what was published for it stays until then")


def test_what_takes_too_long_is_left_to_the_alarms(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(foresee, "PATIENCE", 0.0)
    done = desk.submeter("move", "flat-1", "2026-10-15", "--to", "immo-ag")
    assert done.exit_code == 0
    said = "they are settled in the background; `submeter alarm list` shows what is held then"
    assert said in done.stdout.splitlines()
    assert desk.dirty()


def test_a_change_that_touches_no_closed_month_says_nothing_of_charges(desk: Desk) -> None:
    done = desk.submeter("meter", "set", "power", "--name", "Electricity, cellar")
    assert (done.exit_code, len(done.stdout.splitlines())) == (0, 2)
    after = (NOVEMBER + timedelta(days=1)).date().isoformat()
    assert months(desk, "rate", "set", "electricity", "--price", "0.3", "--from", after) == []
