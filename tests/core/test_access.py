"""Who may use an access point."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.access import (
    ABSENCE,
    TAPS_PER_S,
    Allowance,
    Badge,
    Presence,
    authorize,
    canonical_identifier,
    collisions,
    digest,
    until_exit,
)
from gateway.core.occupancy import Occupancy
from gateway.core.period import MAX, Period

PEPPER = b"pepper"
NOON = datetime(2026, 10, 5, 12, tzinfo=UTC)
DAY = timedelta(days=1)
BADGE = Badge(
    id="b-1",
    user="blumer",
    point="flat-1",
    digest=digest("04A1B2C3D4E5F6", PEPPER),
    access_points=frozenset({"laundry"}),
)


def answer(*badges: Badge, access_point: str = "laundry", busy: tuple[str, ...] = ()) -> str:
    return authorize(badges, BADGE.digest, access_point, NOON, busy).result


def test_a_tap_is_answered_in_the_words_of_ocpp() -> None:
    past, future = Period(until=NOON), Period(NOON + DAY)
    assert answer(BADGE) == "Accepted"
    assert answer(replace(BADGE, blocked=True)) == "Blocked"
    assert answer(replace(BADGE, period=past)) == "Expired"
    assert answer(replace(BADGE, period=future)) == "Invalid"
    assert answer(BADGE, access_point="garage") == "Invalid"
    assert answer(BADGE, busy=("b-1",)) == "ConcurrentTx"
    assert answer(replace(BADGE, digest=digest("04A1B2C3", PEPPER))) == "Unknown"
    assert answer() == "Unknown"


def test_a_badge_that_changed_hands_is_that_of_who_holds_it_now() -> None:
    first, second = replace(BADGE, period=Period(until=NOON)), replace(BADGE, id="b-2", period=Period(NOON))
    decision = authorize([second, first], BADGE.digest, "laundry", NOON)
    assert (decision.result, decision.badge) == ("Accepted", second)
    decision = authorize([second, first], BADGE.digest, "laundry", NOON - timedelta(microseconds=1))
    assert decision.badge == first


def test_of_two_badges_that_cannot_be_told_apart_none_is_picked() -> None:
    twin = replace(BADGE, id="b-2", user="rossi")
    decision = authorize([BADGE, twin], BADGE.digest, "laundry", NOON)
    assert (decision.result, decision.badge, decision.ambiguous) == ("Invalid", None, ("b-1", "b-2"))
    assert [one.id for one in collisions([twin, BADGE])] == ["b-2"]
    assert not collisions([replace(BADGE, period=Period(until=NOON)), replace(twin, period=Period(NOON))])


@pytest.mark.parametrize("text", ["04A1B2C3", "04:a1:b2:c3:d4:e5:f6", "04 A1 B2 C3 D4 E5 F6 07 08 09"])
def test_identifiers_have_4_7_or_10_bytes(text: str) -> None:
    assert canonical_identifier(text) == text.replace(":", "").replace(" ", "").upper()


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "no badge identifier"),
        ("04A1B2", "no badge identifier"),
        ("04A1B2C3D4", "no badge identifier"),
        ("04A1B2CG", "no badge identifier"),
        ("08A1B2C3", "random"),
        ("8804A1B2", "first part"),
    ],
)
def test_what_can_be_no_badge_of_a_person_is_refused_at_enrolment(text: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        canonical_identifier(text)


@given(st.binary(min_size=4, max_size=4), st.binary(min_size=16, max_size=16))
def test_a_digest_tells_neither_the_identifier_nor_the_pepper(identifier: bytes, pepper: bytes) -> None:
    sealed = digest(identifier.hex().upper(), pepper)
    assert len(sealed) == len("hmac-sha256:") + 64
    assert identifier.hex().upper() not in sealed
    assert sealed != digest(identifier.hex().upper(), pepper + b"x")


def test_after_the_last_exit_day_of_its_user_a_badge_is_expired() -> None:
    first = Occupancy(id="1", point="flat-1", user="blumer", period=Period(until=NOON - 2 * DAY))
    last = Occupancy(id="2", point="flat-2", user="blumer", period=Period(NOON - 2 * DAY, NOON))
    other = Occupancy(id="3", point="flat-1", user="rossi", period=Period(NOON - 2 * DAY))
    assert until_exit(BADGE, [first, last, other]).until == NOON
    assert until_exit(BADGE, [other]).until == MAX
    ended = replace(BADGE, period=Period(until=NOON - DAY))
    assert until_exit(ended, [first, last]).until == NOON - DAY


def test_a_held_card_and_a_double_tap_are_one_tap_until_a_second_of_absence() -> None:
    presence, times = Presence(), []
    for now in (0.0, 0.3, 1.2, 2.1, 3.2, 3.2 + ABSENCE, 4.3):
        presence, new = presence.seen("A" if now < 4.3 else "B", now)
        times += [now] if new else []
    assert times == [0.0, 3.2, 3.2 + ABSENCE, 4.3]


def test_of_a_storm_so_many_taps_a_second_are_judged_and_after_a_pause_no_more_at_once() -> None:
    allowance, judged = Allowance(), []
    for now in [*(1000 + number / 10_000 for number in range(30_000)), *[5000.0] * 100]:
        allowance, allowed = allowance.spent(now)
        judged += [now] * allowed
    first = sum(now < 1001 for now in judged)
    assert first - 2 * TAPS_PER_S in {-1, 0}, "as many as are saved up, and those that come back in a second"
    assert sum(now < 1003 for now in judged) - 4 * TAPS_PER_S in {-1, 0}
    assert judged.count(5000.0) == TAPS_PER_S
