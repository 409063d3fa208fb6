"""Processes that hold nodes, with one sign of life each; fences, so that a claim that was lost is known for lost.

Revision: 0006, after 0005. `lease_until` stays for one release, for processes of the release before.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "workers",
        sa.Column("id", sa.String(64), nullable=False),
        sa.Column("login", sa.String(200), nullable=False),
        sa.Column("host", sa.String(255), nullable=False),
        sa.Column("pid", sa.Integer(), nullable=False),
        sa.Column("version", sa.String(64), nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("beat_until", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_workers"),
    )
    op.add_column("nodes", sa.Column("fence", sa.BigInteger(), nullable=False, server_default="0"))
    op.add_column("nodes", sa.Column("claimed_for", sa.String(16), nullable=True))
    op.add_column("nodes", sa.Column("claimed_at", sa.DateTime(timezone=True), nullable=True))
    op.add_column("actions", sa.Column("worker", sa.String(64), nullable=True))
    op.add_column("actions", sa.Column("fence", sa.BigInteger(), nullable=True))


def downgrade() -> None:
    # The release before goes by leases, and would wait for one of the year 9000.
    op.execute("UPDATE nodes SET worker = NULL, lease_until = NULL WHERE lease_until >= '9000-01-01'")
    op.execute("UPDATE actions SET lease_until = NULL WHERE lease_until >= '9000-01-01'")
    for table, name in (
        ("actions", "fence"),
        ("actions", "worker"),
        ("nodes", "claimed_at"),
        ("nodes", "claimed_for"),
        ("nodes", "fence"),
    ):
        op.drop_column(table, name)
    op.drop_table("workers")
