"""Weeks of readings that a person voids with one command: of meters that were crossed."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from gateway.service import correct_span
from gateway.store import Store, StoreError, StoreView, months
from tests.adapters.importing import HOUSE, Desk, new_desk
from tests.adapters.stores import poll, reading
from tests.adapters.test_commands import NOVEMBER, done, refused

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from gateway.core.metering import Reading

OCTOBER = datetime(2024, 10, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)
WHY = ("--reason", "crossed with the neighbour's")
SPAN = ("--from", "2024-10-01T04:00", "--to", "2024-10-01T08:00")
"""02:00 to 06:00 in UTC: four readings"""


def read(hour: int, register: str = "import", serial: str = "4712") -> Reading:
    return reading(OCTOBER + hour * HOUR, str(hour), meter="power", register=register, serial=serial)


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    """Ten hours of two registers; at one instant two values, at another one by hand."""
    desk = new_desk(tmp_path)
    desk.take(HOUSE)

    async def fill() -> None:
        async with Store(desk.url) as store:
            await store.keep([poll(read(hour), read(hour, "lift")) for hour in range(10)])
            await store.keep([poll(replace(read(3), index=read(4).index))])
            by_hand = replace(read(3), at=OCTOBER + 3.5 * HOUR, origin="manual", serial="")
            await store.add_reading(by_hand, "read by eye", "meier", OCTOBER)

    asyncio.run(fill())
    return desk


def counting(desk: Desk, register: str) -> list[float]:
    """The hours whose readings count."""

    async def ask() -> Sequence[Reading]:
        async with StoreView(desk.url) as view:
            found = await view.readings(["power"], OCTOBER, OCTOBER + 24 * HOUR)
            return found["power", register]

    return [(one.at - OCTOBER) / HOUR for one in asyncio.run(ask())]


def voided(desk: Desk) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = done(desk, "audit", "--kind", "reading", "--id", "power")
    return [row["before"] for row in rows if row["before"] is not None]


def test_what_would_be_void_is_told_and_nothing_done_without_yes(desk: Desk) -> None:
    desk.close("sonnenhof", ["2024-10"], NOVEMBER)
    (told,) = refused(desk, "reading", "void", "power", *SPAN, *WHY)
    assert told == (
        "meter power: nothing is done yet: this would void 5 readings of power import from 2024-10-01T04:00:00+02:00 to"
        " 2024-10-01T07:00:00+02:00, 4 readings of power lift from 2024-10-01T04:00:00+02:00 to"
        " 2024-10-01T07:00:00+02:00, and settle 2024-10 again; write --yes to do it"
    )
    assert len(counting(desk, "lift")) == 10
    assert not voided(desk)
    assert not desk.dirty()


@pytest.mark.parametrize("named", [("import",), ("--register", "power-1")])
def test_all_that_the_meter_told_in_the_stretch_is_void_and_what_a_person_added_stays(
    desk: Desk, named: tuple[str, ...]
) -> None:
    desk.close("sonnenhof", ["2024-09", "2024-10"], NOVEMBER)
    told = done(desk, "reading", "void", "power", *named, *SPAN, *WHY, "--yes")
    (change,) = told["changes"]
    assert (change["id"], change["after"], change["before"]["readings"]) == ("power import", None, 5)
    assert told["settled_again"] == ["2024-10"]
    assert counting(desk, "import") == [0, 1, 3.5, 6, 7, 8, 9]
    assert len(counting(desk, "lift")) == 10
    assert [(one.month, one.reason) for one in desk.dirty()] == [("2024-10", "void")]
    assert [(row["at"], row["values"]) for row in voided(desk)] == [
        ("2024-10-01T02:00:00+00:00", ["2 kWh"]),
        ("2024-10-01T03:00:00+00:00", ["3 kWh", "4 kWh"]),
        ("2024-10-01T04:00:00+00:00", ["4 kWh"]),
        ("2024-10-01T05:00:00+00:00", ["5 kWh"]),
    ]
    (sentence,) = refused(desk, "reading", "void", "power", *named, *SPAN, *WHY, "--yes")
    assert sentence.startswith("meter power: nothing was read from 2024-10-01T04:00:00+02:00 to 2024-10-01T08:00:00+")


def test_without_a_register_all_of_the_meter_are_void(desk: Desk) -> None:
    told = done(desk, "reading", "void", "power", *SPAN, *WHY, "--yes")
    assert [(one["id"], one["before"]["readings"]) for one in told["changes"]] == [
        ("power import", 5),
        ("power lift", 4),
    ]
    assert counting(desk, "lift") == [0, 1, 6, 7, 8, 9]


def test_of_a_stretch_that_cannot_be_voided_whole_nothing_is(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        message = "the disk is full"
        raise StoreError(message)

    with monkeypatch.context() as patched:
        patched.setattr(months, "mark", full)
        assert refused(desk, "reading", "void", "power", *SPAN, *WHY, "--yes") == ["the disk is full"]
    assert len(counting(desk, "lift")) == 10
    assert not voided(desk)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("x", *SPAN), "meter x: there is no meter of this id; `submeter meter list` names them"),
        (("power", "x", *SPAN), "meter power: power has no register x; it has: power-1, power-lift"),
        (
            ("power", "--from", "noon", "--to", "2024-10-02"),
            'meter power: "noon" is no instant; write e.g. 2026-03-12T1',
        ),
        (
            ("power", "--from", "2024-10-02", "--to", "2024-10-02"),
            "meter power: 2024-10-02 is not after 2024-10-02; the instant of --to is the first whose reading stays",
        ),
        (("power", "--from", "2024-10-02", "--to", "2199-10-02"), "meter power: 2199-10-02 is still to come; write an"),
        (
            ("power", "import", "--from", "2024-10-02"),
            "write REGISTER and AT for one reading, or --from INSTANT --to IN",
        ),
        (
            ("power", "import", "2024-10-02", *SPAN),
            "write REGISTER and AT for one reading, or --from INSTANT --to INST",
        ),
        (
            ("power", "import", "--register", "lift", *SPAN),
            "the register stands there twice: import and lift; write one",
        ),
        (
            ("power", "import", "2024-10-01T04:00"),
            "--yes goes with --from and --to: one reading is void at once; leave it",
        ),
        (("power",), "write REGISTER and AT for one reading, or --from INSTANT --to INSTANT for all of that time"),
    ],
)
def test_a_stretch_that_cannot_be_is_refused(desk: Desk, arguments: tuple[str, ...], sentence: str) -> None:
    (told,) = refused(desk, "reading", "void", *arguments, *WHY, "--yes")
    assert told.startswith(sentence)


def test_more_than_the_store_can_do_beside_its_polls_is_done_in_parts(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(correct_span, "MOST", 8)
    (told,) = refused(desk, "reading", "void", "power", *SPAN, *WHY, "--yes")
    assert told == "meter power: these are 9 readings, more than 8; void them in shorter stretches"
    assert len(done(desk, "reading", "void", "power", "lift", *SPAN, *WHY, "--yes")["changes"]) == 1
