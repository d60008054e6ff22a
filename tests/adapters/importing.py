"""A small house in a file, a store that it is imported into, and the command that does it."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from click.testing import CliRunner

from gateway.cli import group
from gateway.store import Store, StoreView
from gateway.store.migrate import migrate

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime
    from pathlib import Path

    from click.testing import Result

    from gateway.service.records import DirtyMonth, PropertyRow

HOUSE = """\
[[facility]]
id = "sonnenhof"
name = "Sonnenhof"
time_zone = "Europe/Zurich"
currency = "CHF"

[[facility]]
id = "mondhof"
name = "Mondhof"
time_zone = "Europe/London"
currency = "GBP"

[[building]]
id = "haus-a"
facility = "sonnenhof"
name = "Haus A"
quotity = "1000"

[[building]]
id = "haus-m"
facility = "mondhof"
name = "Haus M"

[[point]]
id = "flat-1"
building = "haus-a"
name = "Ground floor left"
kind = "apartment"
quotity = "600"
people = [{ value = "2" }, { from = 2026-10-15, value = "4" }]

[[point]]
id = "flat-2"
building = "haus-a"
name = "Ground floor right"
kind = "apartment"
quotity = "400"

[[point]]
id = "cottage"
building = "haus-m"
name = "Cottage"
kind = "villa"

[[user]]
id = "blumer"
kind = "natural"
first_name = "Anna"
last_name = "Blumer"
language = "de"
address = "Sonnenweg 1, 8000 Zürich"

[[user]]
id = "immo-ag"
kind = "legal"
company = "Immo AG"
registration = "CHE-1"
address = "Bahnhofplatz 3, 8000 Zürich"

[[owner]]
id = "owner-sonnenhof"
user = "immo-ag"
facility = "sonnenhof"

[[owner]]
id = "owner-mondhof"
user = "immo-ag"
facility = "mondhof"

[[occupancy]]
id = "occ-1"
point = "flat-1"
user = "blumer"
entry = 2026-01-01
exit = 2026-10-14

[[meter]]
id = "power"
facility = "sonnenhof"
name = "Electricity"

[[register]]
id = "power-1"
meter = "power"
key = "import"
energy_source = "electricity"
unit = "kWh"
resolution = "0.001"
max_per_day = "500"
exchanges = [{ at = 2026-03-12T10:30:00+01:00, final = "8502.7", start = "12.0", serial = "4711" }]

[[register]]
id = "power-lift"
meter = "power"
key = "lift"
energy_source = "electricity"
unit = "kWh"
resolution = "0.001"
max_per_day = "100"

[[link]]
id = "direct"
register = "power-1"
point = "flat-1"

[[link]]
id = "lift-1"
register = "power-lift"
point = "flat-1"
scope = "building"
key = "quotity"

[[link]]
id = "lift-2"
register = "power-lift"
point = "flat-2"
scope = "building"
key = "quotity"

[[rate]]
id = "electricity"
facility = "sonnenhof"
energy_source = "electricity"
title = "Electricity"
component = "energy"
unit = "kWh"
prices = [
  { from = 2026-01-01, price = "0.2500" },
  { from = 2026-10-16, price = "0.2700" },
]
tax = { category = "S", rate = "8.1", included = true }
"""
ENTRIES = HOUSE.count("[[")


def line_of(text: str, part: str) -> int:
    """The line in which the text has the part for the first time."""
    return text[: text.index(part)].count("\n") + 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Desk:
    """Where property data is imported."""

    folder: Path
    url: str

    def submeter(self, *arguments: str) -> Result:
        return CliRunner().invoke(group, ["--config", str(self.folder / "gateway.toml"), *arguments])

    def take(self, text: str, *options: str) -> Result:
        """Import the text, written to property.toml."""
        file = self.folder / "property.toml"
        file.write_text(text, encoding="utf-8")
        return self.submeter("import", *options, str(file))

    def plan(self, text: str) -> Any:  # noqa: ANN401 - what JSON holds
        """What an import of the text would change, as JSON."""
        file = self.folder / "property.toml"
        file.write_text(text, encoding="utf-8")
        done = self.submeter("--json", "import", "--plan", str(file))
        assert done.exit_code == 0, done.output
        return json.loads(done.stdout)

    def refused(self, text: str, *options: str) -> list[str]:
        """The sentences that the import of the text is refused with, without the name of the file."""
        before = self.rows()
        done = self.take(text, *options)
        assert done.exit_code == 3, done.output
        assert not done.stdout
        assert self.rows() == before
        return [line.removeprefix(f"{self.folder / 'property.toml'}:").strip() for line in done.stderr.splitlines()]

    def rows(self, known_at: datetime | None = None) -> Sequence[PropertyRow]:
        async def ask() -> Sequence[PropertyRow]:
            async with StoreView(self.url) as view:
                return await view.property_rows(known_at)

        return asyncio.run(ask())

    def dirty(self) -> list[DirtyMonth]:
        async def ask() -> list[DirtyMonth]:
            async with StoreView(self.url) as view:
                return list(await view.dirty())

        return asyncio.run(ask())

    def close(self, facility: str, months: Sequence[str], at: datetime) -> None:
        """Close the months, and forget every mark."""

        async def work() -> None:
            async with Store(self.url) as store:
                for month in months:
                    await store.close_month(facility, month, at, await store.dirty())

        asyncio.run(work())


def new_desk(folder: Path) -> Desk:
    desk = Desk(folder=folder, url=f"sqlite:///{folder / 'gateway.db'}")
    text = 'site = "sonnenhof"\ngateway = "gw-01"\nstore = "sqlite:///gateway.db"\n'
    (folder / "gateway.toml").write_text(text, encoding="utf-8")
    migrate(desk.url)
    return desk
