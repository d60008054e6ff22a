"""Taps at access points: who may use a machine, and what the session costs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from gateway.service.records import NewCharge, SessionRecord


class SessionStore(Protocol):
    """What access points need of the store. All of it is as urgent as a tap."""

    async def open_sessions(self) -> Sequence[SessionRecord]:
        """The sessions that have not ended, the oldest first."""

    async def keep_session(self, session: SessionRecord) -> None:
        """Keep a session as it is now, new or known; return once that is durable."""

    async def end_session(
        self, session: SessionRecord, subject: str, data: str, charges: Sequence[NewCharge], at: datetime
    ) -> None:
        """Keep the ended session, its event (stream sessions) and its charges with their events in one transaction.

        A session that has ended already changes nothing.
        """
