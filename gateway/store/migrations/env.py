"""Runs the migrations on the connection that `gateway.store.migrate` hands over, inside its transaction."""
# ruff: noqa: INP001 - Alembic runs it as a script; it is no module

from __future__ import annotations

from alembic import context

from gateway.store.schema import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    render_as_batch=True,
    transaction_per_migration=False,
)
context.run_migrations()
