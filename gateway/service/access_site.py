"""What an access point is in the property data."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from gateway.core.access import until_exit
from gateway.core.session import Limits
from gateway.core.units import Scaled, convert

if TYPE_CHECKING:
    from datetime import timedelta

    from gateway.core.access import Badge
    from gateway.core.book import Book
    from gateway.core.metering import Register

LEAST_USE = Scaled(2, -2)
"""kWh below which nothing has started"""
AT_REST = Scaled(2, -2)
"""kWh in an hour up to which a machine is at rest: its lamp and its clock"""
ENERGY = frozenset({"kWh", "Wh", "MWh"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Wiring:
    """An access point as the settings have it."""

    access_point: str
    machine: str
    meter: str
    register: str
    """key of the register in the meter's model"""
    place: str
    window: timedelta
    quiet: timedelta
    least_run: timedelta


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """What a machine is in the property data."""

    facility: str
    access_point: str
    machine: str
    place: str
    """billing point where it stands"""
    register: Register


def site_of(wiring: Wiring, book: Book) -> Site | None:
    """What the machine is in the property data; None where that does not say it."""
    same = (one for one in book.registers.values() if (one.meter, one.key) == (wiring.meter, wiring.register))
    register = next(same, None)
    if register is None or wiring.place not in book.points or register.unit not in ENERGY:
        return None
    return Site(
        facility=book.facility_of_register(register.id),
        access_point=wiring.access_point,
        machine=wiring.machine,
        place=wiring.place,
        register=register,
    )


def limits_of(wiring: Wiring, site: Site | None) -> Limits:
    """What is usual at the machine, in the unit of its register."""
    unit = "kWh" if site is None else site.register.unit
    return Limits(
        window_s=wiring.window.total_seconds(),
        quiet_s=wiring.quiet.total_seconds(),
        least_run_s=wiring.least_run.total_seconds(),
        least=convert(LEAST_USE, "kWh", unit),
        idle=convert(AT_REST, "kWh", unit),
        modulus=None if site is None else site.register.modulus,
        max_per_day=None if site is None else site.register.max_per_day,
    )


def enrolled(book: Book, badge: Badge) -> Badge:
    """The badge with the validity that its user's last exit from the facility leaves it."""
    facility = book.facility_of_point(badge.point)
    stays = [stay for stay in book.occupancies.values() if book.facility_of_point(stay.point) == facility]
    return replace(badge, period=until_exit(badge, stays))
