"""Corrections of readings, roll-ups, sessions.

Revision 0002
"""
# ruff: noqa: INP001 - Alembic runs it as a script; it is no module

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

_Row = sa.BigInteger().with_variant(sa.Integer, "sqlite")
_Text = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")


def upgrade() -> None:
    """Add the tables; what is there stays as it is."""
    _corrections()
    _rollups()
    _sessions()


def _corrections() -> None:
    op.create_table(
        "correction",
        sa.Column("no", _Row, primary_key=True, autoincrement=False),
        sa.Column("kind", _Text, nullable=False),
        sa.Column("meter", _Text, nullable=False),
        sa.Column("register", _Text, nullable=False),
        sa.Column("at", sa.BigInteger, nullable=False),
        sa.Column("indexes", _Text, nullable=False),
        sa.Column("reason", _Text, nullable=False),
        sa.Column("recorded_at", sa.BigInteger, nullable=False),
        sa.Column("recorded_by", _Text, nullable=False),
    )
    op.create_table(
        "void",
        sa.Column("at", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("channel", sa.BigInteger, sa.ForeignKey("channel.no"), primary_key=True, autoincrement=False),
        sa.Column("digits", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("exponent", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("correction", sa.BigInteger, sa.ForeignKey("correction.no"), nullable=False),
    )


def _rollups() -> None:
    for name in ("hourly", "daily"):
        op.create_table(
            name,
            sa.Column("channel", sa.BigInteger, sa.ForeignKey("channel.no"), primary_key=True, autoincrement=False),
            sa.Column("bucket", sa.BigInteger, primary_key=True, autoincrement=False),
            sa.Column("first_at", sa.BigInteger, nullable=False),
            sa.Column("first_digits", sa.BigInteger, nullable=False),
            sa.Column("last_at", sa.BigInteger, nullable=False),
            sa.Column("last_digits", sa.BigInteger, nullable=False),
            sa.Column("exponent", sa.Integer, nullable=False),
            sa.Column("count", sa.Integer, nullable=False),
            sqlite_with_rowid=False,
        )


def _sessions() -> None:
    op.create_table(
        "session",
        sa.Column("id", _Text, primary_key=True),
        sa.Column("facility", _Text, nullable=False),
        sa.Column("access_point", _Text, nullable=False),
        sa.Column("started_at", sa.BigInteger, nullable=False),
        sa.Column("ended_at", sa.BigInteger),
        sa.Column("data", _Text, nullable=False),
    )
    op.create_index("session_ended", "session", ["ended_at", "facility"])
