"""From layouts to running machines: rows first, then few calls, then one poll for all."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import anyio
from anyio.abc import TaskGroup

from ogc_async.actions.context import Context, failure
from ogc_async.actions.lease import Lease
from ogc_async.actions.preflight import Checked, check_layouts
from ogc_async.actions.watch import Verdict, Watch, describe_request
from ogc_async.actions.withdraw import withdraw
from ogc_async.aio.finish import finish
from ogc_async.aio.gather import unwrapped_group
from ogc_async.db.nodes import (
    NodeDraft,
    Renewal,
    move_nodes,
    plan_nodes,
    record_instances,
    record_running,
    renew_tokens,
    set_usernames,
)
from ogc_async.errors import DeadlineExceeded, InstanceDied, NoCapacity, OgcError, ProviderError, StaleNode, Throttled
from ogc_async.plan import Batch, expand, find_instances, launch_request, new_token, next_zone
from ogc_async.providers.base import Provider
from ogc_async.spec import Layout
from ogc_async.types import (
    Instance,
    InstanceState,
    LaunchFailure,
    LaunchRequest,
    LaunchResult,
    NodeFailure,
    NodeSnapshot,
    NodeState,
    Prepared,
)

LayoutLike = Layout | Mapping[str, Any]


async def launch_layouts(layouts: Sequence[Layout], context: Context) -> LaunchResult:
    """Launch every layout at its scale; nothing is created where any layout can not be launched as it is written."""
    checked = check_layouts(layouts, context)
    length_s = context.settings.ogc_lease_s
    result = LaunchResult()
    try:
        async with Lease(context.engine, length_s) as lease:
            result = await _launch_or_withdraw(checked, context, lease)
    except asyncio.CancelledError:
        if result:
            # Cancelled when all was done but the letting go: nobody hears of these nodes' ids any more.
            async with Lease(context.engine, length_s) as again:
                await withdraw(context, again, result)
        raise
    return result


async def _launch_or_withdraw(checked: Sequence[Checked], context: Context, lease: Lease) -> LaunchResult:
    try:
        return await _launch(checked, context, lease)
    except BaseException:
        # Cancelled, interrupted, or wrong: in any case nobody will ever hear of these nodes' ids.
        await withdraw(context, lease)
        raise


async def _launch(checked: Sequence[Checked], context: Context, lease: Lease) -> LaunchResult:
    run = _Launch(context)
    nodes = await finish(run.plan(checked, lease), grace_s=context.settings.ogc_cancel_s)
    with unwrapped_group():
        async with anyio.create_task_group() as watches:
            async with anyio.create_task_group() as work:
                for each in checked:
                    work.start_soon(run.launch_layout, each, work, watches)
            watches.cancel_scope.cancel()
    return LaunchResult(
        [node.id for node in nodes if node.id in run.up],
        [run.failures[node.id] for node in nodes if node.id in run.failures],
    )


@dataclass(slots=True)
class _Launch:
    """One call of ``launch``: who is up, who failed, and the watch of each provider."""

    context: Context
    up: set[int] = field(default_factory=set)
    failures: dict[int, NodeFailure] = field(default_factory=dict)
    _nodes: dict[str, NodeSnapshot] = field(default_factory=dict)
    _batches: dict[str, list[Batch]] = field(default_factory=dict)
    _watches: dict[int, Watch] = field(default_factory=dict)

    async def plan(self, checked: Sequence[Checked], lease: Lease) -> list[NodeSnapshot]:
        """Commit every node's row, with its batch's token, before any cloud hears of it."""
        drafts: list[NodeDraft] = []
        for each in checked:
            batches = expand([each.layout], batch_size=each.provider.max_batch, region=each.region)
            self._batches[each.layout.name] = batches
            drafts += [draft for batch in batches for draft in _drafts(each, batch)]
        claim = (lease.worker, lease.until)
        nodes = await plan_nodes(self.context.engine, self.context.user.id, drafts, claim)
        self._nodes = {node.name: node for node in nodes}
        for node in nodes:
            self.context.tell_moved(node, NodeState.PLANNED)
        return nodes

    async def launch_layout(self, checked: Checked, work: TaskGroup, watches: TaskGroup) -> None:
        """Prepare the layout once, then launch its batches side by side."""
        watch = self._watch_of(checked.provider, watches)
        batches = self._batches[checked.layout.name]
        nodes = [self._nodes[name] for batch in batches for name in batch.names]
        try:
            prepared = await checked.provider.prepare(self._request(checked, batches[0]))
            await set_usernames(self.context.engine, dict.fromkeys((node.id for node in nodes), prepared.username))
        except ProviderError as error:
            await self._fail(nodes, error)
            return
        for batch in batches:
            wave = _Wave(checked, prepared, batch, watch, work)
            work.start_soon(self._launch_wave, wave)

    async def _launch_wave(self, wave: _Wave) -> None:
        nodes = [self._nodes[name] for name in wave.batch.names]
        # Broken off in there, a call might launch machines whose ids nobody has noted.
        landed, refused = await finish(self._begin(wave, nodes), grace_s=self.context.settings.ogc_cancel_s)
        self._go_on_elsewhere(wave, refused)
        if landed:
            await self._await_boot(wave, landed)

    async def _begin(
        self, wave: _Wave, nodes: list[NodeSnapshot]
    ) -> tuple[list[NodeSnapshot], dict[int, ProviderError]]:
        """Note that the cloud is about to be asked, and ask it."""
        moved = await move_nodes(
            self.context.engine, [node.id for node in nodes], to=NodeState.LAUNCHING, came_from={NodeState.PLANNED}
        )
        if len(moved) < len(nodes):
            # The lease has run out, and somebody took the rows over: a launch now would be a second one.
            await self._fail(nodes, StaleNode("the launch's rows were taken over by another process; launch again"))
            return [], {}
        for node in nodes:
            self.context.tell_moved(node, NodeState.LAUNCHING)
        return await self._ask(wave, nodes)

    async def _ask(self, wave: _Wave, nodes: list[NodeSnapshot]) -> tuple[list[NodeSnapshot], dict[int, ProviderError]]:
        """The launch call: nodes with a machine, and why the others have none."""
        try:
            answers = await wave.checked.provider.launch(self._request(wave.checked, wave.batch), wave.prepared)
        except ProviderError as error:
            if _is_certain(error):
                return [], await self._refuse(wave, nodes, dict.fromkeys((node.id for node in nodes), error))
            answers = await self._find_after(error, wave, nodes)
        landed = {node.id: each for node, each in zip(nodes, answers, strict=True) if isinstance(each, Instance)}
        await record_instances(self.context.engine, landed)
        errors = {n.id: each.error for n, each in zip(nodes, answers, strict=True) if isinstance(each, LaunchFailure)}
        refused = await self._refuse(wave, nodes, errors)
        known = [_with_instance(node, landed[node.id]) for node in nodes if node.id in landed]
        self._nodes.update({node.name: node for node in known})
        return known, refused

    async def _find_after(
        self, error: ProviderError, wave: _Wave, nodes: list[NodeSnapshot]
    ) -> list[Instance | LaunchFailure]:
        """The call's outcome is unknown: its token tells which machines it launched after all."""
        request = describe_request(nodes, owner=self.context.user.slug, scope=self.context.user.scope)
        try:
            found = find_instances(nodes, await wave.checked.provider.describe(request))
        except ProviderError:
            found = {}
        return [found.get(node.id) or LaunchFailure(node.name, error) for node in nodes]

    async def _await_boot(self, wave: _Wave, nodes: list[NodeSnapshot]) -> None:
        limit = wave.checked.layout.timeouts.boot or self.context.settings.ogc_boot_timeout_s
        verdicts = await wave.watch.wait(nodes, limit)
        died: dict[int, ProviderError] = {}
        for node in nodes:
            verdict = verdicts[node.id]
            if isinstance(verdict, Instance):
                self.up.add(node.id)
            elif isinstance(verdict, DeadlineExceeded):
                await self._give_back(wave.checked.provider, node, verdict)
            elif isinstance(verdict, ProviderError):
                died[node.id] = verdict
            else:
                self.failures[node.id] = failure(node, verdict)
        self._go_on_elsewhere(wave, await self._refuse(wave, nodes, died))

    async def _refuse(
        self, wave: _Wave, nodes: list[NodeSnapshot], errors: Mapping[int, ProviderError]
    ) -> dict[int, ProviderError]:
        """Fail the nodes that no other zone can help; the rest, which lack capacity only, are returned."""
        elsewhere = next_zone(wave.checked.layout.zones, wave.batch.zone)
        movable: dict[int, ProviderError] = {}
        if elsewhere is not None:
            movable = {node_id: error for node_id, error in errors.items() if isinstance(error, NoCapacity)}
        by_error: dict[int, list[NodeSnapshot]] = {}
        for node in nodes:
            if node.id in errors and node.id not in movable:
                by_error.setdefault(id(errors[node.id]), []).append(node)
        for group in by_error.values():
            await self._fail(group, errors[group[0].id])
        return movable

    def _go_on_elsewhere(self, wave: _Wave, refused: Mapping[int, ProviderError]) -> None:
        zone = next_zone(wave.checked.layout.zones, wave.batch.zone)
        names = tuple(name for name in wave.batch.names if self._nodes[name].id in refused)
        if names:
            batch = replace(wave.batch, names=names, zone=zone, token=new_token())
            wave.work.start_soon(self._renew_and_launch, replace(wave, batch=batch))

    async def _renew_and_launch(self, wave: _Wave) -> None:
        """A capacity failure spends its token: commit a new one for the next zone, then ask there."""
        batch = wave.batch
        nodes = [self._nodes[name] for name in batch.names]
        renewals = {node.id: Renewal(batch.token, index, batch.zone) for index, node in enumerate(nodes)}
        await renew_tokens(self.context.engine, renewals)
        for index, node in enumerate(nodes):
            self._nodes[node.name] = replace(
                node, token=batch.token, launch_index=index, zone=batch.zone, instance_id=None
            )
        await self._launch_wave(wave)

    async def _fail(self, nodes: Iterable[NodeSnapshot], error: OgcError) -> None:
        """Say why; a node that may have a machine stays ``launching``, and on record, until the cloud is clear."""
        nodes = list(nodes)
        for node in nodes:
            self.failures[node.id] = failure(node, error)
        if isinstance(error, ProviderError) and not _is_certain(error):
            return
        came_from = {NodeState.PLANNED, NodeState.LAUNCHING}
        ids = [node.id for node in nodes]
        await move_nodes(self.context.engine, ids, to=NodeState.FAILED, came_from=came_from, reason=str(error))
        for node in nodes:
            self.context.tell_moved(node, NodeState.FAILED, reason=str(error))

    async def _give_back(self, provider: Provider, node: NodeSnapshot, error: DeadlineExceeded) -> None:
        """A machine that did not come up in time is not kept running unseen."""
        self.failures[node.id] = failure(node, error)
        await move_nodes(
            self.context.engine,
            [node.id],
            to=NodeState.TERMINATING,
            came_from={NodeState.LAUNCHING},
            reason=str(error),
        )
        if node.instance_id:
            await provider.terminate([node.instance_id])

    def _request(self, checked: Checked, batch: Batch) -> LaunchRequest:
        return launch_request(
            batch,
            checked.layout,
            owner=self.context.user.slug,
            scope=self.context.user.scope,
            public_key=checked.public_key,
            ssh_port=checked.ssh_port,
        )

    def _watch_of(self, provider: Provider, watches: TaskGroup) -> Watch:
        if id(provider) not in self._watches:
            watch = Watch(
                provider,
                owner=self.context.user.slug,
                scope=self.context.user.scope,
                interval_s=self.context.settings.ogc_poll_s,
                judge=lambda node, seen: judge_boot(provider, node, seen),
                settle=self._settle,
            )
            self._watches[id(provider)] = watch
            watches.start_soon(watch.run)
        return self._watches[id(provider)]

    async def _settle(self, running: Mapping[int, Instance]) -> None:
        moved = await record_running(self.context.engine, running)
        nodes = {node.id: node for node in self._nodes.values()}
        for node_id in moved:
            address = running[node_id].public_ip or running[node_id].private_ip
            self.context.tell_moved(nodes[node_id], NodeState.RUNNING, address=address)


@dataclass(frozen=True, slots=True)
class _Wave:
    """A batch on its way into one zone."""

    checked: Checked
    prepared: Prepared
    batch: Batch
    watch: Watch
    work: TaskGroup


def judge_boot(provider: Provider, node: NodeSnapshot, seen: Instance | None) -> Verdict:
    """Running with an address is done; gone is an error; anything else, and not yet visible, waits on."""
    if seen is None:
        return None
    if seen.error is not None:
        return seen.error
    if seen.state.is_gone or seen.state in (InstanceState.STOPPING, InstanceState.STOPPED):
        kind = NoCapacity if "InsufficientInstanceCapacity" in seen.reason else InstanceDied
        return kind(
            f"{node.name} ({seen.id}) went to {seen.state} while booting: {seen.reason or 'no reason given'}",
            provider=provider.name,
            operation="launch",
            code=seen.reason.split(":")[0],
        )
    if seen.state is InstanceState.RUNNING and (seen.public_ip or seen.private_ip):
        return seen
    return None


def _is_certain(error: ProviderError) -> bool:
    """No machine came of the refused call: a throttled call was not carried out, a lost one may have been."""
    return not error.retryable or isinstance(error, Throttled)


def _drafts(checked: Checked, batch: Batch) -> list[NodeDraft]:
    layout = checked.layout
    return [
        NodeDraft(
            name=name,
            layout=layout.name,
            provider=layout.provider,
            region=checked.region,
            zone=batch.zone,
            token=batch.token,
            launch_index=index,
            username=layout.username or "",
            ssh_port=checked.ssh_port,
            tags=layout.tags,
            labels=layout.labels,
            spec=layout.as_dict(),
        )
        for index, name in enumerate(batch.names)
    ]


def _with_instance(node: NodeSnapshot, instance: Instance) -> NodeSnapshot:
    return replace(node, instance_id=instance.id, zone=instance.zone or node.zone)
