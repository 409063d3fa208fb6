"""From layouts to running machines: rows first, then few calls, then one poll for all."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field, replace
from uuid import uuid4

import anyio

from ogc_async.actions.batching import Batching, Order, Share, batching_of
from ogc_async.actions.claims import Claim, claiming
from ogc_async.actions.context import Context, failure
from ogc_async.actions.parts import Part, Wave
from ogc_async.actions.preflight import Checked, check_layouts
from ogc_async.actions.shared_batch import is_certain
from ogc_async.actions.tear_down import release_layouts
from ogc_async.actions.transitions import UNBOOTED, Ledger, arrive, move
from ogc_async.actions.watch import BootJudge, Watch, wants_public, watching
from ogc_async.actions.withdraw import withdraw
from ogc_async.aio.finish import finish
from ogc_async.aio.gather import unwrapped_group
from ogc_async.db.nodes import get_nodes, set_usernames
from ogc_async.errors import (
    DeadlineExceeded,
    InstanceDied,
    InstanceStopped,
    NoCapacity,
    NoPublicAddress,
    OgcError,
    OutcomeUnknown,
    ProviderError,
    StaleNode,
    Throttled,
)
from ogc_async.plan import ends_in_s, next_offer, offers
from ogc_async.providers.base import Provider
from ogc_async.spec import Layout
from ogc_async.types import (
    End,
    EndedBy,
    Instance,
    LaunchRequest,
    LaunchResult,
    NodeFailure,
    NodeSnapshot,
    NodeState,
    Offer,
    Prepared,
)

log = logging.getLogger(__name__)


RELEASE_S = 5.0
"""For removing what a launch that failed has made: the caller waits for the ids of what came up."""

Arrived = Callable[[Sequence[int]], object]
"""Hears of the ids of nodes that run, and that the launch will answer with."""


async def launch_layouts(
    layouts: Sequence[Layout],
    context: Context,
    *,
    claim: Claim | None = None,
    arrived: Arrived = lambda _node_ids: None,
    keeps_scale: bool = False,
) -> LaunchResult:
    """Launch every layout at its scale; nothing is created where any layout cannot be launched as it is written.

    The nodes are held under ``claim``, the caller's own, or for as long as the launch takes. ``keeps_scale`` says that
    it was not the user who asked for more.
    """
    launch_id = None if keeps_scale else uuid4().hex
    checked = check_layouts(layouts, context)
    if claim is not None:
        return await _launch_or_withdraw(checked, _Launch(context, claim, arrived, launch_id))
    result = LaunchResult()
    try:
        async with claiming(context, "launch") as own:
            result = await _launch_or_withdraw(checked, _Launch(context, own, arrived, launch_id))
    except asyncio.CancelledError:
        if result:
            # Cancelled while the claim was let go of: the launch succeeded, but its caller never gets the ids.
            async with claiming(context, "launch") as again:
                await withdraw(context, again, result)
        raise
    return result


async def _launch_or_withdraw(checked: Sequence[Checked], run: _Launch) -> LaunchResult:
    try:
        return await _launch(checked, run)
    except BaseException:
        # Cancelled, interrupted, or wrong: in any case the caller never gets these nodes' ids.
        await withdraw(run.context, run.claim)
        raise


async def _launch(checked: Sequence[Checked], run: _Launch) -> LaunchResult:
    parts = await finish(run.plan(checked), grace_s=run.context.settings.ogc_cancel_s)
    with unwrapped_group():
        async with AsyncExitStack() as watches:
            for part in parts:
                await run.watch(part.checked.provider, watches)
            async with anyio.create_task_group() as work:
                for part in parts:
                    work.start_soon(run.launch_part, part)
    await run.release(parts)
    return run.result(parts)


@dataclass(slots=True)
class _Launch:
    """One call of ``launch``: who is up, who failed, and the watch of each provider."""

    context: Context
    claim: Claim
    arrived: Arrived
    launch_id: str | None = None
    failures: dict[int, NodeFailure] = field(default_factory=dict)
    pending: list[int] = field(default_factory=list)
    warnings: dict[int, NodeFailure] = field(default_factory=dict)
    _ended: set[int] = field(default_factory=set)
    """Nodes that failed for certain, of clouds that answer and may be asked for more."""
    _nodes: dict[int, NodeSnapshot] = field(default_factory=dict)
    _parts: dict[int, Part] = field(default_factory=dict)
    _watches: dict[int, Watch] = field(default_factory=dict)

    async def plan(self, checked: Sequence[Checked]) -> list[Part]:
        """Commit every node's row, with its batch's token, before any cloud hears of it."""
        orders = [
            Order(
                each,
                next_offer(offers(each.layout), (), self._is_hole(each)) or offers(each.layout)[0],
                self.claim,
                self.context.events,
                count=each.layout.scale + each.layout.spare,
                launch_id=self.launch_id,
                ends_in_s=self._ends_in_s(each.layout),
            )
            for each in checked
        ]
        await self.claim.register()
        placed = await self._batching().plan(orders)
        return [self._part(order, shares) for order, shares in zip(orders, placed, strict=True)]

    async def watch(self, provider: Provider, watches: AsyncExitStack) -> None:
        """Watch what the launch boots at this provider, until the stack is closed."""
        if id(provider) not in self._watches:
            self._watches[id(provider)] = await watches.enter_async_context(
                watching(self.context, provider, judge=BootJudge(provider), settle=self._settle)
            )

    async def launch_part(self, part: Part) -> None:
        """Launch a layout's batches side by side, until enough of its nodes run or nothing more can be done."""
        with part.scope:
            async with anyio.create_task_group() as work:
                for share in part.shares:
                    work.start_soon(
                        self._launch_wave, Wave(part, share, self._watches[id(part.checked.provider)], work)
                    )
        await self._settle_up(part)

    async def release(self, parts: Sequence[Part]) -> None:
        """What was made for layouts of which nothing came is not left behind, as far as that takes a few seconds.

        Other layouts' nodes came up, and nothing that goes wrong here undoes their launch: `sync` and `rm-all` remove
        what stays.
        """
        failed = {
            (part.checked.layout.provider, part.checked.region, part.checked.layout.name)
            for part in parts
            if not part.up and self._ended.issuperset(part.node_ids)
        }
        leftovers: list[OgcError] = []
        with anyio.move_on_after(RELEASE_S) as scope:
            try:
                leftovers = await release_layouts(failed, self.context, tries=1)
            except OgcError as error:
                leftovers = [error]
        if scope.cancelled_caught:
            leftovers = [DeadlineExceeded(f"no answer within {RELEASE_S:g} s")]
        for each in leftovers:
            log.warning("left behind by a launch that failed, for `ogc sync` or `ogc rm-all` to remove: %s", each)

    def _is_unknown(self, node_id: int) -> bool:
        """It may have a machine for all that is known."""
        failed = self.failures.get(node_id)
        return failed is not None and isinstance(failed.error, ProviderError) and not is_certain(failed.error)

    def result(self, parts: Sequence[Part]) -> LaunchResult:
        """The answer, in the layouts' order."""
        ids = [node_id for part in parts for node_id in part.node_ids]
        up = {node_id for part in parts for node_id in part.up}
        return LaunchResult(
            [node_id for node_id in ids if node_id in up],
            [self.failures[node_id] for node_id in ids if node_id in self.failures],
            [node_id for node_id in ids if node_id in self.pending],
            [self.warnings[node_id] for node_id in ids if node_id in up and node_id in self.warnings],
        )

    def _part(self, order: Order, shares: list[Share]) -> Part:
        layout = order.checked.layout
        part = Part(order.checked, shares, layout.scale, min(layout.min_ready or layout.scale, layout.scale))
        for _, nodes in shares:
            for node in nodes:
                self._nodes[node.id] = node
                self._parts[node.id] = part
        return part

    async def _launch_wave(self, wave: Wave) -> None:
        try:
            prepared = await self._prepare(wave)
        except ProviderError as error:
            errors = dict.fromkeys((node.id for node in wave.nodes), error)
            self._go_on_elsewhere(wave, await self._refuse(wave, wave.nodes, errors))
            return
        # Broken off in there, a call might launch machines whose ids nobody has noted.
        landed, refused = await finish(self._ask(wave, prepared), grace_s=self.context.settings.ogc_cancel_s)
        self._go_on_elsewhere(wave, refused)
        if landed:
            await self._await_boot(wave, landed)

    async def _prepare(self, wave: Wave) -> Prepared:
        """What the wave's offer needs to stand ready: once a layout, however many batches."""
        part, request = wave.part, wave.batch.request
        return await part.preparing.run(wave.offer, lambda: self._prepare_part(part, request))

    async def _prepare_part(self, part: Part, request: LaunchRequest) -> Prepared:
        with unwrapped_group():
            async with anyio.create_task_group() as work:
                # Known by the time that the launch call is to go on record, and waited for by none before.
                work.start_soon(part.checked.provider.account)
                prepared = await part.checked.provider.prepare(request)
        await set_usernames(self.context.engine, dict.fromkeys(part.node_ids, prepared.username))
        return prepared

    async def _ask(self, wave: Wave, prepared: Prepared) -> tuple[list[NodeSnapshot], dict[int, ProviderError]]:
        """The launch call: nodes with a machine, and why others, which may go on elsewhere, have none."""
        ours = await wave.batch.begin()
        begun = [node for node in wave.nodes if node.id in ours]
        # This process was taken for dead, and another holds the rows: a launch now would be a second one.
        taken = [node for node in wave.nodes if node.id not in ours]
        await self._fail(taken, StaleNode("the launch's rows were taken over by another process; launch again"))
        if not begun:
            return [], {}
        answers = await wave.batch.ask(prepared)
        landed = [_with_instance(node, each) for node in begun if isinstance(each := answers[node.id], Instance)]
        self._nodes.update({node.id: node for node in landed})
        errors = {node.id: each for node in begun if isinstance(each := answers[node.id], ProviderError)}
        return landed, await self._refuse(wave, begun, errors)

    async def _await_boot(self, wave: Wave, nodes: list[NodeSnapshot]) -> None:
        limit = wave.part.checked.layout.timeouts.boot or self.context.settings.ogc_boot_timeout_s
        verdicts = await wave.watch.wait(nodes, limit)
        died: dict[int, ProviderError] = {}
        unfit: dict[str, list[NodeSnapshot]] = {}
        for node in nodes:
            verdict = verdicts[node.id]
            if isinstance(verdict, ProviderError) and not isinstance(verdict, (OutcomeUnknown, InstanceStopped)):
                died[node.id] = verdict
            elif isinstance(verdict, OgcError):
                self.failures[node.id] = failure(node, verdict)
            elif node.id not in wave.part.up:
                self.failures[node.id] = failure(node, StaleNode(f"{node.name}: taken back while it booted"))
            if isinstance(verdict, (DeadlineExceeded, InstanceStopped)):
                why = (
                    "it did not run in time" if isinstance(verdict, DeadlineExceeded) else "it stopped while it booted"
                )
                unfit.setdefault(why, []).append(node)
        # A machine that is there and did not come up is not kept unseen.
        for reason, members in unfit.items():
            await self._give_back(wave.part, members, reason)
        self._go_on_elsewhere(wave, await self._refuse(wave, nodes, died, has_ended=True))

    async def _refuse(
        self,
        wave: Wave,
        nodes: Sequence[NodeSnapshot],
        errors: Mapping[int, ProviderError],
        *,
        has_ended: bool = False,
    ) -> dict[int, ProviderError]:
        """Fail the nodes that no other offer can help; the rest, for which another may have room, are returned.

        ``has_ended``: their machines were seen to have ended, whatever the errors are.
        """
        movable = {node_id: error for node_id, error in errors.items() if _may_go_on(error)}
        if any(isinstance(error, NoCapacity) for error in movable.values()):
            self._note_hole(wave)
        if self._elsewhere(wave) is None:
            movable = {}
        by_error: dict[int, list[NodeSnapshot]] = {}
        for node in nodes:
            if node.id in errors and node.id not in movable:
                by_error.setdefault(id(errors[node.id]), []).append(node)
        for group in by_error.values():
            await self._fail(group, errors[group[0].id], has_ended=has_ended)
        return movable

    def _go_on_elsewhere(self, wave: Wave, refused: Mapping[int, ProviderError]) -> None:
        offer = self._elsewhere(wave)
        nodes = tuple(self._nodes[node.id] for node in wave.nodes if node.id in refused)
        if nodes and offer is not None:
            wave.work.start_soon(self._renew_and_launch, wave, offer, nodes)

    async def _renew_and_launch(self, wave: Wave, offer: Offer, nodes: tuple[NodeSnapshot, ...]) -> None:
        checked = wave.part.checked
        ends_in_s = self._ends_in_s(checked.layout)
        order = Order(checked, offer, self.claim, self.context.events, nodes=nodes, ends_in_s=ends_in_s)
        shares = await finish(self._batching().renew(order), grace_s=self.context.settings.ogc_cancel_s)
        renewed = {node.id: node for _, members in shares for node in members}
        self._nodes.update(renewed)
        taken = [node for node in nodes if node.id not in renewed]
        await self._fail(taken, StaleNode("the node was taken over by another process; launch again"))
        for share in shares:
            wave.work.start_soon(self._launch_wave, replace(wave, share=share, tried=(*wave.tried, wave.offer)))

    async def _fail(self, nodes: Iterable[NodeSnapshot], error: OgcError, *, has_ended: bool = False) -> None:
        """Say why; a node that may have a machine stays ``launching``, and on record, until the cloud is clear."""
        nodes = list(nodes)
        for node in nodes:
            self.failures[node.id] = failure(node, error)
        if not nodes or isinstance(error, StaleNode):
            return
        is_sure = has_ended or not isinstance(error, ProviderError) or is_certain(error)
        if is_sure and not isinstance(error, Throttled):
            self._ended.update(node.id for node in nodes)
        # A node that no cloud has heard of has no machine, whatever is not known of others.
        came_from = UNBOOTED if is_sure else {NodeState.PLANNED}
        await self._move(nodes, NodeState.FAILED, came_from, str(error), End(EndedBy.CLOUD) if has_ended else None)

    async def _settle_up(self, part: Part) -> None:
        """Enough nodes run: return what is too much; or some go on booting, and are told as ``pending``."""
        rest = [node_id for node_id in part.node_ids if node_id not in part.up and node_id not in self.failures]
        if len(part.up) >= part.wanted:
            surplus = [*part.up[part.wanted :], *rest]
            part.up = part.up[: part.wanted]
            unknown = [node_id for node_id in part.node_ids if self._is_unknown(node_id)]
            nodes = await get_nodes(self.context.engine, [*surplus, *unknown])
            await self._give_back(part, nodes, "a spare that was not needed")
            # Of a launch that nobody heard of there is nothing to give back yet, and that is told.
            unheard = {node.id for node in nodes if node.id in unknown and node.instance_id is None}
            for node_id in set(part.node_ids) - unheard:
                self.failures.pop(node_id, None)
        elif rest:
            self.pending += rest

    async def _give_back(self, part: Part, nodes: Sequence[NodeSnapshot], reason: str) -> None:
        """Begin to end machines that nobody waits for; their rows follow once the cloud says that they are gone."""
        if not nodes:
            return
        await self._move(
            [node for node in nodes if not node.instance_id], NodeState.FAILED, {NodeState.PLANNED}, reason
        )
        with_machine = [node for node in nodes if node.instance_id]
        moved = await self._move(with_machine, NodeState.TERMINATING, {NodeState.LAUNCHING, NodeState.RUNNING}, reason)
        try:
            await part.checked.provider.terminate([str(node.instance_id) for node in moved])
        except ProviderError as error:
            log.warning("%d machines could not be returned; `ogc sync` goes on with them: %s", len(moved), error)

    async def _move(
        self,
        nodes: Sequence[NodeSnapshot],
        to: NodeState,
        came_from: Collection[NodeState],
        reason: str,
        end: End | None = None,
    ) -> list[NodeSnapshot]:
        return await move(self._ledger(), nodes, to, came_from=came_from, reason=reason, end=end)

    def _ledger(self) -> Ledger:
        return Ledger.of(self.context, self.claim.hold)

    def _ends_in_s(self, layout: Layout) -> float | None:
        return ends_in_s(layout, self.context.settings.ogc_boot_timeout_s)

    def _batching(self) -> Batching:
        return batching_of(self.context.engine, self.context.user)

    def _is_hole(self, checked: Checked) -> Callable[[Offer], bool]:
        holes = self.context.providers.holes
        return lambda offer: holes.has(checked.layout.provider, checked.region, offer)

    def _note_hole(self, wave: Wave) -> None:
        checked = wave.part.checked
        self.context.providers.holes.note(checked.layout.provider, checked.region, wave.offer)

    def _elsewhere(self, wave: Wave) -> Offer | None:
        checked = wave.part.checked
        return next_offer(offers(checked.layout), (*wave.tried, wave.offer), self._is_hole(checked))

    async def _settle(self, running: Mapping[int, Instance]) -> None:
        moved = await arrive(self._ledger(), [self._nodes[node_id] for node_id in running], running)
        self._nodes.update({node.id: node for node in moved})
        hidden = [node for node in moved if _lacks_public_address(node)]
        self.warnings.update({node.id: failure(node, _no_public_address(node)) for node in hidden})
        for part in {id(part): part for part in (self._parts[node.id] for node in moved)}.values():
            self.arrived(part.arrive([node.id for node in moved if self._parts[node.id] is part]))


def _may_go_on(error: ProviderError) -> bool:
    """Another offer may have room, or fewer troubles of its own."""
    return isinstance(error, NoCapacity) or (isinstance(error, InstanceDied) and error.retryable)


def _lacks_public_address(node: NodeSnapshot) -> bool:
    return wants_public(node) and not node.public_ip


def _no_public_address(node: NodeSnapshot) -> NoPublicAddress:
    return NoPublicAddress(
        f"{node.name} runs without a public address, since its network gives none; it is reached by {node.private_ip} "
        "only: say `address: private` and a jump host, or launch where machines are given public addresses",
        provider=node.provider,
        operation="launch",
    )


def _with_instance(node: NodeSnapshot, instance: Instance) -> NodeSnapshot:
    return replace(node, instance_id=instance.id, zone=instance.zone or node.zone)
