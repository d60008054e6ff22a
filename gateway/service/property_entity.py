"""What every entry of property.toml has: an id, and the facts that charges depend on."""

from __future__ import annotations

from abc import abstractmethod
from datetime import date
from typing import Any, ClassVar

from gateway.core.canonical import canonical
from gateway.service.property_fields import Id, Strict

Fact = tuple[date, object]
"""what an entity says, and the day from which it matters"""


class Entity(Strict):
    """One entry of the file."""

    table: ClassVar[str]
    id: Id

    @abstractmethod
    def facts(self) -> frozenset[Fact]:
        """What charges depend on, each with its first day: where two versions differ, charges may change."""

    def given(self) -> dict[str, Any]:
        """The object as import accepts it, its dates as text, without the defaults nobody wrote."""
        return self.model_dump(mode="json", by_alias=True, exclude_unset=True)

    def printed(self) -> str:
        """The same as canonical JSON: what is kept."""
        return canonical(self.given()).decode()
