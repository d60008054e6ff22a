"""The settings as every command loads them, and a line as a command names it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from gateway import drivers, settings
from gateway.cli.exits import Refused
from gateway.schema_errors import refusals

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pydantic import BaseModel

    from gateway.cli import Options
    from gateway.ports.field import Driver
    from gateway.settings import Settings


def load_settings(options: Options) -> Settings:
    """The settings that the command line names; Refused with every mistake in them."""
    loaded = settings.load(options.config, drivers)
    if isinstance(loaded, settings.Settings):
        return loaded
    raise Refused.all(loaded)


@dataclass(frozen=True, slots=True, kw_only=True)
class NamedLine:
    """A line that a command names."""

    driver: Driver
    settings: BaseModel
    id: str | None = None
    """in the settings file; None for a line that is not there"""
    meters: Mapping[str, BaseModel] = field(default_factory=dict)
    """those of the settings file"""

    @property
    def batteries(self) -> dict[str, int]:
        """How many reads a day its known meters with a battery bear."""
        budgets = {meter: self.driver.reads_per_day(each) for meter, each in self.meters.items()}
        return {meter: reads for meter, reads in budgets.items() if reads is not None}


def named_line(options: Options, protocol: str, bus: str, framing: str = "") -> NamedLine:
    """The line of the settings with this id, or the one at this device or host:port; Refused.

    `framing` is for a line that the settings do not have; "": what is usual.
    """
    try:
        driver = drivers.find(protocol)
    except drivers.NoDriverError as error:
        raise Refused(str(error)) from error
    host, colon, port = bus.rpartition(":")
    more = {"framing": framing} if framing else {}
    if bus.startswith("/"):
        return NamedLine(driver=driver, settings=_checked(driver, {"device": bus, **more}))
    if colon and port.isdecimal():
        return NamedLine(driver=driver, settings=_checked(driver, {"host": host, "port": int(port), **more}))
    if framing:
        message = "--framing is for host:port; of a line of the settings it stands there"
        raise Refused(message)
    wiring = load_settings(options)
    for one in wiring.buses:
        if one.id == bus and one.driver.name == protocol:
            return NamedLine(driver=one.driver, settings=one.line, id=one.id, meters=one.meters)
    known = ", ".join(one.id for one in wiring.buses if one.driver.name == protocol)
    message = f"no {protocol} line {bus!r} in the settings; there are: {known or 'none'}; or name a device or host:port"
    raise Refused(message)


def _checked(driver: Driver, keys: dict[str, Any]) -> BaseModel:
    from pydantic import ValidationError

    try:
        return driver.bus_schema.model_validate(keys)
    except ValidationError as error:
        raise Refused.all(refusals(error, driver.bus_schema)) from error
