"""The tables: users, nodes with actions (recorded steps) and milestones, workers, and levels of clouds' limits."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

from sqlalchemy import (
    JSON,
    BigInteger,
    DateTime,
    Dialect,
    Double,
    ForeignKey,
    LargeBinary,
    MetaData,
    String,
    Text,
    TypeDecorator,
)
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship

from ogc_async.types import NodeState, StepState

PortableJson = JSON().with_variant(JSONB(), "postgresql")


class Moment(TypeDecorator[datetime]):
    """A point in time, aware and in UTC on every database; SQLite has no time zones, so it is kept naive there."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Refuse what is naive: nobody could say later what it meant."""
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError(f"a time without a time zone: {value!r}")
        value = value.astimezone(UTC)
        return value.replace(tzinfo=None) if dialect.name == "sqlite" else value

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Give back UTC."""
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


def now() -> datetime:
    """This moment, in UTC."""
    return datetime.now(UTC)


class Base(DeclarativeBase):
    """All tables of this package."""

    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_name)s",
            "uq": "uq_%(table_name)s_%(column_0_name)s",
            "ck": "ck_%(table_name)s_%(constraint_name)s",
            "fk": "fk_%(table_name)s_%(column_0_name)s_%(referred_table_name)s",
            "pk": "pk_%(table_name)s",
        }
    )


class User(Base):
    """The one whose tag the machines carry. ``scope`` tells this record's machines from another database's."""

    __tablename__ = "users"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(200))
    slug: Mapped[str] = mapped_column(String(200), unique=True)
    scope: Mapped[str] = mapped_column(String(32), unique=True, default=lambda: uuid4().hex)
    created_at: Mapped[datetime] = mapped_column(Moment, default=now)

    nodes: Mapped[list[Node]] = relationship(back_populates="user", passive_deletes=True)

    def __repr__(self) -> str:
        return f"<User {self.slug}>"


class Node(Base):
    """A machine as this database knows it, from before its launch until after its end.

    States are plain strings: a database's own enum would need a migration, of another kind on each database, for
    every new state, and the one function that writes them takes no other.
    """

    __tablename__ = "nodes"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(63), unique=True)
    user_id: Mapped[int] = mapped_column(ForeignKey("users.id"), index=True)
    layout: Mapped[str] = mapped_column(String(63), index=True)
    provider: Mapped[str] = mapped_column(String(32))
    region: Mapped[str] = mapped_column(String(64))
    zone: Mapped[str | None] = mapped_column(String(64))
    state: Mapped[str] = mapped_column(String(16), default=NodeState.PLANNED, index=True)
    reason: Mapped[str | None] = mapped_column(Text)
    token: Mapped[str] = mapped_column(String(64), index=True)
    launch_index: Mapped[int] = mapped_column(default=0)
    instance_id: Mapped[str | None] = mapped_column(String(128), index=True)
    public_ip: Mapped[str | None] = mapped_column(String(45))
    private_ip: Mapped[str | None] = mapped_column(String(45))
    username: Mapped[str] = mapped_column(String(64), default="")
    ssh_port: Mapped[int] = mapped_column(default=22)
    host_key: Mapped[str | None] = mapped_column(Text)
    tags: Mapped[list[str]] = mapped_column(PortableJson, default=list)
    labels: Mapped[dict[str, str]] = mapped_column(PortableJson, default=dict)
    spec: Mapped[dict[str, Any]] = mapped_column(PortableJson, default=dict)
    created_at: Mapped[datetime] = mapped_column(Moment, default=now)
    updated_at: Mapped[datetime] = mapped_column(Moment, default=now, onupdate=now)
    launched_at: Mapped[datetime | None] = mapped_column(Moment)
    running_at: Mapped[datetime | None] = mapped_column(Moment)
    terminated_at: Mapped[datetime | None] = mapped_column(Moment)
    worker: Mapped[str | None] = mapped_column(String(64), index=True)
    lease_until: Mapped[datetime | None] = mapped_column(Moment)
    """What processes of the release before go by: far away while a process of this one holds the node."""
    fence: Mapped[int] = mapped_column(BigInteger, default=0, server_default="0")
    claimed_for: Mapped[str | None] = mapped_column(String(16))
    claimed_at: Mapped[datetime | None] = mapped_column(Moment)
    account: Mapped[str | None] = mapped_column(String(64))
    """The account or project that launched it: only what that one says of its machine is heard."""
    size: Mapped[str | None] = mapped_column(String(64))
    market: Mapped[str | None] = mapped_column(String(16))
    launch_id: Mapped[str | None] = mapped_column(String(32))
    ends_at: Mapped[datetime | None] = mapped_column(Moment)
    ended_at: Mapped[datetime | None] = mapped_column(Moment)
    ended_by: Mapped[str | None] = mapped_column(String(16))

    user: Mapped[User] = relationship(back_populates="nodes")
    actions: Mapped[list[Action]] = relationship(
        back_populates="node", cascade="all, delete-orphan", passive_deletes=True, order_by="Action.id"
    )

    def __repr__(self) -> str:
        return f"<Node {self.id} {self.name} {self.state}>"


class Action(Base):
    """One step on one node: a row at its start, completed at its end."""

    __tablename__ = "actions"

    id: Mapped[int] = mapped_column(primary_key=True)
    node_id: Mapped[int] = mapped_column(ForeignKey("nodes.id", ondelete="CASCADE"), index=True)
    kind: Mapped[str] = mapped_column(String(16))
    script: Mapped[str] = mapped_column(Text)
    sha256: Mapped[str] = mapped_column(String(64), default="")
    state: Mapped[str] = mapped_column(String(16), default=StepState.RUNNING, index=True)
    exit_code: Mapped[int | None]
    signal: Mapped[str | None] = mapped_column(String(32))
    output: Mapped[bytes] = mapped_column(LargeBinary, default=b"")
    output_bytes: Mapped[int] = mapped_column(BigInteger, default=0)
    seconds: Mapped[float | None]
    error: Mapped[str | None] = mapped_column(Text)
    started_at: Mapped[datetime] = mapped_column(Moment, default=now)
    finished_at: Mapped[datetime | None] = mapped_column(Moment)
    lease_until: Mapped[datetime | None] = mapped_column(Moment)
    """As a node's."""
    worker: Mapped[str | None] = mapped_column(String(64))
    fence: Mapped[int | None] = mapped_column(BigInteger)

    node: Mapped[Node] = relationship(back_populates="actions")

    def __repr__(self) -> str:
        return f"<Action {self.id} {self.script} {self.state}>"


class Worker(Base):
    """A process that holds nodes, or one of its event loops: believed to live until ``beat_until``."""

    __tablename__ = "workers"

    id: Mapped[str] = mapped_column(String(64), primary_key=True)
    login: Mapped[str] = mapped_column(String(200))
    host: Mapped[str] = mapped_column(String(255))
    pid: Mapped[int]
    version: Mapped[str] = mapped_column(String(64))
    started_at: Mapped[datetime] = mapped_column(Moment)
    beat_until: Mapped[datetime] = mapped_column(Moment)

    def __repr__(self) -> str:
        return f"<Worker {self.login}@{self.host} {self.pid}>"


class NodeMilestone(Base):
    """A moment of a node's way, from which its timeline is drawn."""

    __tablename__ = "milestones"

    id: Mapped[int] = mapped_column(primary_key=True)
    node_id: Mapped[int] = mapped_column(ForeignKey("nodes.id", ondelete="CASCADE"), index=True)
    run: Mapped[str] = mapped_column(String(32))
    work: Mapped[str] = mapped_column(String(16))
    kind: Mapped[str] = mapped_column(String(16))
    detail: Mapped[str] = mapped_column(Text, default="")
    at: Mapped[datetime] = mapped_column(Moment)

    def __repr__(self) -> str:
        return f"<NodeMilestone {self.node_id} {self.kind}>"


class PaceLevel(Base):
    """Where one request limit of a cloud stands, for every process that uses this database.

    ``tokens`` and ``at`` mean what the limit's rule makes of them; times are seconds since the epoch, by the
    database's clock. ``share`` of the published rate was believed in at ``slowed_at``, when the cloud refused a call.
    Without ``at`` nothing was taken yet.
    """

    __tablename__ = "pace_levels"

    provider: Mapped[str] = mapped_column(String(32), primary_key=True)
    account: Mapped[str] = mapped_column(String(64), primary_key=True)
    region: Mapped[str] = mapped_column(String(64), primary_key=True)
    bucket: Mapped[str] = mapped_column(String(128), primary_key=True)
    tokens: Mapped[float] = mapped_column(Double)
    at: Mapped[float | None] = mapped_column(Double)
    share: Mapped[float] = mapped_column(Double, default=1.0)
    slowed_at: Mapped[float | None] = mapped_column(Double)

    def __repr__(self) -> str:
        return f"<PaceLevel {self.provider} {self.region} {self.bucket}>"
