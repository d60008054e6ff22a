"""One process writes a store, and others can see which."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gateway.store import Store
from gateway.store.lock import Lock, holder
from tests.adapters.stores import new_store

if TYPE_CHECKING:
    from pathlib import Path


async def test_the_holder_of_a_lock_is_known_without_touching_it(tmp_path: Path) -> None:
    database = tmp_path / "gateway.db"
    assert holder(database) is None
    new_store(tmp_path)
    assert holder(database) is None  # the file of the lock is left behind
    async with Store(f"sqlite:///{database}"):
        assert holder(database) is not None
    with Lock(database):
        pass
    assert holder(database) is None
