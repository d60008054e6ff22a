"""The first tables.

Revision 0001
"""
# ruff: noqa: INP001 - Alembic runs it as a script; it is no module

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

_Row = sa.BigInteger().with_variant(sa.Integer, "sqlite")
_Text = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")


def upgrade() -> None:
    """Make all tables."""
    _readings()
    _streams()
    _property()
    _charges()
    _alarms()


def _readings() -> None:
    op.create_table(
        "channel",
        sa.Column("no", _Row, primary_key=True, autoincrement=False),
        sa.Column("meter", _Text, nullable=False),
        sa.Column("serial", _Text, nullable=False),
        sa.Column("register", _Text, nullable=False),
        sa.Column("unit", _Text, nullable=False),
        sa.Column("obis", _Text, nullable=False),
    )
    op.create_index("channel_key", "channel", ["meter", "serial", "register", "unit", "obis"], unique=True)
    op.create_table(
        "reading",
        sa.Column("at", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("channel", sa.BigInteger, sa.ForeignKey("channel.no"), primary_key=True, autoincrement=False),
        sa.Column("digits", sa.BigInteger, nullable=False),
        sa.Column("exponent", sa.Integer, nullable=False),
        sa.Column("flags", sa.Integer, nullable=False),
        sa.Column("status", sa.Integer, nullable=False),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "source",
        sa.Column("no", _Row, primary_key=True, autoincrement=False),
        sa.Column("boot", _Text, nullable=False),
        sa.Column("meter", _Text, nullable=False),
        sa.Column("serial", _Text, nullable=False),
    )
    op.create_index("source_key", "source", ["boot", "meter", "serial"], unique=True)
    op.create_table(
        "poll",
        sa.Column("seq", _Row, primary_key=True, autoincrement=False),
        sa.Column("at", sa.BigInteger, nullable=False),
        sa.Column("source", sa.BigInteger, sa.ForeignKey("source.no"), nullable=False),
        sa.Column("status", sa.Integer, nullable=False),
        sa.Column("clock_trusted", sa.Integer, nullable=False),
        sa.Column("raw", sa.LargeBinary, nullable=False),
    )
    op.create_table(
        "conflict",
        sa.Column("at", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("channel", sa.BigInteger, sa.ForeignKey("channel.no"), primary_key=True, autoincrement=False),
        sa.Column("poll", sa.BigInteger, sa.ForeignKey("poll.seq"), primary_key=True, autoincrement=False),
        sa.Column("digits", sa.BigInteger, nullable=False),
        sa.Column("exponent", sa.Integer, nullable=False),
        sa.Column("flags", sa.Integer, nullable=False),
        sa.Column("status", sa.Integer, nullable=False),
    )


def _streams() -> None:
    op.create_table(
        "meta",
        sa.Column("key", _Text, primary_key=True),
        sa.Column("value", _Text, nullable=False),
    )
    op.create_table(
        "stream",
        sa.Column("no", _Row, primary_key=True, autoincrement=False),
        sa.Column("name", _Text, nullable=False, unique=True),
        sa.Column("kind", _Text, nullable=False),
        sa.Column("base", sa.BigInteger, nullable=False),
        sa.Column("finished", sa.BigInteger, nullable=False),
    )
    op.create_table(
        "event",
        sa.Column("stream", _Text, sa.ForeignKey("stream.name"), primary_key=True),
        sa.Column("seq", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("id", _Text, nullable=False),
        sa.Column("subject", _Text, nullable=False),
        sa.Column("time", sa.BigInteger, nullable=False),
        sa.Column("data", _Text),
        sa.Column("prevhash", _Text),
        sa.Column("hash", _Text),
        sa.Column("bootid", _Text, nullable=False),
    )
    op.create_index("event_id", "event", ["id"])
    op.create_table(
        "ack",
        sa.Column("consumer", _Text, primary_key=True),
        sa.Column("stream", _Text, sa.ForeignKey("stream.name"), primary_key=True),
        sa.Column("seq", sa.BigInteger, nullable=False),
    )


def _property() -> None:
    op.create_table(
        "property",
        sa.Column("no", _Row, primary_key=True, autoincrement=False),
        sa.Column("recorded_at", sa.BigInteger, nullable=False),
        sa.Column("recorded_by", _Text, nullable=False),
        sa.Column("kind", _Text, nullable=False),
        sa.Column("id", _Text, nullable=False),
        sa.Column("value", _Text),
    )
    op.create_index("property_entity", "property", ["kind", "id", "no"])


def _charges() -> None:
    op.create_table(
        "charge",
        sa.Column("charge_id", _Text, primary_key=True),
        sa.Column("line_id", _Text, nullable=False),
        sa.Column("revision", sa.Integer, nullable=False),
        sa.Column("kind", _Text, nullable=False),
        sa.Column("replaces", _Text, sa.ForeignKey("charge.charge_id")),
        sa.Column("facility", _Text, nullable=False),
        sa.Column("closing", _Text, nullable=False),
        sa.Column("billing_point", _Text),
        sa.Column("register", _Text),
        sa.Column("standing", sa.Integer, nullable=False),
        sa.Column("body", _Text, nullable=False),
    )
    op.create_index("charge_closing", "charge", ["facility", "closing"])
    op.create_table(
        "closing",
        sa.Column("facility", _Text, primary_key=True),
        sa.Column("month", _Text, primary_key=True),
        sa.Column("closed_at", sa.BigInteger, nullable=False),
        sa.Column("settled_at", sa.BigInteger, nullable=False),
    )
    op.create_table(
        "dirty",
        sa.Column("facility", _Text, primary_key=True),
        sa.Column("month", _Text, primary_key=True),
        sa.Column("reason", _Text, primary_key=True),
        sa.Column("mark", sa.BigInteger, nullable=False),
    )


def _alarms() -> None:
    op.create_table(
        "alarm",
        sa.Column("alarm_id", _Text, primary_key=True),
        sa.Column("code", _Text, nullable=False),
        sa.Column("source", _Text, nullable=False),
        sa.Column("severity", _Text, nullable=False),
        sa.Column("since", sa.BigInteger, nullable=False),
        sa.Column("ended", sa.BigInteger),
        sa.Column("text", _Text, nullable=False),
    )
    open_ones = sa.text("ended IS NULL")
    op.create_index(
        "alarm_open", "alarm", ["code", "source"], unique=True, sqlite_where=open_ones, postgresql_where=open_ones
    )
