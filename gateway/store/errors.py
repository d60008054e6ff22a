"""What can be wrong with a store. The text of each is one sentence for a person."""

from __future__ import annotations

import sqlite3

from sqlalchemy.exc import DBAPIError

from gateway.service.storing import StoreUnavailableError


class StoreError(Exception):
    """The store cannot be used as asked."""


class StoreInUseError(StoreError):
    """Another process writes to the store."""


class StorageError(StoreError, StoreUnavailableError):
    """The disk, or the server, refuses for now: it is full, read-only or away."""


DATABASE_ERRORS = (DBAPIError, sqlite3.Error)
"""what a database says; SQLite says it without SQLAlchemy while it connects"""
