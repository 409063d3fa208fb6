"""How nodes end: when that is to be, when it was, and by what; and the machine that the cloud really gave.

Revision: 0008, after 0007. Rows of before know when they were terminated, and by whom: this program alone wrote that.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

COLUMNS = ("size", "market", "launch_id", "ends_at", "ended_at", "ended_by")


def upgrade() -> None:
    moment = sa.DateTime(timezone=True)
    kinds = (sa.String(64), sa.String(16), sa.String(32), moment, moment, sa.String(16))
    for name, kind in zip(COLUMNS, kinds, strict=True):
        op.add_column("nodes", sa.Column(name, kind, nullable=True))
    op.execute(
        "UPDATE nodes SET ended_at = terminated_at, ended_by = 'us' "
        "WHERE state = 'terminated' AND coalesce(reason, '') <> 'only the row was to go; the machine was left alone'"
    )
    # That a machine was gone was noticed then, at the latest.
    op.execute("UPDATE nodes SET ended_at = updated_at, ended_by = 'lost' WHERE state = 'lost'")


def downgrade() -> None:
    for name in reversed(COLUMNS):
        op.drop_column("nodes", name)
