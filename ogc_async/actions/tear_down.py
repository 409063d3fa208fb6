"""From nodes to nothing: artifacts, teardown script, machine, confirmation, row; then firewall and key pair."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

import anyio

from ogc_async.actions.claims import Claim, claiming
from ogc_async.actions.context import ARTIFACTS, AT_ONCE, Context, Terms, failure, is_served
from ogc_async.actions.fleet import Fleet
from ogc_async.actions.folders import node_folder
from ogc_async.actions.record import Record
from ogc_async.actions.scripting import Scripting
from ogc_async.actions.transitions import Ledger, move
from ogc_async.actions.watch import Verdict, describe_request, watching
from ogc_async.aio.gather import gather_all
from ogc_async.db.moves import find_held, record_instances
from ogc_async.db.nodes import FORGOTTEN, find_emptied, find_nodes, get_nodes
from ogc_async.errors import (
    ClaimLost,
    OgcError,
    OutcomeUnknown,
    ProviderError,
    RemoteError,
    ResourceInUse,
    StaleNode,
    WrongAccount,
)
from ogc_async.plan import by_place, farewell, find_instances, is_overdue, is_time_over, judge, way_out
from ogc_async.providers.base import Provider
from ogc_async.ssh.connection import Session
from ogc_async.types import (
    LIVE,
    End,
    EndedBy,
    Instance,
    InstanceState,
    NodeFailure,
    NodeSnapshot,
    NodeState,
    StepResult,
    TeardownResult,
)

Firewall = tuple[str, str, str]
"""Provider, region and layout: what has a firewall of its own."""

LATELY = timedelta(days=1)
ENDED = frozenset({InstanceState.TERMINATING, InstanceState.TERMINATED})
RELEASE_TRIES = 8
"""A firewall is free a little after its last machine is gone: tries of 0.5 s, doubled up to 8 s, are 40 s in all."""


async def tear_down_nodes(
    node_ids: Sequence[int],
    context: Context,
    *,
    force: bool,
    only_db: bool,
    claim: Claim | None = None,
    terms: Terms = AT_ONCE,
    overdue: Collection[int] = (),
) -> TeardownResult:
    """End every node: the ids that are gone, and why the others are not. A node that is gone already is done.

    ``claim`` is the caller's own; ``terms`` say what becomes of nodes that another process works on. Of ``overdue``
    nodes the caller has found that their time is over.
    """
    if claim is None:
        async with claiming(context, "teardown", terms) as own:
            return await tear_down_nodes(
                node_ids, context, force=force, only_db=only_db, claim=own, terms=terms, overdue=overdue
            )
    held = await claim.take(node_ids, terms)
    asked = await get_nodes(context.engine, node_ids)
    run = _Teardown(context, claim, overdue)
    busy = await claim.busy(asked)
    run.failures.update({node.id: failure(node, busy[node.id]) for node in asked if node.id in busy})
    nodes = [node for node in asked if node.id in held]
    if only_db:
        await run.forget(nodes)
        return run.result(asked)
    nodes = await run.set_foreign_aside(nodes)
    may_go = nodes if force else await run.say_goodbye(nodes)
    live = [node for node in may_go if _may_have_machine(node)]
    run.gone.update(node.id for node in may_go if not _may_have_machine(node))
    async with anyio.create_task_group() as group:
        for members in by_place(live).values():
            group.start_soon(run.end, members)
    run.leftovers += await release_layouts({_firewall_of(node) for node in nodes if node.id in run.gone}, context)
    return run.result(asked)


async def release_emptied(context: Context) -> list[OgcError]:
    """The same for all layouts that were emptied lately: whoever did that may not have come to it."""
    since = datetime.now(UTC) - LATELY
    emptied = {each for each in await find_emptied(context.engine, since) if is_served(each[:2], context)}
    return await release_layouts(emptied, context)


async def release_layouts(
    layouts: Collection[Firewall], context: Context, *, tries: int = RELEASE_TRIES
) -> list[OgcError]:
    """Remove firewalls and key pairs of these layouts, where no node of theirs is live; what could not be removed.

    What is in use is tried again, ``tries`` times in all.
    """
    if not layouts:
        return []
    in_use = {_firewall_of(node) for node in await find_nodes(context.engine, states=LIVE)}
    unused = sorted(set(layouts) - in_use)
    leftovers: list[OgcError] = []

    async def release(firewall: Firewall) -> None:
        if (error := await _release(firewall, context, tries)) is not None:
            leftovers.append(error)

    async with anyio.create_task_group() as group:
        for each in unused:
            group.start_soon(release, each)
    return leftovers


@dataclass(slots=True)
class _Teardown:
    """One call of ``teardown``: who is gone, who is not and why."""

    context: Context
    claim: Claim
    overdue: Collection[int] = ()
    gone: set[int] = field(default_factory=set)
    failures: dict[int, NodeFailure] = field(default_factory=dict)
    leftovers: list[OgcError] = field(default_factory=list)
    ends: dict[int, End] = field(default_factory=dict)
    """Of machines that had ended before, by node id."""

    def result(self, nodes: Iterable[NodeSnapshot]) -> TeardownResult:
        """The answer, in the order asked."""
        nodes = list(nodes)
        return TeardownResult(
            [node.id for node in nodes if node.id in self.gone],
            [self.failures[node.id] for node in nodes if node.id in self.failures],
            self.leftovers,
        )

    async def forget(self, nodes: Sequence[NodeSnapshot]) -> None:
        """Mark the rows only; the machines, if any, are somebody else's business from now on."""
        came_from = frozenset(NodeState) - {NodeState.TERMINATED}
        live = [node for node in nodes if node.state is not NodeState.TERMINATED]
        moved = await move(self._ledger(), live, NodeState.TERMINATED, came_from=came_from, reason=FORGOTTEN)
        lost = self._set_lost_aside(live, moved)
        self.gone.update(node.id for node in nodes if node not in lost)

    async def set_foreign_aside(self, nodes: Sequence[NodeSnapshot]) -> list[NodeSnapshot]:
        """Nodes of other accounts than the credentials' are left as they are, scripts and all."""
        ours: set[int] = set()
        places = list(by_place(nodes).values())
        accounts = await gather_all(lambda members: self._account(members[0]), places, limit=len(places) or 1)
        for members, account in zip(places, accounts, strict=True):
            for node in members:
                if node.is_foreign_to(account):
                    error = WrongAccount(node.provider, str(node.account), str(account), [node.name])
                    self.failures[node.id] = failure(node, error)
                else:
                    ours.add(node.id)
        return [node for node in nodes if node.id in ours]

    async def _account(self, node: NodeSnapshot) -> str | None:
        try:
            return await self.context.provider_of(node).account()
        except OgcError:
            # Without credentials nothing is asked of any cloud: what needs them says so.
            return None

    async def say_goodbye(self, nodes: Sequence[NodeSnapshot]) -> list[NodeSnapshot]:
        """Fetch artifacts and run teardown scripts where there are any; returns the nodes that may go."""
        async with Record(self.context, "teardown", self.claim.hold, nodes=len(nodes)) as record:
            fleet = Fleet(self.context, record)
            scripting = Scripting(self.context, fleet, record)
            running = [node for node in nodes if node.state is NodeState.RUNNING]
            due = await self._standing([node for node in running if self._has_goodbye(scripting, node)])
            await scripting.see_everyone(scripting.folders_of(due))

            async def work(node: NodeSnapshot, session: Session) -> tuple[StepResult, ...]:
                return await scripting.say_goodbye(node, session, node_folder(ARTIFACTS, node))

            results = await fleet.run(due, work, check=lambda node: node_folder(ARTIFACTS, node))
        for node, result in zip(due, results, strict=True):
            if not result:
                self.failures[node.id] = failure(node, result.error or _script_failed(node, result.steps))
        return [node for node in nodes if node.id not in self.failures]

    def _has_goodbye(self, scripting: Scripting, node: NodeSnapshot) -> bool:
        """A folder that can not be read any more keeps its own nodes, and no others."""
        try:
            return scripting.has_goodbye(node)
        except OgcError as error:
            self.failures[node.id] = failure(node, error)
            return False

    async def _standing(self, nodes: Sequence[NodeSnapshot]) -> list[NodeSnapshot]:
        """The nodes whose machines have not ended, and are not about to: no script runs on others any more."""
        standing: list[NodeSnapshot] = []
        for members in by_place(nodes).values():
            request = describe_request(members, owner=self.context.user.slug, scope=self.context.user.scope)
            try:
                seen = find_instances(members, await self.context.provider_of(members[0]).describe(request))
            except OgcError as error:
                self.failures.update({node.id: failure(node, error) for node in members})
                continue
            over = {node.id for node in members if is_time_over(node, _read_at(node), seen.get(node.id))}
            ended = over | {node_id for node_id, instance in seen.items() if instance.state in ENDED}
            ended |= await self._gone_of([node for node in members if node.id not in seen])
            standing += [node for node in members if node.id not in ended]
        return standing

    async def _gone_of(self, nodes: Sequence[NodeSnapshot]) -> set[int]:
        """Of nodes whose machines are not shown: those whose machines, asked for one by one, do not exist."""
        by_instance = {node.instance_id: node.id for node in nodes if node.instance_id}
        if not by_instance:
            return set()
        try:
            answers = await self.context.provider_of(nodes[0]).look_up(list(by_instance))
        except OgcError:
            # An SSH session tells as well whether it is there.
            return set()
        return {by_instance[key] for key, each in answers.items() if isinstance(each, Instance) and each.state in ENDED}

    async def end(self, nodes: Sequence[NodeSnapshot]) -> None:
        """End one provider's machines, and wait until the cloud says that each is gone."""
        try:
            provider = self.context.provider_of(nodes[0])
            nodes = self._set_doubtful_aside(await self._find_machines(provider, nodes))
            waiting = await self._terminate(provider, await self._begin_end(nodes))
            await self._confirm(provider, waiting)
        except OgcError as error:
            for node in nodes:
                if node.id not in self.gone:
                    self.failures.setdefault(node.id, failure(node, error))

    async def _find_machines(self, provider: Provider, nodes: Sequence[NodeSnapshot]) -> list[NodeSnapshot]:
        """What rows do not say of their machines, the cloud does.

        A launch whose reply was lost left rows without an instance id: their tokens find the machines. A release
        before this one did not note whose the machines are: those that are shown are of the account that shows them.
        """
        unsure = [
            node
            for node in nodes
            if node.state is not NodeState.PLANNED and (node.instance_id is None or node.account is None)
        ]
        request = describe_request(unsure, owner=self.context.user.slug, scope=self.context.user.scope)
        try:
            found = find_instances(unsure, await provider.describe(request)) if unsure else {}
        except ProviderError as error:
            # Whoever may not look may still end what is known by its id.
            unheard = {node.id for node in unsure if node.instance_id is None}
            self.failures.update({node.id: failure(node, error) for node in unsure if node.id in unheard})
            return [node for node in nodes if node.id not in unheard]
        if found:
            await record_instances(self.context.engine, found, self.claim.hold)
        known = [_with_machine(node, found[node.id]) if node.id in found else node for node in nodes]
        shown_to = await provider.account()
        return self._set_unknown_aside(known, {node.id for node in unsure} - found.keys(), shown_to)

    def _set_unknown_aside(
        self, nodes: Sequence[NodeSnapshot], not_shown: Collection[int], account: str | None
    ) -> list[NodeSnapshot]:
        """Where nobody can say whose a machine is, not to be shown one means nothing: the node stays as it is."""
        unknown = [node for node in nodes if node.id in not_shown and not _can_be_judged(node, account)]
        lost = {node.id for node in unknown if node.state is NodeState.LOST}
        self.gone |= lost
        self.failures.update(
            {node.id: failure(node, _unknown(node, account)) for node in unknown if node.id not in lost}
        )
        return [node for node in nodes if node not in unknown]

    async def _terminate(self, provider: Provider, nodes: Sequence[NodeSnapshot]) -> list[NodeSnapshot]:
        """Begin to end the machines; returns the nodes whose end is still to be confirmed."""
        by_instance = {node.instance_id: node for node in nodes if node.instance_id}
        await self._mark_gone([node for node in nodes if node.instance_id is None])
        if not by_instance:
            return []
        answers = await provider.terminate(list(by_instance))
        account = await provider.account()
        ended: list[NodeSnapshot] = []
        waiting: list[NodeSnapshot] = []
        for instance_id, answer in answers.items():
            node = by_instance[instance_id]
            if isinstance(answer, ProviderError):
                self.failures[node.id] = failure(node, answer)
            elif answer.state is not InstanceState.TERMINATED:
                waiting.append(node)
            elif not node.is_of(account):
                self.failures[node.id] = failure(node, _unknown(node, account))
            elif not answer.is_known and node.running_at is None and self._is_young(node):
                self.failures[node.id] = failure(node, self._too_young(node))
            else:
                ended.append(node)
                self.ends[node.id] = judge(node, answer, _read_at(node))
        await self._mark_gone(ended)
        return waiting

    async def _begin_end(self, nodes: Sequence[NodeSnapshot]) -> list[NodeSnapshot]:
        """Mark the nodes whose machines are to be ended: those that are still ours."""
        begun = {node.id for node in nodes if node.state is NodeState.TERMINATING}
        moved = await move(
            self._ledger(),
            [node for node in nodes if node.id not in begun],
            NodeState.TERMINATING,
            came_from=LIVE - {NodeState.TERMINATING} | {NodeState.LOST},
        )
        ours = {node.id for node in moved}
        if begun:
            ours |= await find_held(self.context.engine, begun, self.claim.hold)
        self._set_lost_aside(nodes, [node for node in nodes if node.id in ours])
        return [node for node in nodes if node.id in ours]

    def _set_lost_aside(self, nodes: Sequence[NodeSnapshot], ours: Iterable[NodeSnapshot]) -> list[NodeSnapshot]:
        """Nodes that another process has taken over meanwhile are its own from now on."""
        ids = {node.id for node in ours}
        lost = [node for node in nodes if node.id not in ids]
        for node in lost:
            self.failures[node.id] = failure(node, ClaimLost(node.name))
        return lost

    def _set_doubtful_aside(self, nodes: Sequence[NodeSnapshot]) -> list[NodeSnapshot]:
        """Nodes without a machine whose launch call is too young to be sure of that stay as they are."""
        begun = (NodeState.LAUNCHING, NodeState.TERMINATING)
        doubtful = [node for node in nodes if node.instance_id is None and node.state in begun and self._is_young(node)]
        for node in doubtful:
            self.failures[node.id] = failure(node, self._too_young(node))
        return [node for node in nodes if node not in doubtful]

    def _is_young(self, node: NodeSnapshot) -> bool:
        """A launch call may have been sent so shortly before it was read that its machine is not visible yet."""
        settle = timedelta(seconds=self.context.settings.ogc_settle_s)
        heard_of = [each for each in (node.updated_at, self.claim.outlived.get(node.id)) if each is not None]
        return node.read_at is not None and any(each > node.read_at - settle for each in heard_of)

    def _too_young(self, node: NodeSnapshot) -> StaleNode:
        settle_s = self.context.settings.ogc_settle_s
        return StaleNode(
            f"{node.name}: its launch call is too recent to rule a machine out; try again in {settle_s:g} s"
        )

    async def _confirm(self, provider: Provider, nodes: Sequence[NodeSnapshot]) -> None:
        if not nodes:
            return
        by_id = {node.id: node for node in nodes}

        async def settle(ended: Mapping[int, Instance]) -> None:
            await self._mark_gone([by_id[node_id] for node_id in ended])

        verdicts: dict[int, Instance | OgcError] = {}

        async def wait(members: Sequence[NodeSnapshot], timeout_s: float) -> None:
            verdicts.update(await watch.wait(members, timeout_s))

        async with (
            watching(self.context, provider, judge=judge_end, settle=settle) as watch,
            anyio.create_task_group() as waiting,
        ):
            for timeout_s, members in self._by_patience(nodes).items():
                waiting.start_soon(wait, members, timeout_s)
        for node_id, verdict in verdicts.items():
            if isinstance(verdict, OgcError):
                self.failures[node_id] = failure(by_id[node_id], verdict)

    def _by_patience(self, nodes: Iterable[NodeSnapshot]) -> dict[float, list[NodeSnapshot]]:
        """How long to wait for a machine's end: as its layout says, or the settings."""
        groups: dict[float, list[NodeSnapshot]] = {}
        for node in nodes:
            own = (node.spec.get("timeouts") or {}).get("terminate")
            groups.setdefault(own or self.context.settings.ogc_terminate_timeout_s, []).append(node)
        return groups

    async def _mark_gone(self, nodes: Sequence[NodeSnapshot]) -> None:
        alike: dict[tuple[EndedBy, str | None], list[NodeSnapshot]] = {}
        for node in nodes:
            alike.setdefault(self._end_of(node), []).append(node)
        moved = [
            node
            for (by, reason), members in alike.items()
            for node in await move(
                self._ledger(), members, NodeState.TERMINATED, came_from=LIVE, reason=reason, end=End(by)
            )
        ]
        lost = self._set_lost_aside(nodes, moved)
        self.gone.update(node.id for node in nodes if node not in lost)

    def _end_of(self, node: NodeSnapshot) -> tuple[EndedBy, str | None]:
        """What is on record of a machine's end, and why: after its time a teardown does what that was to do."""
        had_ended = self.ends.get(node.id)
        by_ttl = had_ended is not None and had_ended.by is EndedBy.TTL
        is_over = by_ttl or node.id in self.overdue or is_overdue(node, _read_at(node))
        return (EndedBy.TTL, farewell(node)) if is_over else (EndedBy.US, None)

    def _ledger(self) -> Ledger:
        return Ledger.of(self.context, self.claim.hold)


async def _release(firewall: Firewall, context: Context, tries: int) -> OgcError | None:
    provider_name, region, layout = firewall
    for attempt in range(tries):
        try:
            provider = context.providers.get(provider_name, region)
            await provider.release(layout, owner=context.user.slug, scope=context.user.scope)
        except ResourceInUse as error:
            if attempt == tries - 1:
                return error
            await anyio.sleep(min(0.5 * 2**attempt, 8))
        except OgcError as error:
            return error
        else:
            return None
    return None


def judge_end(_node: NodeSnapshot, seen: Instance | None) -> Verdict:
    """Only the cloud's own "terminated" ends the wait; not being shown may be a machine too young to be seen.

    One that stands although it was to end, for a reason that the cloud tells, is waited for no longer.
    """
    if seen is None or seen.state is InstanceState.TERMINATED:
        return seen
    return seen.error


def _may_have_machine(node: NodeSnapshot) -> bool:
    """A node that was marked lost may have been so wrongly."""
    return node.state in LIVE or (node.state is NodeState.LOST and node.instance_id is not None)


def _can_be_judged(node: NodeSnapshot, account: str | None) -> bool:
    """That account's word on the node's machine counts, or its machine answers for it.

    Where it is not known who asks, a machine with an id is asked to end all the same: ids are one account's own.
    """
    return node.is_of(account) or (account is None and node.instance_id is not None)


def _unknown(node: NodeSnapshot, account: str | None) -> OutcomeUnknown:
    whose = f"account {account}" if account else "the account of these credentials, which could not be learned,"
    return OutcomeUnknown(
        f"{node.name}: {whose} does not show its machine, and whether it was launched there is not on record, so that "
        f"means nothing; {way_out(node)}",
        provider=node.provider,
        operation="terminate",
    )


def _read_at(node: NodeSnapshot) -> datetime:
    return node.read_at or datetime.now(UTC)


def _with_machine(node: NodeSnapshot, machine: Instance) -> NodeSnapshot:
    return replace(node, instance_id=machine.id, account=node.account or machine.account or None)


def _firewall_of(node: NodeSnapshot) -> Firewall:
    return node.provider, node.region, node.layout


def _script_failed(node: NodeSnapshot, steps: Sequence[StepResult]) -> OgcError:
    bad = next(step for step in steps if not step.ok)
    how = f"{bad.state} with exit code {bad.exit_code}" if bad.exit_code is not None else bad.state
    return RemoteError(node.name, f"{bad.script}: {how}; mend it, or remove the node by force")
