from __future__ import annotations

from tests.steady_time import SteadyTime


def pytest_asyncio_loop_factories() -> dict[str, type[SteadyTime]]:
    """Meters and master are in one process: how busy the machine is decides no time-out."""
    return {"steady": SteadyTime}
