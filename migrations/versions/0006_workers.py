"""Processes that hold nodes, with one sign of life each; fences, so that a claim that was lost is known for lost.

Revision: 0006, after 0005. `lease_until` stays for one release, for processes of the release before.
"""

from __future__ import annotations

from datetime import UTC, datetime

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

UNTIL_LET_GO = datetime(9000, 1, 1, tzinfo=UTC)


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
    leave_leases()
    for table, name in (
        ("actions", "fence"),
        ("actions", "worker"),
        ("nodes", "claimed_at"),
        ("nodes", "claimed_for"),
        ("nodes", "fence"),
    ):
        op.drop_column(table, name)
    op.drop_table("workers")


def leave_leases() -> None:
    """The release before knows no workers: what they hold is leased until their last sign of life is over."""
    moment = sa.DateTime(timezone=True)
    workers = sa.table("workers", sa.column("id"), sa.column("beat_until", moment))
    for name, otherwise in (("nodes", "updated_at"), ("actions", "started_at")):
        held = sa.table(name, sa.column("worker"), sa.column("lease_until", moment), sa.column(otherwise, moment))
        until = sa.select(workers.c.beat_until).where(workers.c.id == held.c.worker).scalar_subquery()
        leased = sa.update(held).where(held.c.lease_until == UNTIL_LET_GO)
        op.execute(leased.values(lease_until=sa.func.coalesce(until, held.c[otherwise])))
