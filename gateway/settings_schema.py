"""JSON Schema of the settings file, for editors."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gateway.settings_file import SettingsFile

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pydantic import BaseModel

    from gateway.ports.field import Driver, MachineDriver, ReaderDriver


def json_schema(
    drivers: Iterable[Driver], readers: Iterable[ReaderDriver] = (), machines: Iterable[MachineDriver] = ()
) -> dict[str, Any]:
    """JSON Schema of the file for editors, with the keys of these drivers."""
    schema = SettingsFile.model_json_schema()
    shapes = schema["$defs"]
    meter, bus = shapes.pop("MeterTable"), shapes.pop("BusTable")
    kinds = []
    for driver in drivers:
        inner = _joined(meter, driver.meter_schema, shapes)
        outer = _joined(bus, driver.bus_schema, shapes)
        outer["properties"] |= {
            "driver": {**outer["properties"]["driver"], "const": driver.name},
            "meter": {"type": "array", "minItems": 1, "items": inner},
        }
        outer["required"].append("meter")
        kinds.append(outer)
    schema["properties"]["bus"]["items"] = {"oneOf": kinds}
    _of_kinds(schema, "reader", "ReaderTable", readers)
    _of_kinds(schema, "machine", "MachineTable", machines)
    return schema


def _of_kinds(
    schema: dict[str, Any], key: str, shape: str, drivers: Iterable[ReaderDriver] | Iterable[MachineDriver]
) -> None:
    """The entries of an array, one kind for each driver."""
    ours = schema["$defs"].pop(shape)
    kinds = []
    for driver in drivers:
        one = _joined(ours, driver.schema, schema["$defs"])
        one["properties"] |= {"driver": {**one["properties"]["driver"], "const": driver.name}}
        kinds.append(one)
    schema["properties"][key]["items"] = {"oneOf": kinds}


def _joined(ours: dict[str, Any], theirs: type[BaseModel], shapes: dict[str, Any]) -> dict[str, Any]:
    """One table whose keys are declared by the settings and by a driver."""
    other = theirs.model_json_schema()
    shapes |= other.pop("$defs", {})
    return {
        **ours,
        "title": f"{theirs.__name__}",
        "properties": {**ours["properties"], **other["properties"]},
        "required": [*ours["required"], *other.get("required", ())],
        "additionalProperties": False,
    }
