"""Everything that is kept: readings, property data, charges, events, alarms."""

from __future__ import annotations

from gateway.store.errors import StorageError, StoreError, StoreInUseError
from gateway.store.store import Store
from gateway.store.view import StoreView

__all__ = ["StorageError", "Store", "StoreError", "StoreInUseError", "StoreView"]
