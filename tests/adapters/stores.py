"""A new store, and what goes into it."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from typing import TYPE_CHECKING

from gateway.core.metering import Reading
from gateway.core.units import Scaled
from gateway.service.polled import Poll
from gateway.service.records import NewCharge
from gateway.store.charges import ChargeFilter
from gateway.store.migrate import migrate

if TYPE_CHECKING:
    from pathlib import Path

    from gateway.store import Store

START = datetime(2026, 10, 1, tzinfo=UTC)
QUARTER = timedelta(minutes=15)


def new_store(folder: Path) -> str:
    url = f"sqlite:///{folder / 'gateway.db'}"
    migrate(url)
    return url


def reading(
    at: datetime = START,
    index: str = "1.000",
    *,
    meter: str = "heat-01",
    register: str = "heat",
    unit: str = "kWh",
    serial: str = "4711",
) -> Reading:
    return Reading(
        meter=meter, register=register, at=at, index=Scaled.parse(index), unit=unit, obis="6-0:1.0.0", serial=serial
    )


def poll(*readings: Reading, boot: str = "boot-1") -> Poll:
    one = readings[0]
    return Poll(
        meter=one.meter,
        at=one.at,
        serial=one.serial,
        status=one.status,
        clock_trusted=one.clock_trusted,
        boot=boot,
        readings=readings,
        raw=b"\x68\x00\xff",
    )


def charge(
    no: int, *, replaces: int | None = None, point: str | None = "flat-1", closing: str = "2026-10", revision: int = 1
) -> NewCharge:
    charge_id = f"{no:040x}"
    return NewCharge(
        charge_id=charge_id,
        line_id=f"line-{no if replaces is None else replaces}",
        revision=revision,
        kind="charge" if replaces is None else "reversal",
        replaces=None if replaces is None else f"{replaces:040x}",
        facility="sonnenhof",
        closing=closing,
        billing_point=point,
        register="heat-01-heat",
        data=json.dumps({"amount": "1.20", "charge_id": charge_id}, separators=(",", ":")),
    )


async def billed(store: Store) -> dict[tuple[str, str], Fraction]:
    """(payer, month) -> the energy of all that was ever published, where that is not 0."""
    found: dict[tuple[str, str], Fraction] = {}
    for kept in await store.all_charges(ChargeFilter()):
        one = json.loads(kept.data)
        if one["component"] == "energy":
            key = (one["payer"]["id"], one["closing"])
            found[key] = found.get(key, Fraction(0)) + Fraction(one["quantity"])
    return {key: quantity for key, quantity in found.items() if quantity}
