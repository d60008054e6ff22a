"""A common register of which one point cannot be charged: what that keeps back of the others."""

from __future__ import annotations

from datetime import timedelta
from fractions import Fraction
from typing import Any

from tests.adapters.test_settle import NOVEMBER, OCTOBER, PROPERTY, House, house

__all__ = ["house"]

RATE: dict[str, Any] = PROPERTY["rate"][0]
SHARES: dict[str, list[dict[str, Any]]] = {
    "link": [
        {"id": f"l-{point}", "register": "heat-01-heat", "point": f"flat-{point}"}
        | {"scope": "unit", "key": "percentage", "value": "50"}
        for point in (1, 2)
    ],
    "rate": [RATE | {"points": ["flat-1"]}],
}
LEFT = {"id": "s", "point": "flat-1", "user": "ada", "entry": "2026-01-01", "exit": "2026-10-15"}


async def counted(house: House) -> None:
    """As much before the 16th as from then on."""
    for at, index in ((OCTOBER, "10"), (OCTOBER + timedelta(days=15), "72"), (NOVEMBER, "134")):
        await house.counted(at, index)


async def test_a_share_is_corrected_though_another_points_was_never_charged_for_want_of_a_price(house: House) -> None:
    await house.told(SHARES)
    await counted(house)
    await house.settler.settle_due()
    assert await house.sums() == {"ada": Fraction("12.4")}
    assert ("no_price", "heat-01-heat") in await house.alarms()
    await house.told({"occupancy": [LEFT]})
    await house.settler.settle_due()
    assert await house.sums() == {"ada": Fraction("6.2"), "own": Fraction("6.2")}


async def test_shares_stay_together_where_one_that_was_charged_has_lost_its_price(house: House) -> None:
    await house.told(SHARES | {"rate": [RATE]})
    await counted(house)
    await house.settler.settle_due()
    before = await house.sums()
    await house.told({"rate": SHARES["rate"], "occupancy": [LEFT]})
    await house.settler.settle_due()
    assert await house.sums() == before
    await house.told({"rate": [RATE]})
    await house.settler.settle_due()
    assert await house.sums() == {"ada": Fraction("6.2"), "own": Fraction("18.6")}


async def test_a_register_of_one_point_is_not_taken_back_for_one_that_has_no_price(house: House) -> None:
    await house.told({"rate": [RATE | {"points": ["flat-1"]}]})
    await counted(house)
    await house.settler.settle_due()
    await house.told({"link": [PROPERTY["link"][0] | {"point": "flat-2"}]})
    await house.settler.settle_due()
    assert await house.sums() == {"ada": Fraction("24.8")}
