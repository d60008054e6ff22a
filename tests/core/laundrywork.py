"""The worked cases of a laundry machine: every tap through the machine, what it ends with is charged."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from fractions import Fraction
from typing import TYPE_CHECKING

from gateway.core import session
from gateway.core.access import Badge, authorize
from gateway.core.building import BillingPoint, Building
from gateway.core.charge import Charge, EndedSession, Terms, charge_session
from gateway.core.period import MAX, MIN, Period
from gateway.core.track import Index
from gateway.core.units import Scaled
from tests.core.casework import DEFAULT_ZONE, Case, book_with, instant, period, rate, register

if TYPE_CHECKING:
    from gateway.core.book import Book
    from gateway.core.metering import Component

PARTS: dict[str, tuple[Component, str]] = {"per_kwh": ("energy", "kWh"), "per_cycle": ("cycle", "cycle")}


def laundry(given: Case) -> Case:
    """Every tap through the machine; what it ends with is charged."""
    zone = given.get("timezone", DEFAULT_ZONE)
    desk = _Laundry(given, zone)
    for tap in given["taps"]:
        desk.tap(tap)
    return {"results": desk.results}


class _Laundry:
    """One machine, its badges and its prices."""

    def __init__(self, given: Case, zone: str) -> None:
        self.results: list[Case] = []
        self._zone = zone
        texts = [tap[name] for tap in given["taps"] for name in ("start_index", "end_index") if tap[name]]
        exponent = min(Scaled.parse(text).exponent for text in texts)
        limits = session.Limits(window_s=300, quiet_s=300, least_run_s=0, least=Scaled(1, exponent), idle=Scaled(2, -2))
        self._machine = session.Machine(limits=limits)
        self._badges = [self._badge(number, one) for number, one in enumerate(given["badges"])]
        self._book = self._told(given, exponent)
        self._begins = instant(given["taps"][0]["start"], zone, MIN)

    def _badge(self, number: int, one: Case) -> Badge:
        return Badge(
            id=f"badge-{number}",
            user=one["user"],
            point="p",
            digest=one["token"],
            access_points=frozenset({"laundry"}),
            period=period(one, self._zone),
            blocked=one["status"] == "blocked",
        )

    def _told(self, given: Case, exponent: int) -> Book:
        rates = {
            name: replace(
                rate([{"price": given["prices"][name], "from": None, "until": None}], self._zone),
                id=name,
                component=component,
                unit=unit,
            )
            for name, (component, unit) in PARTS.items()
            if given["prices"].get(name) is not None
        }
        return book_with(
            {**given, "owner": "owner"},
            buildings={"b": Building(id="b", facility="f", name="b")},
            points={name: BillingPoint(id=name, building="b", name=name, kind="apartment") for name in ("p", "l")},
            registers={"r": register(given, exponent)},
            rates=rates,
        )

    def tap(self, tap: Case) -> None:
        start = instant(tap["start"], self._zone, MIN)
        decision = authorize(self._badges, tap["token"], "laundry", start)
        badge = decision.badge
        offer = None
        if decision.result == "Accepted" and badge is not None:
            offer = session.Session(id="s", badge=badge.id, user=badge.user, point="p", started=_moment(start))
        answer, _ = self._step(
            session.Tapped(result=decision.result, badge=badge.id if badge else "", offer=offer), start
        )
        told = next(one.result for one in answer if isinstance(one, session.Answer))
        if told != "Accepted" or offer is None:
            self.results.append({"rejected": told})
            return
        self._sample(tap["start_index"], start)
        end = start + timedelta(minutes=5) if tap["end"] is None else instant(tap["end"], self._zone, MAX)
        last = tap["end_index"] or tap["start_index"]
        self._sample(last, end)
        self._sample(last, end + timedelta(minutes=5))
        _, closed = self._sample(last, end)
        self.results.append(self._cost(closed[0], end))

    def _step(self, event: session.Event, at: datetime) -> tuple[list[session.Command], list[session.Session]]:
        self._machine, found = session.step(self._machine, event, (at - self._begins).total_seconds())
        commands = list(found)
        for command in found:
            if isinstance(command, session.Switch):
                commands += self._step(session.Switched(on=command.on, confirmed=True), at)[0]
        return commands, [one.session for one in commands if isinstance(one, session.Close)]

    def _sample(self, value: str, at: datetime) -> tuple[list[session.Command], list[session.Session]]:
        index = session.Count(value=Scaled.parse(value), seen=_moment(at))
        return self._step(session.Sampled(index=index, on=None), at)

    def _cost(self, ended: session.Session, at: datetime) -> Case:
        charges: list[Charge] = []
        if ended.ran:
            assert ended.start is not None
            assert ended.end is not None
            terms = Terms(gateway="g", facility="f", period=Period(), closing="c")
            used = EndedSession(
                id=ended.id,
                badge=ended.badge,
                user=ended.user,
                point=ended.point,
                place="l",
                register="r",
                serial="",
                obis="",
                started_at=ended.started.at,
                ended_at=at,
                start=_index(ended.start),
                end=_index(ended.end),
            )
            charges, holds = charge_session(self._book, terms, used)
            assert not holds
        amounts = {one.component: one.amount for one in charges}
        quantity = next((one.quantity for one in charges if one.component == "energy"), Scaled(0, 0))
        total = sum((one.fraction for one in amounts.values()), Fraction(0))
        return {
            "user": ended.user,
            "quantity": str(quantity),
            "energy_amount": str(amounts.get("energy", Scaled(0, 0))),
            "cycle_amount": str(amounts.get("cycle", Scaled(0, 0))),
            "total": str(total),
        }


def _moment(at: datetime) -> session.Moment:
    return session.Moment(at=at, trusted=True, elapsed=timedelta(0), boot="")


def _index(count: session.Count) -> Index:
    return Index(value=count.value, at=count.seen.at, quality="measured")
