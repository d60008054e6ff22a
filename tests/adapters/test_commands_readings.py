"""Exchanges and readings that a person tells by command, and the closed months that a command touches."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.adapters.importing import HOUSE, Desk, new_desk
from tests.adapters.test_commands import INDEXES, NOVEMBER, desk, done, refused

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["desk"]


def test_an_exchange_ends_every_register_of_the_meter(desk: Desk) -> None:
    told = done(desk, "exchange", "power", "--at", "2024-10-03T12:00", *INDEXES, "--serial", "4712")["changes"]
    at = "2024-10-03T12:00:00+02:00"
    assert [one["after"]["exchanges"][0] for one in told] == [
        {"at": at, "final": "9000.5", "start": "0", "serial": "4712"},
        {"at": at, "final": "7", "start": "0.2", "serial": "4712"},
    ]


def test_every_mistake_in_an_exchange_is_told(desk: Desk) -> None:
    told = refused(desk, "exchange", "power", "--at", "2024-10-03T12:00", "--final", "x=1", "--start", "import=0")
    has = "it has: power-1, power-lift"
    assert told == [
        f"meter power: final: power has no register x; {has}",
        "meter power: final: the index of power-1, power-lift is missing; give --final power-1=VALUE",
        "meter power: start: the index of power-lift is missing; give --start power-lift=VALUE",
    ]
    (sentence,) = refused(desk, "exchange", "power", "--at", "2199-01-01T12:00")
    assert sentence == "meter power: at: 2199-01-01T12:00 is still to come; write an instant that has passed"
    (sentence,) = refused(desk, "exchange", "power", "--at", "2024-10-03T12:00", "--final", "import")
    assert sentence == "--final import: write REGISTER=VALUE, once for each"


def test_a_reading_is_added_and_voided_and_both_are_kept(desk: Desk) -> None:
    place = ("power", "import", "2024-10-05T12:00")
    (added,) = done(desk, "reading", "add", *place, "13.5", "--reason", "read at the door")["changes"]
    told = {"at": "2024-10-05T12:00:00+02:00", "reason": "read at the door", "value": "13.5 kWh"}
    assert (added["id"], added["before"], added["after"]) == ("power import", None, told)
    assert refused(desk, "reading", "add", *place, "14", "--reason", "again") == [
        "meter power: 13.5 kWh was read at that instant; void it first (`submeter reading void`)"
    ]
    (voided,) = done(desk, "reading", "void", "power", "power-1", *place[2:], "--reason", "a typo")["changes"]
    assert (voided["before"]["value"], voided["after"]) == ("13.5 kWh", None)
    (sentence,) = refused(desk, "reading", "void", *place, "--reason", "a typo")
    assert sentence.startswith("meter power: nothing was read from power-1 at 2024-10-05T12:00:00+02:00; ")
    done(desk, "reading", "add", *place, "14", "--reason", "the right one")
    rows = done(desk, "audit", "--kind", "reading", "--id", "power")
    assert [(row["before"] or row["after"])["reason"] for row in rows] == [
        "read at the door",
        "a typo",
        "the right one",
    ]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("x", "import", "2024-10-05", "1"), "meter x: there is no meter of this id; `submeter meter list` names them"),
        (("power", "x", "2026-10-05", "1"), "meter power: power has no register x; it has: power-1, power-lift"),
        (
            ("power", "import", "noon", "1"),
            'meter power: "noon" is no instant; write e.g. 2026-03-12T10:30 (local) or ',
        ),
        (("power", "import", "2024-10-05", "1,5"), "meter power: '1,5' is not a plain decimal number such as 12.40"),
        (
            ("power", "import", "2024-10-05", "1" * 19),
            f"meter power: {'1' * 19} is no index; write at most 12 digits",
        ),
    ],
)
def test_a_reading_that_cannot_be_is_refused(desk: Desk, arguments: tuple[str, ...], sentence: str) -> None:
    (told,) = refused(desk, "reading", "add", *arguments, "--reason", "r")
    assert told.startswith(sentence)


def test_a_correction_marks_the_closed_months_between_its_neighbours(tmp_path: Path) -> None:
    desk = new_desk(tmp_path)
    desk.take(HOUSE)
    for at, value in (("2023-07-01", "1"), ("2023-08-15", "2"), ("2023-09-20", "3"), ("2023-12-01", "4")):
        done(desk, "reading", "add", "power", "import", at, value, "--reason", "by hand")
    months = ["2023-07", "2023-08", "2023-09", "2023-10", "2023-11"]
    desk.close("sonnenhof", months, NOVEMBER)
    desk.close("mondhof", months, NOVEMBER)
    done(desk, "reading", "void", "power", "import", "2023-09-20", "--reason", "a typo")
    assert [(one.facility, one.month, one.reason) for one in desk.dirty()] == [
        ("sonnenhof", month, "void") for month in months[1:]
    ]
    desk.close("sonnenhof", months, NOVEMBER)
    done(desk, "reading", "add", "power", "import", "2023-07-10", "1.5", "--reason", "by hand")
    assert [(one.month, one.reason) for one in desk.dirty()] == [(month, "late_reading") for month in months[:2]]


@pytest.mark.parametrize(
    ("arguments", "months", "reason"),
    [
        (("move", "flat-1", "2026-09-10"), ["2026-09", "2026-10"], "move"),
        (("rate", "set", "electricity", "--price", "0.3", "--from", "2026-10-20"), ["2026-10"], "rate"),
        (("rate", "end", "electricity", "--until", "2026-10-20"), ["2026-10"], "rate"),
        (("point", "set", "flat-2", "--quotity", "300", "--from", "2026-10-02"), ["2026-10"], "key"),
        (("link", "end", "lift-2", "--until", "2026-09-05"), ["2026-09", "2026-10"], "link"),
        (("link", "end", "lift-2", "--mistaken"), ["2026-08", "2026-09", "2026-10"], "link"),
        (
            ("exchange", "power", "--at", "2024-10-03", *INDEXES),
            ["2026-08", "2026-09", "2026-10"],
            "exchange",
        ),
        (("meter", "set", "power", "--name", "New name"), [], ""),
        (("user", "set", "blumer", "--language", "fr"), [], ""),
    ],
)
def test_a_change_marks_the_closed_months_that_it_touches(
    tmp_path: Path, arguments: tuple[str, ...], months: list[str], reason: str
) -> None:
    desk = new_desk(tmp_path)
    desk.take(HOUSE)
    desk.close("sonnenhof", ["2026-08", "2026-09", "2026-10"], NOVEMBER)
    done(desk, *arguments)
    assert [(one.month, one.reason) for one in desk.dirty()] == [(month, reason) for month in months]
