"""At which index a counter begins again at 0, as its meter's model says.

Revision 0004
"""
# ruff: noqa: INP001 - Alembic runs it as a script; it is no module

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

_Text = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")


def upgrade() -> None:
    """Add the column; what is there says nothing of it."""
    op.add_column("channel", sa.Column("modulus", _Text, nullable=False, server_default=""))
    op.drop_index("channel_key", "channel")
    key = ["meter", "serial", "register", "unit", "obis", "modulus"]
    op.create_index("channel_key", "channel", key, unique=True)
