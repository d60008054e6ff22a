"""What commands ask of the store, which may be in use meanwhile."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, TypeVar

from gateway.cli.exits import Refused
from gateway.cli.wiring import load_settings
from gateway.core.problem import cut
from gateway.service.property import book_of

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Collection

    from gateway.cli import Options
    from gateway.core.book import Book
    from gateway.core.building import Facility
    from gateway.store import StoreView

_T = TypeVar("_T")


def asked(options: Options, question: Callable[[StoreView], Awaitable[_T]]) -> _T:
    """The answer to the question; Refused where the store cannot be used."""
    from gateway.store import StoreError, StoreView

    url = load_settings(options).store

    async def ask() -> _T:
        async with StoreView(url) as view:
            return await question(view)

    try:
        return asyncio.run(ask())
    except StoreError as error:
        raise Refused(str(error)) from error


async def book_now(view: StoreView) -> Book:
    """The property data as they are."""
    return book_of(await view.property_rows(None))


def facility_of(book: Book, named: str) -> Facility:
    """The facility of this id; Refused where there is none."""
    if named not in book.facilities:
        message = f"facility {cut(named)}: there is none of this id; `submeter facility list` names them"
        raise Refused(message)
    return book.facilities[named]


def require_known(kind: str, named: str | None, known: Collection[str]) -> None:
    """Refused where there is no such entry: that it has nothing to show is something else."""
    if named is not None and named not in known:
        message = f"{kind} {cut(named)}: there is none of this id; there are: {', '.join(sorted(known)) or 'none'}"
        raise Refused(message)
