"""Which of a rate's prices a charge names: a number that stays with its price, whatever is put before it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from gateway.service import property_schema as schema

if TYPE_CHECKING:
    from gateway.service.command_edits import Known


def numbered(known: Known, told: schema.Rate) -> schema.Rate:
    """The rate with a number for each of its prices that no other one has ever had.

    Numbers are written down only where they are not those of the prices' order in time.
    """
    before = known.get(("rate", told.id))
    rate = before if isinstance(before, schema.Rate) else told
    had = _numbers(rate)
    highest = max([told.versions or 0, rate.versions or 0, *had.values()])
    numbers: list[int] = []
    for step in told.prices:
        number = had.get((step.from_, step.price))
        if number is None or number in numbers:
            highest = number = highest + 1
        numbers.append(number)
    return _written(told, numbers, highest)


def _numbers(rate: schema.Rate) -> dict[object, int]:
    """Of each price by its first day; without those that have still to be given one."""
    named = [step.version for step in rate.prices]
    numbers = named if any(named) else range(1, len(named) + 1)
    steps = zip(rate.prices, numbers, strict=True)
    return {(step.from_, step.price): number for step, number in steps if number is not None}


def _written(rate: schema.Rate, numbers: list[int], highest: int) -> schema.Rate:
    value: dict[str, Any] = rate.given()
    steps = [{key: part for key, part in step.items() if key != "version"} for step in value["prices"]]
    if numbers != list(range(1, len(numbers) + 1)):
        steps = [{**step, "version": number} for step, number in zip(steps, numbers, strict=True)]
    value = {key: part for key, part in value.items() if key != "versions"} | {"prices": steps}
    if highest > max(numbers):
        value["versions"] = highest
    return schema.Rate.model_validate_json(json.dumps(value))
