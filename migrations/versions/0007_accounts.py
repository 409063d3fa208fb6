"""Whose machine each node's is: the account or project that launched it.

Revision: 0007, after 0006. Rows of before know none, and learn it when their machines are next seen.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("nodes", sa.Column("account", sa.String(64), nullable=True))


def downgrade() -> None:
    # The release before knows no such state, and takes a machine that stands still for a running one, as it always did.
    op.execute("UPDATE nodes SET state = 'running' WHERE state = 'stopped'")
    op.drop_column("nodes", "account")
