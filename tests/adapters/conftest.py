from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from tests.adapters.stores import new_store
from tests.steady_time import SteadyTime

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def pytest_asyncio_loop_factories(item: pytest.Item) -> dict[str, Callable[[], asyncio.AbstractEventLoop]]:
    if item.get_closest_marker("steady"):
        return {"steady": SteadyTime}
    return {"usual": asyncio.new_event_loop}


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store as it is migrated, to be copied."""
    folder = tmp_path_factory.mktemp("store")
    new_store(folder)
    return folder / "gateway.db"
