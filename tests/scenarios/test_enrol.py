"""A badge is enrolled at the reader of the running daemon, and opens the machine at once."""

from __future__ import annotations

import asyncio
import json
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from simulators.badges import Reader
from tests.ordeal import HANGS, ordeal
from tests.scenarios.plant import PROGRAM, begin

if TYPE_CHECKING:
    from tests.broker import Broker

NEW, RANDOM = "04FACADE000001", "08ABCDEF"
ENTRY = ("badge", "enrol", "blumer-9", "--user", "blumer", "--point", "flat-1", "--access-points", "washer-1")


async def test_a_badge_is_enrolled_at_the_daemons_reader_and_opens_the_machine_at_once(
    broker: Broker, tmp_path: Path
) -> None:
    with tempfile.TemporaryDirectory() as short:  # the path of a terminal's link may be long, that of a socket not
        async with (
            Reader(Path(short) / "reader") as reader,
            ordeal(tmp_path, broker, readers={"washer-1": reader}) as one,
            one.living(PROGRAM) as (daemon, clock),
        ):
            assert await one.step(daemon, clock)
            words = ("--config", one.config, "--json", *ENTRY, "--reader", "reader-washer-1")
            asking = await begin(*words)
            assert asking.stderr is not None
            assert b"hold the badge" in await asking.stderr.readline()
            for _ in range(2):
                await green(reader)
            out, err = await asking.communicate()
            assert asking.returncode == 0, err
            assert [change["id"] for change in json.loads(out)["changes"]] == ["blumer-9"]
            await green(reader)
            relay = one.meters.relays["washer-1"]
            async with asyncio.timeout(HANGS):
                while not relay.on:
                    relay.moved.clear()
                    await relay.moved.wait()


async def green(reader: Reader) -> None:
    """Hold the new badge there until it is taken, another one in between."""
    async with asyncio.timeout(HANGS):
        assert await reader.tap(RANDOM) == "red"
        while await reader.tap(NEW) == "red":
            assert await reader.tap(RANDOM) == "red"
