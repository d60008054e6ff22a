"""What can be wrong with a store. The text of each is one sentence for a person."""

from __future__ import annotations


class StoreError(Exception):
    """The store cannot be used as asked."""


class StoreInUseError(StoreError):
    """Another process writes to the store."""
