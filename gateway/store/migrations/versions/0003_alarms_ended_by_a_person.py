"""Who ended an alarm, and why.

Revision 0003
"""
# ruff: noqa: INP001 - Alembic runs it as a script; it is no module

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

_Text = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")


def upgrade() -> None:
    """Add the columns; what is there stays as it is."""
    op.add_column("alarm", sa.Column("ended_by", _Text))
    op.add_column("alarm", sa.Column("reason", _Text))
