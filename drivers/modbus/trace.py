"""All registers of one meter as they stand on the wire, also those that cannot be believed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from drivers.modbus.plan import plan
from drivers.modbus.registers import RegisterError
from drivers.modbus.sunspec import SunSpecMeter
from drivers.modbus.talk import Asker
from gateway.ports.field import NoAnswerError, Seen, WrongAnswerError

if TYPE_CHECKING:
    from collections.abc import Callable

    from drivers.modbus.model import ModbusRegister, RegisterMap
    from drivers.modbus.plan import Span
    from drivers.modbus.talk import Talk, Words

_REFUSED = "the device does not give these words"


async def trace(talk: Talk, unit: int, model: RegisterMap | SunSpecMeter) -> Seen:
    """One entry for each fixed word, register and serial number: its words in hex, and its value or why there is none.

    NoAnswerError where nobody answers; WrongAnswerError where a SunSpec device has no such meter.
    """
    asker = Asker(talk, unit)
    map_ = model if not isinstance(model, SunSpecMeter) else await asker.walked(model)
    words = await _all_words(asker, map_)
    if not words and await talk.presence(unit) == "silent":
        message = f"unit {unit} gives no answer; check its address, its wiring and its power"
        raise NoAnswerError(message)
    entries = [_entry("identity", fixed.says, fixed.span, words, _checked(fixed.check)) for fixed in map_.identify]
    entries += [_register(each, words) for each in map_.registers]
    if map_.serial is not None:
        entries.append(_entry("serial", "serial number", map_.serial.span, words, map_.serial.read))
    return Seen(raw=asker.raw, frames=tuple(entries))


async def _all_words(asker: Asker, map_: RegisterMap) -> Words:
    words: Words = {}
    for request in (*map_.identity_requests, *map_.requests(with_serial=True)):
        if not await asker.gather(request, map_.limits, words):
            for span in request.spans:
                await asker.gather(plan([span], map_.limits)[0], map_.limits, words)
    return words


def _register(register: ModbusRegister, words: Words) -> dict[str, Any]:
    def value(_: tuple[int, ...]) -> str:
        if not words.keys() >= set(register.spans):
            raise WrongAnswerError(_REFUSED)
        return f"{register.value(words).index} {register.unit}"

    entry = _entry("register", register.key, register.span, words, value)
    if register.scale_register is not None:
        scale = register.scale_register.span
        entry["scale"] = {"address": scale.address, "words": _hex(words.get(scale, ()))}
    return entry


def _entry(kind: str, name: str, span: Span, words: Words, value: Callable[[tuple[int, ...]], str]) -> dict[str, Any]:
    entry = {"ok": True, "kind": kind, "name": name, "function": span.function, "address": span.address}
    if span not in words:
        return {**entry, "words": [], "problem": _REFUSED}
    entry["words"] = _hex(words[span])
    try:
        return {**entry, "value": value(words[span])}
    except (WrongAnswerError, RegisterError) as error:
        return {**entry, "problem": str(error)}


def _checked(check: Callable[[tuple[int, ...]], None]) -> Callable[[tuple[int, ...]], str]:
    def value(words: tuple[int, ...]) -> str:
        check(words)
        return "as the model says"

    return value


def _hex(words: tuple[int, ...]) -> list[str]:
    return [f"{word:04x}" for word in words]
