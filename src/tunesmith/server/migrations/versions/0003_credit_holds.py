"""Credit that is held for a job from its submission to its end."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # Jobs that wait or run while the version changes hold nothing, as they did not before.
    op.create_table(
        "credit_holds",
        sa.Column("job_id", sa.Text(), nullable=False),
        sa.Column("user_id", sa.Text(), nullable=False),
        sa.Column("cents", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["job_id"], ["jobs.id"], name="fk_credit_holds_job_id", ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["user_id"], ["users.id"], name="fk_credit_holds_user_id", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("job_id", name="pk_credit_holds"),
    )
    op.create_index("ix_credit_holds_user_id", "credit_holds", ["user_id"], unique=False)


def downgrade() -> None:
    op.drop_table("credit_holds")
