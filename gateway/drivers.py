"""Finds drivers by their entry points; the one place that does.

`submeter.drivers` are lines with meters, `submeter.readers` badge readers, `submeter.machines` permits of machines.
"""

from __future__ import annotations

from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Any, cast

from gateway.core.problem import cut

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

    from gateway.ports.field import Driver, MachineDriver, ReaderDriver

GROUP = "submeter.drivers"
READERS = "submeter.readers"
MACHINES = "submeter.machines"


class NoDriverError(LookupError):
    """There is no working driver of this name. The text is one sentence for the installer."""


def names(group: str = GROUP) -> tuple[str, ...]:
    """The names of the installed drivers of a group, in order."""
    return tuple(sorted({entry.name for entry in entry_points(group=group)}))


def find(name: str) -> Driver:
    """The driver of lines of this name; NoDriverError where none is installed or its package does not load."""
    return cast("Driver", _found(GROUP, name))


def find_reader(name: str) -> ReaderDriver:
    """The driver of badge readers of this name; NoDriverError."""
    return cast("ReaderDriver", _found(READERS, name))


def find_machine(name: str) -> MachineDriver:
    """The driver of machines of this name; NoDriverError."""
    return cast("MachineDriver", _found(MACHINES, name))


def _found(group: str, name: str) -> Any:  # noqa: ANN401 - whatever the package offers
    entries = list(entry_points(group=group, name=name))
    if not entries:
        message = f"no driver {cut(name)!r} is installed; installed are: {', '.join(names(group)) or 'none'}"
        raise NoDriverError(message)
    return _loaded(entries[0])


def _loaded(entry: EntryPoint) -> Any:  # noqa: ANN401 - whatever the package offers
    try:
        return entry.load()
    except Exception as error:  # a foreign package may fail to import in any way; its user needs its name and reason
        package = entry.dist.name if entry.dist else entry.value
        reason = str(error) if isinstance(error, ImportError) else repr(error)
        message = (
            f"the driver {entry.name!r} of the package {package} does not load: {reason}; "
            "correct that, or install the package again"
        )
        raise NoDriverError(message) from error
