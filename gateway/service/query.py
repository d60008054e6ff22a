"""What is asked about property data: entries, who changed what, how registers are shared, running totals."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gateway.service.records import Correction, PropertyRow


class AuditStore(Protocol):
    """What the audit needs of the store."""

    async def property_history(self, kind: str | None, entity: str | None) -> Sequence[PropertyRow]:
        """Every value that entities ever had, in the order of recording; of one kind, of one id, or of all."""

    async def corrections(self) -> Sequence[Correction]:
        """Every added and voided reading, in the order in which they were recorded."""
