"""Badges and cycle prices in property.toml."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from gateway.core.access import digest
from gateway.core.book import problems
from gateway.service import property_schema as schema
from gateway.service.property import book

BADGE: dict[str, Any] = {
    "id": "b-1",
    "user": "blumer",
    "point": "flat-1",
    "identifier": "04A1B2C3",
    "access_points": ["laundry"],
}
RATE: dict[str, Any] = {
    "id": "wash",
    "facility": "f",
    "energy_source": "electricity",
    "title": "Wash",
    "component": "cycle",
    "unit": "cycle",
    "prices": [{"price": "1.20"}],
    "tax": {"category": "O", "rate": "0", "included": True},
}


def test_two_badges_with_one_identifier_at_the_same_time_are_refused() -> None:
    kept = [
        schema.Badge.model_validate({**BADGE, "id": name}).sealed(digest("04A1B2C3", b"pepper")) for name in ("x", "y")
    ]
    found = [one for one in problems(book(kept)) if one.code == "badge_collision"]
    assert [(one.kind, one.id) for one in found] == [("badge", "y")]
    other = schema.Badge.model_validate(BADGE).sealed(digest("04A1B2C4", b"pepper"))
    assert not [one for one in problems(book([kept[0], other])) if one.code == "badge_collision"]


def test_a_badge_names_a_user_and_a_point_that_are_there() -> None:
    found = problems(book([schema.Badge.model_validate(BADGE)]))
    assert {(one.code, one.field) for one in found} == {("unknown_user", "user"), ("unknown_point", "point")}


@pytest.mark.parametrize(("component", "unit"), [("cycle", "kWh"), ("energy", "cycle"), ("volume", "cycle")])
def test_only_a_cycle_is_priced_by_the_cycle(component: str, unit: str) -> None:
    assert schema.Rate.model_validate(RATE).unit == "cycle"
    with pytest.raises(ValidationError, match="is no unit of component"):
        schema.Rate.model_validate({**RATE, "component": component, "unit": unit})
