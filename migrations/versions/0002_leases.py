"""Who works on a node, and until when that is believed.

Revision: 0002, after 0001.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("nodes", sa.Column("worker", sa.String(length=64), nullable=True))
    op.add_column("nodes", sa.Column("lease_until", sa.DateTime(timezone=True), nullable=True))
    op.create_index("ix_nodes_worker", "nodes", ["worker"])


def downgrade() -> None:
    op.drop_index("ix_nodes_worker", table_name="nodes")
    # In place: a copy of the table would take the rows of actions with it on SQLite, which cascade with their node.
    op.drop_column("nodes", "lease_until")
    op.drop_column("nodes", "worker")
