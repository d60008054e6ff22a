"""A move, a rule of sharing and an exchange: one command, several entries."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

from gateway.core.problem import cut
from gateway.service import property_schema as schema
from gateway.service.command_edits import Edit, entry, fault, free_id, missing
from gateway.service.property_fields import in_years

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from datetime import date

    from gateway.service.command_edits import Known
    from gateway.service.command_schema import Exchange, Move, Share
    from gateway.service.property_fields import ExchangeStep

_DAY = timedelta(days=1)


def moved(known: Known, command: Move) -> Edit:
    """The stay that ends on the day before, and the one that begins; without a new user the point is vacant."""
    for kind, named in (("point", command.point), ("user", command.to)):
        if named is not None and (kind, named) not in known:
            return missing(kind, named)
    stays = [one for one in known.values() if isinstance(one, schema.Stay) and one.point == command.point]
    there = next((one for one in stays if _there(one, command.day)), None)
    later = min((one for one in stays if one.entry > command.day), key=lambda one: one.entry, default=None)
    if shifted := _shifted(command, stays, there):
        return shifted
    wrong = _wrong_move(command, there, later)
    if wrong:
        return fault("point", command.point, wrong)
    left = [] if there is None else [_with(there, "exit", command.day - _DAY)]
    made = Edit.of([*left, *([] if command.to is None else [_entered(known, command, command.to, later)])])
    return made if command.to is None or later is None else replace(made, said=_instead(later, command.day))


def _shifted(command: Move, stays: Sequence[schema.Stay], there: schema.Stay | None) -> Edit | None:
    """The last move at the point on a later day: who entered too early enters, and who was there leaves, then."""
    if there is None or there.user != command.to or there.exit is not None or there.entry >= command.day:
        return None
    before = next((one for one in stays if one.exit == there.entry - _DAY), None)
    if before is None:
        return None
    made = Edit.of([_with(before, "exit", command.day - _DAY), _with(there, "entry", command.day)])
    return replace(made, said=_instead(there, command.day, before))


def _instead(stay: schema.Stay, day: date, before: schema.Stay | None = None) -> str:
    stays = f", {before.user} stays until {day - _DAY}" if before else ""
    return f"{stay.user} enters {stay.point} on {day} instead of {stay.entry}{stays}"


def _there(stay: schema.Stay, day: date) -> bool:
    return stay.entry <= day and (stay.exit is None or stay.exit >= day)


def _wrong_move(command: Move, there: schema.Stay | None, later: schema.Stay | None) -> str:
    if there is None and command.to is None:
        return f"nobody is there on {command.day}: it is vacant already"
    if there is not None and there.user == command.to:
        return f"{there.user} is there on {command.day} already ({there.id}): name somebody else, or leave out --to"
    if there is not None and there.entry == command.day:
        correct = f"correct that with `submeter occupancy set {there.id}`, or end it as mistaken"
        return f"{there.user} enters on {command.day} ({there.id}): {correct}"
    if command.to is not None and later is not None and later.user != command.to:
        correct = f"correct that first with `submeter occupancy set {later.id}`"
        return f"{later.user} enters on {later.entry} ({later.id}): {correct}"
    return ""


def _entered(known: Known, command: Move, user: str, later: schema.Stay | None) -> schema.Entity | Edit:
    """The new stay; the one of the same user that was to begin later begins on the day instead."""
    if later is not None:
        return _with(later, "entry", command.day)
    stay = free_id(known, "occupancy", f"{command.point}-{command.day}")
    return entry("occupancy", {"id": stay, "point": command.point, "user": user, "entry": command.day.isoformat()})


def _with(stay: schema.Stay, key: str, day: date) -> schema.Entity | Edit:
    return entry("occupancy", stay.given() | {key: day.isoformat()})


def shared(known: Known, command: Share) -> Edit:
    """Every link of the register with the rule; from a day on, the links end and others begin."""
    links = [one for one in known.values() if isinstance(one, schema.Link) and one.register_ == command.register_]
    if ("register", command.register_) not in known:
        return missing("register", command.register_)
    held = [one for one in links if command.since is None or one.until is None or one.until > command.since]
    strangers = sorted(command.values.keys() - {one.point for one in held})
    if not held or strangers:
        who = ", ".join(strangers) or "any point"
        return fault("register", command.register_, f"is not linked to {who}; link it first (`submeter link add`)")
    entries: list[schema.Entity | Edit] = []
    for one in held:
        rule = {"scope": command.scope, "key": command.key, "value": command.values.get(one.point)}
        value = {key: given for key, given in (one.given() | rule).items() if given is not None}
        if command.since is None or (one.from_ is not None and one.from_ >= command.since):
            entries.append(entry("link", value))
            continue
        since = command.since.isoformat()
        follower = free_id(known, "link", f"{one.register_}-{one.point}-{since}")
        entries += [
            entry("link", one.given() | {"until": since}),
            entry("link", value | {"id": follower, "from": since}),
        ]
    return Edit.of(entries)


def exchanged(known: Known, command: Exchange, past: datetime) -> Edit:
    """Every register of the meter with the last index of the old one and the first of the new one."""
    meter = known.get(("meter", command.meter))
    if not isinstance(meter, schema.Meter):
        return missing("meter", command.meter)
    at = instant(command.at, zone_of(known, meter), past)
    if isinstance(at, str):
        return fault("meter", meter.id, at, "at")
    registers = registers_of(known, meter.id)
    final, start = _by_register(registers, command.final), _by_register(registers, command.start)
    wrong = _wrong_indexes(registers, command)
    if wrong:
        return Edit.of(fault("meter", meter.id, text, field) for field, text in wrong)
    new = {"at": at.isoformat(), **({} if command.serial is None else {"serial": command.serial})}
    entries: list[schema.Entity | Edit] = []
    for one in registers:
        value = one.given()
        steps = [*value.get("exchanges", ()), {**new, "final": final[one.id], "start": start[one.id]}]
        value["exchanges"] = sorted(steps, key=lambda step: datetime.fromisoformat(step["at"]))
        entries.append(entry("register", value))
    latest = all(step.at < at for step in steps_of(registers))
    if meter.serial is not None and command.serial is not None and latest:
        entries.append(entry("meter", meter.given() | {"serial": command.serial}))
    return Edit.of(entries)


def taken_back(known: Known, command: Exchange, past: datetime) -> Edit:
    """Every register of the meter without the exchange of that instant; the meter with the serial that it had."""
    meter = known.get(("meter", command.meter))
    if not isinstance(meter, schema.Meter):
        return missing("meter", command.meter)
    at = instant(command.at, zone_of(known, meter), past)
    if isinstance(at, str):
        return fault("meter", meter.id, at, "at")
    if command.final or command.start:
        return fault("meter", meter.id, "a mistaken exchange has no indexes; leave out --final and --start")
    steps = steps_of(registers_of(known, meter.id))
    if all(step.at != at for step in steps):
        there = ", ".join(each.isoformat() for each in sorted({step.at for step in steps})) or "none"
        return fault("meter", meter.id, f"no exchange of {at.isoformat()} is known; there are: {there}", "at")
    entries = [_without(one, at) for one in registers_of(known, meter.id) if one.exchanges]
    serial = _serial_without(steps, at, meter.serial, command.serial)
    if serial != meter.serial:
        entries.append(entry("meter", meter.given() | {"serial": serial}))
    return Edit.of(entries)


def _without(register: schema.Register, at: datetime) -> schema.Entity | Edit:
    value = register.given()
    left = [step for step in value.pop("exchanges") if datetime.fromisoformat(step["at"]) != at]
    return entry("register", value | ({"exchanges": left} if left else {}))


def _serial_without(steps: Sequence[ExchangeStep], at: datetime, serial: str | None, told: str | None) -> str | None:
    """Of the meter that is there without the exchange: the one before brought it, else it is told, or was known."""
    undone = [step for step in steps if step.at == at]
    ended = next((step.old_serial for step in undone if step.old_serial is not None), None)
    brought = serial is not None and any(step.serial == serial for step in undone)
    if any(step.at > at for step in steps) or not (brought or ended):
        return serial
    earlier = [step for step in steps if step.at < at and step.serial is not None]
    return (max(earlier, key=lambda step: step.at).serial if earlier else told or ended) or serial


def registers_of(known: Known, meter: str) -> list[schema.Register]:
    """The registers of a meter, by id."""
    found = [one for one in known.values() if isinstance(one, schema.Register) and one.meter == meter]
    return sorted(found, key=lambda one: one.id)


def steps_of(registers: Iterable[schema.Register]) -> list[ExchangeStep]:
    """The exchanges of all of them."""
    return [step for one in registers for step in one.exchanges or ()]


def register_named(registers: Iterable[schema.Register], name: str) -> schema.Register | None:
    """The register of this id, or of this key at its meter."""
    return next((one for one in registers if name in (one.id, one.key)), None)


def _by_register(registers: Iterable[schema.Register], given: Mapping[str, str]) -> dict[str, str]:
    named = ((register_named(registers, name), value) for name, value in given.items())
    return {one.id: value for one, value in named if one is not None}


def _wrong_indexes(registers: list[schema.Register], command: Exchange) -> list[tuple[str, str]]:
    """Every register needs both indexes, once each."""
    found = []
    known = ", ".join(one.id for one in registers) or "none: add its registers first"
    for field, given in (("final", command.final), ("start", command.start)):
        strangers = [name for name in given if register_named(registers, name) is None]
        named = _by_register(registers, given)
        without = [one.id for one in registers if one.id not in named]
        if strangers:
            found.append((field, f"{command.meter} has no register {', '.join(strangers)}; it has: {known}"))
        if without:
            found.append((field, f"the index of {', '.join(without)} is missing; give --{field} {without[0]}=VALUE"))
    return found if registers else [("", f"has no register that could be exchanged; it has: {known}")]


def zone_of(known: Known, meter: schema.Meter) -> str:
    """The time zone of the meter's facility."""
    facility = known.get(("facility", meter.facility))
    return facility.time_zone if isinstance(facility, schema.Facility) else "UTC"


def instant(text: str, zone: str, past: datetime) -> datetime | str:
    """The instant, in the time zone where it names none; what is wrong with it, also where it is later than `past`."""
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        return f'"{cut(text)}" is no instant; write e.g. 2026-03-12T10:30 (local) or 2026-03-12T10:30:00+01:00'
    if not in_years(found.date()):
        return f"{cut(text)} lies outside of the years 1900 to 2199; write an instant that has passed"
    if found.tzinfo is not None:
        return _passed(text, found, past)
    local = found.replace(tzinfo=ZoneInfo(zone))
    return _unclear(text, local, zone) or _passed(text, local, past)


def _passed(text: str, at: datetime, past: datetime) -> datetime | str:
    return f"{text} is still to come; write an instant that has passed" if at > past else at


def _unclear(text: str, local: datetime, zone: str) -> str:
    """Of a local time that occurs twice or never, because the clock is set back or forward."""
    first, second = (local.replace(fold=fold).isoformat() for fold in (0, 1))
    if first == second:
        return ""
    real = local.astimezone(UTC).astimezone(ZoneInfo(zone))
    if real.replace(fold=0) != local:
        return (
            f"{text} never occurs in {zone}, its clock is set forward: write it with an offset, such as "
            f"{real.isoformat()}"
        )
    return f"{text} occurs twice in {zone}, its clock is set back: write it with an offset, {first} or {second}"
