"""Which meter an exchange ended: the serial number that property data named for it stays, with the first exchange.

The entry of a meter names the one that is there now. What was read before is judged by the name that was known then,
also where the exchange was entered, or brought by a file, much later.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from gateway.core.metering import same_serial
from gateway.core.problem import Problem
from gateway.service import property_schema as schema
from gateway.service.command_moves import registers_of, steps_of

if TYPE_CHECKING:
    from gateway.service.command_edits import Known
    from gateway.service.property_fields import ExchangeStep

_ONCE = "old_serial belongs to the first exchange; whose meter a later one ends, the serial of the one before it says"


def remembering(known: Known, told: schema.Entity) -> schema.Entity | Problem:
    """A register with the serial number of its first meter, as far as that was known; any other entry as it is."""
    if not isinstance(told, schema.Register) or not told.exchanges:
        return told
    first, *later = sorted(told.exchanges, key=lambda step: step.at)
    had = _old_serial(known.get(("register", told.id)))
    if any(step.old_serial not in (None, had) for step in later):
        return Problem(code="refused", kind="register", id=told.id, text=f"{_ONCE}; remove it", field="exchanges")
    old = first.old_serial or _named(known, told)
    if old == first.old_serial and all(step.old_serial is None for step in later):
        return told
    steps = [_with(step, old if step is first else None) for step in told.exchanges]
    return schema.Register.model_validate_json(json.dumps(told.given() | {"exchanges": steps}))


def _named(known: Known, told: schema.Register) -> str | None:
    """What has named the register's first meter; None where nothing has, or that is the name of a later one."""
    before = known.get(("register", told.id))
    if not isinstance(before, schema.Register):
        return None
    meter = known.get(("meter", before.meter))
    if before.exchanges:
        name = _old_serial(before)
    elif isinstance(meter, schema.Meter) and not steps_of(registers_of(known, meter.id)):
        name = meter.serial
    else:
        name = None
    known_at = {step.at for step in steps_of([before])}
    begun = [step.serial for step in steps_of([told]) if step.serial is not None and step.at not in known_at]
    return None if name is None or any(same_serial(name, serial) for serial in begun) else name


def _old_serial(register: schema.Entity | None) -> str | None:
    steps = steps_of([register]) if isinstance(register, schema.Register) else []
    return next((step.old_serial for step in steps if step.old_serial is not None), None)


def _with(step: ExchangeStep, old: str | None) -> dict[str, object]:
    value = step.model_dump(mode="json", exclude_unset=True, exclude={"old_serial"})
    return value if old is None else value | {"old_serial": old}
