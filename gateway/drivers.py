"""Finds drivers by the entry points `submeter.drivers`; the one place that does."""

from __future__ import annotations

from importlib.metadata import entry_points
from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

    from gateway.ports.field import Driver

GROUP = "submeter.drivers"


class NoDriverError(LookupError):
    """There is no working driver of this name. The text is one sentence for the installer."""


def names() -> tuple[str, ...]:
    """The names of the installed drivers, in order."""
    return tuple(sorted({entry.name for entry in entry_points(group=GROUP)}))


def find(name: str) -> Driver:
    """The driver of this name; NoDriverError where none is installed or its package does not load."""
    entries = list(entry_points(group=GROUP, name=name))
    if not entries:
        message = f"no driver {name!r} is installed; installed are: {', '.join(names()) or 'none'}"
        raise NoDriverError(message)
    return _loaded(entries[0])


def _loaded(entry: EntryPoint) -> Driver:
    try:
        return cast("Driver", entry.load())
    except Exception as error:  # a foreign package may fail to import in any way; its user needs its name and reason
        package = entry.dist.name if entry.dist else entry.value
        message = f"the driver {entry.name!r} of the package {package} does not load ({error!r}); install it again"
        raise NoDriverError(message) from error
