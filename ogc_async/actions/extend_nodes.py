"""A node's end, put off: on record first, then in its machine, then with its cloud."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from ogc_async.actions.claims import Claim, claiming
from ogc_async.actions.context import AT_ONCE, PLACES_AT_ONCE, Context, Terms, failure, not_running
from ogc_async.actions.fleet import Fleet
from ogc_async.actions.record import Record
from ogc_async.aio.finish import finish
from ogc_async.aio.gather import gather_all
from ogc_async.db.moves import move_ends
from ogc_async.db.nodes import get_nodes
from ogc_async.deploy.run import Limits, run_steps
from ogc_async.deploy.steps import Step
from ogc_async.errors import (
    CannotExtend,
    ClaimLost,
    ConnectionLost,
    OgcError,
    OutcomeUnknown,
    ProviderError,
    RemoteError,
    SettingsError,
    StepTimeout,
    WrongAccount,
)
from ogc_async.events import NodeFinished
from ogc_async.plan import Place, by_place
from ogc_async.plan.extension import extended
from ogc_async.providers.base import MovesEnds
from ogc_async.ssh.connection import Session
from ogc_async.types import ExtendResult, Instance, InstanceState, NodeSnapshot, NodeState, StepResult, StepState
from ogc_async.types.span import lasting

COMMAND_TIMEOUT_S = 60.0
"""It writes a file and starts a timer anew."""
SHORTEST = timedelta(seconds=1)


async def extend_nodes(
    node_ids: Sequence[int], by: timedelta, context: Context, terms: Terms = AT_ONCE
) -> ExtendResult:
    """Put off the ends of nodes: the ids of those whose rows, machines and clouds agree on the new end."""
    if by < SHORTEST:
        raise SettingsError(f"by: {by} puts no end off; give a time of a second or more, such as 2h")
    async with claiming(context, "extend", terms) as claim:
        await claim.take(node_ids, terms)
        nodes = await get_nodes(context.engine, node_ids)
        busy = await claim.busy(nodes)
        async with Record(context, "extend", claim.hold, nodes=len(nodes)) as record:
            run = _Extension(context, claim, record, Fleet(context, record), asyncio.get_running_loop().time())
            run.failures.update(busy)
            await run.decide([node for node in nodes if node.id not in busy], by)
            await run.extend([node for node in nodes if node.id in run.ends])
    done = [node.id for node in nodes if node.id not in run.failures]
    return ExtendResult(
        done,
        [failure(node, run.failures[node.id]) for node in nodes if node.id in run.failures],
        await get_nodes(context.engine, done),
    )


@dataclass(slots=True)
class _Extension:
    """One call of ``extend``: the new ends, by node id, and why other nodes have none.

    ``asked`` are nodes whose machines or clouds may have heard of it; of those in ``unknown`` that is not certain.
    """

    context: Context
    claim: Claim
    record: Record
    fleet: Fleet
    began: float
    ends: dict[int, datetime] = field(default_factory=dict)
    failures: dict[int, OgcError] = field(default_factory=dict)
    asked: set[int] = field(default_factory=set)
    unknown: set[int] = field(default_factory=set)

    async def decide(self, nodes: Sequence[NodeSnapshot], by: timedelta) -> None:
        """Find the nodes whose ends can be put off, and until when."""
        obstacles = await gather_all(self._obstacles, by_place(nodes).items(), limit=PLACES_AT_ONCE)
        self.failures.update({node_id: error for part in obstacles for node_id, error in part.items()})
        for node in nodes:
            if node.id not in self.failures:
                try:
                    self.ends[node.id] = extended(node, by, self._now(node))
                except CannotExtend as error:
                    self.failures[node.id] = error

    async def extend(self, nodes: Sequence[NodeSnapshot]) -> None:
        """Move the rows' ends, then the machines'; a row whose machine or cloud refused gets its old end back.

        On record no end is earlier than the machine's own: a `sync` of that moment would end it before its time.
        """
        written = await move_ends(self.context.engine, self.ends, self.claim.hold)
        self.failures.update({node.id: ClaimLost(node.name) for node in nodes if node.id not in written})
        ours = [node for node in nodes if node.id in written]
        still = [node for node in ours if node.state is NodeState.STOPPED]
        try:
            await gather_all(self._extend_still, still, limit=self.context.settings.ogc_max_api_calls)
            results = await self.fleet.each([node for node in ours if node not in still], self._extend)
        except asyncio.CancelledError:
            untouched = [node for node in ours if node.id not in self.asked]
            await finish(self._put_back(untouched), grace_s=self.context.settings.ogc_cancel_s)
            raise
        self.failures.update({each.node_id: each.error for each in results if each.error is not None})
        await self._put_back(node for node in ours if node.id in self.failures and node.id not in self.unknown)

    async def _obstacles(self, place: tuple[Place, Sequence[NodeSnapshot]]) -> dict[int, OgcError]:
        """Why ends of nodes of one place cannot be put off, by node id, as far as rows and cloud tell."""
        (name, region), nodes = place
        try:
            provider = self.context.providers.get(name, region)
            mover = self.context.providers.unshared(name, region)
            account = await provider.account()
            over = [str(node.instance_id) for node in nodes if node.is_over(self._now(node))]
            seen = await provider.look_up(over) if over else {}
        except OgcError as error:
            return {node.id: error for node in nodes}
        found = {node.id: _obstacle(node, mover, account, seen, self._now(node)) for node in nodes}
        return {node_id: error for node_id, error in found.items() if error is not None}

    async def _extend(self, node: NodeSnapshot) -> tuple[StepResult, ...]:
        """Tell the machine, if it keeps its end by itself, and then the cloud."""
        provider = self.context.providers.unshared(node.provider, node.region)
        assert isinstance(provider, MovesEnds)  # noqa: S101  # nodes of others were set aside
        ends_at = self.ends[node.id]
        if not provider.end_command(self._seconds_until(node, ends_at)):
            return await self._tell_cloud(node, provider, ends_at)
        async with self.fleet.session(node) as session:
            steps = await self._tell_machine(node, session, provider, ends_at)
            try:
                await self._tell_cloud(node, provider, ends_at)
            except ProviderError:
                if node.id not in self.unknown and node.ends_at is not None and not node.is_over(self._now(node)):
                    await self._tell_machine(node, session, provider, node.ends_at)
                raise
        return steps

    async def _extend_still(self, node: NodeSnapshot) -> None:
        """Tell the cloud of a machine that stands still, and keeps no end by itself."""
        provider = self.context.providers.unshared(node.provider, node.region)
        assert isinstance(provider, MovesEnds)  # noqa: S101  # nodes of others were set aside
        try:
            await self._tell_cloud(node, provider, self.ends[node.id])
        except OgcError as error:
            self.failures[node.id] = error
        self.context.events.publish(NodeFinished(node.id, node.name, node.layout, node.id not in self.failures, None))

    async def _tell_cloud(self, node: NodeSnapshot, provider: MovesEnds, ends_at: datetime) -> tuple[StepResult, ...]:
        self.asked.add(node.id)
        try:
            await provider.move_end(str(node.instance_id), ends_at)
        except ProviderError as error:
            if error.retryable or isinstance(error, OutcomeUnknown):
                self.unknown.add(node.id)
            raise
        return ()

    async def _tell_machine(
        self, node: NodeSnapshot, session: Session, provider: MovesEnds, ends_at: datetime
    ) -> tuple[StepResult, ...]:
        await self.record.check_held(node)
        self.asked.add(node.id)
        command = session.shell.line(provider.end_command(self._seconds_until(node, ends_at)))
        step = Step(f"end at {ends_at:%Y-%m-%d %H:%M:%S} UTC", command, hashlib.sha256(command.encode()).hexdigest())
        limits = Limits(timeout_s=COMMAND_TIMEOUT_S, output_limit=self.context.settings.ogc_output_limit)
        try:
            (result,) = await run_steps(session, [step], env={}, limits=limits, recorder=self.record.of(node))
        except ConnectionLost:
            self.unknown.add(node.id)
            raise
        if result.state is StepState.TIMED_OUT:
            self.unknown.add(node.id)
            raise StepTimeout(node.name, f"its machine did not say within {COMMAND_TIMEOUT_S:g} s that it took its end")
        if not result.ok:
            said = result.text.strip() or f"exit code {result.exit_code}"
            raise RemoteError(node.name, f"its machine refused the new end, and keeps its old one: {said}")
        return (result,)

    async def _put_back(self, nodes: Iterable[NodeSnapshot]) -> None:
        before = {node.id: node.ends_at for node in nodes if node.ends_at is not None}
        if before:
            await move_ends(self.context.engine, before, self.claim.hold)

    def _now(self, node: NodeSnapshot) -> datetime:
        """By the database's clock, as all times on record."""
        since_s = asyncio.get_running_loop().time() - self.began
        return (node.read_at or datetime.now(UTC)) + timedelta(seconds=since_s)

    def _seconds_until(self, node: NodeSnapshot, ends_at: datetime) -> int:
        return max(int((ends_at - self._now(node)).total_seconds()), 1)


def _obstacle(
    node: NodeSnapshot,
    mover: object,
    account: str | None,
    seen: Mapping[str, Instance | ProviderError],
    now: datetime,
) -> OgcError | None:
    # Where the cloud alone keeps ends, a machine need not run to be told of its own.
    is_told = isinstance(mover, MovesEnds) and node.state is NodeState.STOPPED and not mover.end_command(1)
    if node.state is not NodeState.RUNNING and not is_told:
        return not_running(node)
    if node.is_foreign_to(account):
        return WrongAccount(node.provider, str(node.account), str(account), [node.name])
    if not isinstance(mover, MovesEnds):
        return CannotExtend(node.name, f"the ends of {node.provider} machines cannot be put off; launch another node")
    answer = seen.get(str(node.instance_id))
    if isinstance(answer, ProviderError):
        return answer
    if answer is not None and answer.state in (InstanceState.TERMINATED, InstanceState.TERMINATING):
        over = lasting(now - node.ends_at) if node.ends_at is not None else "a while"
        return CannotExtend(
            node.name, f"its time was over {over} ago, and its machine has ended; `ogc sync` puts that on record"
        )
    return None
