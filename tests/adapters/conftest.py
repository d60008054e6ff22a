from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from tests.steady_time import SteadyTime

if TYPE_CHECKING:
    from collections.abc import Callable

    import pytest


def pytest_asyncio_loop_factories(item: pytest.Item) -> dict[str, Callable[[], asyncio.AbstractEventLoop]]:
    if item.get_closest_marker("steady"):
        return {"steady": SteadyTime}
    return {"usual": asyncio.new_event_loop}
