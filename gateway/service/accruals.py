"""What each billing point's payer has used so far this month, and what it costs: state, never a charge.

Worked out anew at each local midnight, when every move and every price change takes effect, and whenever the bell is
rung because property data has changed. Not more often: the readings of the whole month are read each time.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from functools import reduce
from itertools import groupby
from operator import add
from typing import TYPE_CHECKING, Protocol

from gateway.core.charge import Terms
from gateway.core.occupancy import payers
from gateway.core.period import MAX, MIN, local_date, midnight, rfc3339
from gateway.service.due import Month
from gateway.service.property import book_of
from gateway.service.settle import UNTRUSTED
from gateway.service.settlement import MeteredStore, settled

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
    from datetime import datetime

    from gateway.core.book import Book
    from gateway.core.canonical import Json
    from gateway.core.charge import Charge
    from gateway.core.occupancy import Payer
    from gateway.core.tariff import Rate
    from gateway.ports.clock import WallClock
    from gateway.service.records import PropertyRow
    from gateway.service.settle import Bell

RATES = "rates"
ACCRUALS = "state/accruals"
DAY = timedelta(days=1)


class AccrualStore(MeteredStore, Protocol):
    """What accruals need of the store."""

    async def property_rows(self, known_at: datetime | None) -> Sequence[PropertyRow]:
        """The property data as known at the instant; None: now."""


class Board(Protocol):
    """Where state is shown."""

    def put_all(self, branch: str, bodies: Mapping[str, Json], *, anew: Collection[str] = ()) -> None:
        """Let a branch show these bodies by id and no others; clear those in `anew` first."""


class Accruals:
    """The worker that shows rates and accruals."""

    def __init__(
        self,
        *,
        store: AccrualStore,
        board: Board,
        clock: WallClock,
        bell: Bell,
        gateway: str,
        beat: Callable[[], None],
    ) -> None:
        """`beat` is called at every sign of life."""
        self._store = store
        self._board = board
        self._clock = clock
        self._bell = bell
        self._gateway = gateway
        self._beat = beat
        self._payers: dict[str, Payer] = {}

    async def run(self) -> None:
        """Show what holds, at the start, at each midnight and whenever the bell is rung."""
        while True:
            await self._bell.wait(await self.show())

    async def show(self) -> datetime:
        """Show what holds now; the instant at which to look again."""
        now = self._clock.now()
        if not self._clock.trusted():
            return now + UNTRUSTED
        book = book_of(await self._store.property_rows(None))
        self._board.put_all(RATES, {rate.id: rate_body(book, rate) for rate in book.rates.values()})
        found: dict[str, Stay] = {}
        for facility in book.facilities.values():
            self._beat()
            present = Month.of(facility, local_date(now, facility.time_zone))
            found |= await accrued(self._store, book, present, self._gateway, now, self._beat)
        moved = {point for point, one in found.items() if self._payers.get(point, one.payer) != one.payer}
        self._payers = {point: one.payer for point, one in found.items()}
        self._board.put_all(ACCRUALS, {point: accrual_body(one) for point, one in found.items()}, anew=moved)
        zones = {facility.time_zone for facility in book.facilities.values()}
        return min((midnight(local_date(now, zone) + DAY, zone) for zone in zones), default=now + DAY)


@dataclass(frozen=True, slots=True, kw_only=True)
class Stay:
    """Who pays for a point now, since when in this month, and what for."""

    point: str
    month: Month
    payer: Payer
    since: datetime
    charges: tuple[Charge, ...]
    """of this payer, as if the month ended with the last readings"""


async def accrued(
    store: AccrualStore,
    book: Book,
    month: Month,
    gateway: str,
    now: datetime,
    beat: Callable[[], None] = lambda: None,
) -> dict[str, Stay]:
    """The present stay at every point of the facility, with what it has used in the month up to the last reading."""
    facility, period = month.facility.id, month.period
    terms = Terms(gateway=gateway, facility=facility, period=period, closing=month.label)
    settlement = await settled(store, book, terms, (), beat)
    return stays(book, month, settlement.charges, now)


def stays(book: Book, month: Month, charges: Iterable[Charge], now: datetime) -> dict[str, Stay]:
    """The present stay at every point of the facility, by point."""
    found = {}
    owners = list(book.owners.values())
    for point in (one.id for one in book.points.values() if book.facility_of_point(one.id) == month.facility.id):
        at_point = [stay for stay in book.occupancies.values() if stay.point == point]
        paid = payers(at_point, owners, book.targets_of_point(point), month.period)
        period, payer = next((period, payer) for period, payer in paid if now in period)
        here = (charge for charge in charges if charge.billing_point == point and charge.period.start in period)
        own = (charge for charge in here if charge.payer.id == payer.id)  # a badge of somebody else may name the point
        found[point] = Stay(point=point, month=month, payer=payer, since=period.start, charges=tuple(own))
    return found


def accrual_body(stay: Stay) -> Json:
    """What is shown of the stay; None where nothing was counted yet."""
    if not stay.charges:
        return None
    kinds = groupby(sorted(stay.charges, key=_kind), key=_kind)
    return {
        "facility": stay.month.facility.id,
        "billing_point": stay.point,
        "payer": {"id": stay.payer.id, "role": stay.payer.role, "reason": stay.payer.reason},
        "month": stay.month.label,
        "from": rfc3339(stay.since),
        "time_zone": stay.month.facility.time_zone,
        "totals": [_total(list(charges)) for _, charges in kinds],
    }


def _kind(charge: Charge) -> tuple[str, ...]:
    """What is added up: only what is of one kind."""
    tax = charge.tax
    taxed = (charge.amount_is, tax.category, str(tax.rate), tax.exemption)
    return (charge.energy_source, charge.component, charge.unit, *taxed)


def _total(charges: Sequence[Charge]) -> Json:
    reached: dict[str, datetime] = {}
    for charge in charges:
        reached[charge.register] = max(charge.period.until, reached.get(charge.register, MIN))
    first = charges[0]
    return {
        "energy_source": first.energy_source,
        "component": first.component,
        "quantity": str(reduce(add, (charge.quantity for charge in charges))),
        "unit": first.unit,
        "amount": str(reduce(add, (charge.amount for charge in charges))),
        "amount_is": first.amount_is,
        "currency": first.currency,
        "tax": {
            "category": first.tax.category,
            "rate": str(first.tax.rate),
            "exemption": first.tax.exemption or None,
        },
        "until": rfc3339(min(reached.values())),
    }


def rate_body(book: Book, rate: Rate) -> Json:
    """The text of a rate."""
    facility = book.facilities[rate.facility]
    return {
        "id": rate.id,
        "facility": rate.facility,
        "title": rate.title,
        "energy_source": rate.energy_source,
        "component": rate.component,
        "unit": rate.unit,
        "currency": facility.currency,
        "tax": {
            "category": rate.tax.category,
            "rate": str(rate.tax.rate),
            "included": rate.tax.included,
            "exemption": rate.tax.exemption or None,
        },
        "points": sorted(rate.points) or None,
        "time_zone": facility.time_zone,
        "prices": [
            {
                "version": price.version,
                "from": None if price.period.start == MIN else rfc3339(price.period.start),
                "until": None if price.period.until == MAX else rfc3339(price.period.until),
                "price": str(price.price),
            }
            for price in rate.prices
        ],
    }
