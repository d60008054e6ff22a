"""What a rate's prices are called where one is put between two others."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from gateway.service.property import book_of
from gateway.store import StoreView
from tests.adapters.importing import HOUSE, Desk, new_desk
from tests.adapters.test_commands import done

if TYPE_CHECKING:
    from pathlib import Path


def named(desk: Desk) -> dict[str, int]:
    """What charges and the published rate call each price."""

    async def ask() -> dict[str, int]:
        async with StoreView(desk.url) as view:
            book = book_of(await view.property_rows(None))
        return {str(price.price): price.version for price in book.rates["electricity"].prices}

    return asyncio.run(ask())


def test_what_charges_call_a_price_stays_its_name(tmp_path: Path) -> None:
    desk = new_desk(tmp_path)
    desk.take(HOUSE)
    before = named(desk)
    done(desk, "rate", "set", "electricity", "--price", "0.31", "--from", "2030-02-01")
    known = named(desk)
    assert known == before | {"0.31": len(before) + 1}
    done(desk, "rate", "set", "electricity", "--price", "0.29", "--from", "2030-01-16")
    assert named(desk) == known | {"0.29": len(before) + 2}
    printed = desk.submeter("export").stdout
    assert ", 0 changed, " in desk.take(printed).stdout
    (tmp_path / "other").mkdir()
    other = new_desk(tmp_path / "other")
    other.take(printed)
    assert named(other) == named(desk)
