"""Deployments, the processes that answer for them, what they were asked; evaluations."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

JSON = sa.JSON(none_as_null=True).with_variant(JSONB(none_as_null=True), "postgresql")
UTC_TIME = sa.DateTime(timezone=True)


def upgrade() -> None:
    _servings()
    _deployments()
    _asked_requests()
    _evaluations()


def downgrade() -> None:
    for table in ("evaluations", "asked_requests", "deployments", "servings"):
        op.drop_table(table)


def _servings() -> None:
    op.create_table(
        "servings",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("worker_id", sa.Text(), nullable=False),
        sa.Column("base", sa.Text(), nullable=False),
        sa.Column("address", sa.Text(), nullable=False),
        sa.Column("secret", sa.Text(), nullable=False),
        sa.Column("memory_bytes", sa.BigInteger(), nullable=False),
        sa.Column("started_at", UTC_TIME, nullable=False),
        sa.ForeignKeyConstraint(
            ["worker_id"], ["workers.id"], name="fk_servings_worker_id", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name="pk_servings"),
    )
    op.create_index("ix_servings_worker_id", "servings", ["worker_id"], unique=False)


def _deployments() -> None:
    op.create_table(
        "deployments",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("project_id", sa.Text(), nullable=False),
        sa.Column("user_id", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("model_id", sa.Text(), nullable=True),
        sa.Column("adapter_id", sa.Text(), nullable=True),
        sa.Column("base", sa.Text(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("error", JSON, nullable=True),
        sa.Column("serving_id", sa.Text(), nullable=True),
        sa.Column("num_failures", sa.BigInteger(), nullable=False),
        sa.Column("autostart", sa.Boolean(), nullable=False),
        sa.Column("idle_seconds", sa.BigInteger(), nullable=False),
        sa.Column("keeps_requests", sa.Boolean(), nullable=False),
        sa.Column("overrides_gate", sa.Boolean(), nullable=False),
        sa.Column("num_requests", sa.BigInteger(), nullable=False),
        sa.Column("used_at", UTC_TIME, nullable=True),
        sa.Column("used_lease", sa.Double(), nullable=False),
        sa.Column("heard_lease", sa.Double(), nullable=False),
        sa.Column("created_at", UTC_TIME, nullable=False),
        sa.Column("changed_at", UTC_TIME, nullable=False),
        sa.Column("deleted_at", UTC_TIME, nullable=True),
        sa.CheckConstraint(
            "status IN ('stopped', 'starting', 'ready', 'failed')",
            name=op.f("ck_deployments_status"),
        ),
        sa.ForeignKeyConstraint(["adapter_id"], ["models.id"], name="fk_deployments_adapter_id"),
        sa.ForeignKeyConstraint(["model_id"], ["models.id"], name="fk_deployments_model_id"),
        sa.ForeignKeyConstraint(["project_id"], ["projects.id"], name="fk_deployments_project_id"),
        sa.ForeignKeyConstraint(
            ["serving_id"], ["servings.id"], name="fk_deployments_serving_id", ondelete="SET NULL"
        ),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name="fk_deployments_user_id"),
        sa.PrimaryKeyConstraint("id", name="pk_deployments"),
    )
    op.create_index("ix_deployments_model_id", "deployments", ["model_id"], unique=False)
    op.create_index(
        "ix_deployments_project_id_id", "deployments", ["project_id", "id"], unique=False
    )
    op.create_index("ix_deployments_serving_id", "deployments", ["serving_id"], unique=False)
    op.create_index("ix_deployments_user_id", "deployments", ["user_id"], unique=False)
    op.create_index(
        "uq_deployments_name",
        "deployments",
        ["project_id", "name"],
        unique=True,
        sqlite_where=sa.text("deleted_at IS NULL"),
        postgresql_where=sa.text("deleted_at IS NULL"),
    )


def _asked_requests() -> None:
    op.create_table(
        "asked_requests",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("deployment_id", sa.Text(), nullable=False),
        sa.Column("user_id", sa.Text(), nullable=False),
        sa.Column("time", UTC_TIME, nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("status_code", sa.BigInteger(), nullable=False),
        sa.Column("finish_reason", sa.Text(), nullable=False),
        sa.Column("prompt_tokens", sa.BigInteger(), nullable=False),
        sa.Column("completion_tokens", sa.BigInteger(), nullable=False),
        sa.Column("seconds", sa.Double(), nullable=False),
        sa.Column("first_token_seconds", sa.Double(), nullable=True),
        sa.Column("question", JSON, nullable=True),
        sa.Column("answer", sa.Text(), nullable=True),
        sa.ForeignKeyConstraint(
            ["deployment_id"],
            ["deployments.id"],
            name="fk_asked_requests_deployment_id",
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name="fk_asked_requests_user_id"),
        sa.PrimaryKeyConstraint("id", name="pk_asked_requests"),
    )
    op.create_index(
        "ix_asked_requests_deployment_id_id",
        "asked_requests",
        ["deployment_id", "id"],
        unique=False,
    )
    op.create_index("ix_asked_requests_time", "asked_requests", ["time"], unique=False)


def _evaluations() -> None:
    op.create_table(
        "evaluations",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("project_id", sa.Text(), nullable=False),
        sa.Column("user_id", sa.Text(), nullable=False),
        sa.Column("task_id", sa.Text(), nullable=False),
        sa.Column("model_id", sa.Text(), nullable=True),
        sa.Column("model", sa.Text(), nullable=False),
        sa.Column("base", sa.Text(), nullable=False),
        sa.Column("job_id", sa.Text(), nullable=True),
        sa.Column("dataset_version_id", sa.Text(), nullable=True),
        sa.Column("data", sa.Text(), nullable=False),
        sa.Column("verdict", sa.Text(), nullable=True),
        sa.Column("summary", JSON, nullable=False),
        sa.Column("created_at", UTC_TIME, nullable=False),
        sa.Column("finished_at", UTC_TIME, nullable=True),
        sa.Column("deleted_at", UTC_TIME, nullable=True),
        sa.CheckConstraint(
            "verdict IN ('promote', 'hold', 'reject')", name=op.f("ck_evaluations_verdict")
        ),
        sa.ForeignKeyConstraint(
            ["dataset_version_id"],
            ["dataset_versions.id"],
            name="fk_evaluations_dataset_version_id",
        ),
        sa.ForeignKeyConstraint(["job_id"], ["jobs.id"], name="fk_evaluations_job_id"),
        sa.ForeignKeyConstraint(["model_id"], ["models.id"], name="fk_evaluations_model_id"),
        sa.ForeignKeyConstraint(["project_id"], ["projects.id"], name="fk_evaluations_project_id"),
        sa.ForeignKeyConstraint(["task_id"], ["tasks.id"], name="fk_evaluations_task_id"),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name="fk_evaluations_user_id"),
        sa.PrimaryKeyConstraint("id", name="pk_evaluations"),
    )
    for columns in (
        ["dataset_version_id"], ["job_id"], ["model_id", "id"], ["project_id", "id"], ["task_id"],
        ["user_id"],
    ):  # fmt: skip
        name = f"ix_evaluations_{'_'.join(columns)}"
        op.create_index(name, "evaluations", columns, unique=False)
