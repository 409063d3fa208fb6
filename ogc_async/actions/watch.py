"""One description a tick answers everyone who waits for machines of one provider and region."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace

import anyio

from ogc_async.actions.context import Context
from ogc_async.aio.gather import unwrapped_group
from ogc_async.errors import (
    DeadlineExceeded,
    InstanceDied,
    InstanceStopped,
    NoCapacity,
    OgcError,
    OutcomeUnknown,
    ProviderError,
)
from ogc_async.plan import find_instances
from ogc_async.providers.base import Provider
from ogc_async.types import DescribeRequest, Instance, InstanceState, NodeSnapshot

Verdict = Instance | OgcError | None
"""An instance or an error ends the wait for a node; ``None`` goes on waiting."""

Judge = Callable[[NodeSnapshot, Instance | None], Verdict]
Settle = Callable[[Mapping[int, Instance]], Awaitable[None]]

SLOWEST = 2.5
"""Intervals between two descriptions at most, while nothing that is waited for has happened yet."""
REFUSALS = 3
"""Descriptions that the cloud refuses, one after the other, before nobody waits for another: EC2 refuses one now and
then that its caller may well ask for (https://github.com/hashicorp/terraform/issues/6566)."""
ADDRESS_S = 20.0
"""How long a machine may run before its network has given it the public address that its layout wants."""
PATIENCE = 0.25
"""Of the time waited so far: news that took 8 s to come may as well be heard of 2 s later, but not news of 0.1 s."""


@dataclass(slots=True)
class _Waiter:
    node: NodeSnapshot
    deadline: float
    answer: asyncio.Future[Instance | OgcError]


class Watch:
    """Describes what is waited for, and answers each waiter as ``judge`` says.

    A description follows ``interval_s`` seconds after the last one, or later until the first machine is done: a cloud
    is asked often while its machines come up, and less often while none can have.

    ``settle`` is given all instances of one tick that are done, by node id, before their waiters hear of it: so a
    group's rows are written in one statement. :meth:`run` goes on until it is cancelled, and asks nothing while
    nobody waits.

    Whoever's time is over while a description shows their machine hears ``DeadlineExceeded``; while none does, or the
    cloud refuses to describe, ``OutcomeUnknown``: what is not seen has not failed.
    """

    def __init__(
        self, provider: Provider, *, owner: str, scope: str, interval_s: float, judge: Judge, settle: Settle
    ) -> None:
        self._provider = provider
        self._owner = owner
        self._scope = scope
        self._interval_s = interval_s
        self._judge = judge
        self._settle = settle
        self._waiters: dict[int, _Waiter] = {}
        self._has_waiters = asyncio.Event()
        self._since = 0.0
        self._has_news = False
        self._refusals = 0

    async def wait(self, nodes: Iterable[NodeSnapshot], timeout_s: float) -> dict[int, Instance | OgcError]:
        """Wait until each node is judged: its instance or an error, by node id."""
        loop = asyncio.get_running_loop()
        waiters = [_Waiter(node, loop.time() + timeout_s, loop.create_future()) for node in nodes]
        if not self._waiters:
            self._since, self._has_news = loop.time(), False
        self._waiters.update({waiter.node.id: waiter for waiter in waiters})
        self._has_waiters.set()
        try:
            return {waiter.node.id: await waiter.answer for waiter in waiters}
        finally:
            for waiter in waiters:
                self._waiters.pop(waiter.node.id, None)

    async def run(self) -> None:
        """Tick until cancelled."""
        while True:
            await self._has_waiters.wait()
            now = asyncio.get_running_loop().time()
            pause = pause_s(self._interval_s, now - self._since, has_news=self._has_news)
            await anyio.sleep(until_tick_s(now, self._interval_s, pause))
            await self._tick()
            if not self._waiters:
                self._has_waiters.clear()

    async def _tick(self) -> None:
        waiting = dict(self._waiters)
        if not waiting:
            return
        nodes = [waiter.node for waiter in waiting.values()]
        # Whose time is over is decided before the question, which is another one then.
        over = self._over(waiting)
        request = describe_request(nodes, owner=self._owner, scope=self._scope)
        try:
            seen = await self._provider.describe(replace(request, is_patient=not over))
        except ProviderError as error:
            self._refusals += not error.retryable
            is_over = self._refusals >= REFUSALS
            unknown = {node_id: self._unseen(waiter.node, error) for node_id, waiter in waiting.items()}
            over = self._over(waiting)
            self._answer(waiting, unknown if is_over else {node_id: unknown[node_id] for node_id in over})
            return
        self._refusals = 0
        found = find_instances(nodes, seen)
        verdicts = {node_id: self._judge(waiter.node, found.get(node_id)) for node_id, waiter in waiting.items()}
        done = {node_id: verdict for node_id, verdict in verdicts.items() if verdict is not None}
        self._has_news |= bool(done)
        try:
            if settled := {i: verdict for i, verdict in done.items() if isinstance(verdict, Instance)}:
                await self._settle(settled)
        except OgcError as error:
            done = dict.fromkeys(done, error)
        late = {
            node_id: self._late(waiting[node_id].node)
            if node_id in found
            else self._unseen(waiting[node_id].node, None)
            for node_id in over
        }
        self._answer(waiting, late | done)

    def _over(self, waiting: Mapping[int, _Waiter]) -> list[int]:
        """Who has waited for long enough."""
        now = asyncio.get_running_loop().time()
        return [node_id for node_id, waiter in waiting.items() if now > waiter.deadline]

    def _late(self, node: NodeSnapshot) -> OgcError:
        return DeadlineExceeded(
            f"{node.name}: {self._provider.name} {self._provider.region} did not get there in time; "
            "the machine is still on record, `ogc ls` shows it"
        )

    def _unseen(self, node: NodeSnapshot, error: ProviderError | None) -> OgcError:
        why = str(error) if error is not None else "no description shows it"
        machine = f"its machine ({node.instance_id})" if node.instance_id else "a machine of its launch"
        return OutcomeUnknown(
            f"{node.name}: {machine} may exist, and what became of it is not known: {why}; the node stays on record: "
            f"`ogc sync` goes on with it, `ogc rm {node.name}` ends it",
            provider=self._provider.name,
            operation="describe",
            code=error.code if error is not None else "",
        )

    def _answer(self, waiting: Mapping[int, _Waiter], done: Mapping[int, Instance | OgcError]) -> None:
        for node_id, verdict in done.items():
            self._waiters.pop(node_id, None)
            if not waiting[node_id].answer.done():
                waiting[node_id].answer.set_result(verdict)


@asynccontextmanager
async def watching(context: Context, provider: Provider, *, judge: Judge, settle: Settle) -> AsyncIterator[Watch]:
    """A watch of the user's machines at one provider, which runs while the block does."""
    watch = Watch(
        provider,
        owner=context.user.slug,
        scope=context.user.scope,
        interval_s=context.settings.ogc_poll_s,
        judge=judge,
        settle=settle,
    )
    with unwrapped_group():
        async with anyio.create_task_group() as group:
            group.start_soon(watch.run)
            yield watch
            group.cancel_scope.cancel()


def pause_s(interval_s: float, waited_s: float, *, has_news: bool) -> float:
    """Seconds until the next description."""
    return interval_s if has_news else max(interval_s, min(PATIENCE * waited_s, SLOWEST * interval_s))


def until_tick_s(now_s: float, interval_s: float, pause: float) -> float:
    """The pause, as it fits the loop's ticks: all watches tick together, so that their descriptions become one."""
    if interval_s <= 0:
        return 0.0
    return interval_s - now_s % interval_s + interval_s * (round(pause / interval_s) - 1)


class BootJudge:
    """Running with an address is done; gone is an error; anything else, and not yet visible, waits on.

    A machine that is to have a public address is waited for a little longer where it runs without one.
    """

    def __init__(self, provider: Provider) -> None:
        self._provider = provider
        self._running_since: dict[str, float] = {}

    def __call__(self, node: NodeSnapshot, seen: Instance | None) -> Verdict:
        """What is to be heard of the node now."""
        if seen is None:
            return None
        if seen.error is not None:
            return seen.error
        if seen.state.is_gone or seen.state in (InstanceState.STOPPING, InstanceState.STOPPED):
            return died(self._provider.name, node, seen)
        if seen.state is not InstanceState.RUNNING or not (seen.public_ip or seen.private_ip):
            return None
        if not wants_public(node) or seen.public_ip:
            return seen
        now = asyncio.get_running_loop().time()
        since = self._running_since.setdefault(seen.id, now)
        return seen if now - since >= ADDRESS_S else None


def died(provider: str, node: NodeSnapshot, seen: Instance) -> ProviderError:
    """Why a machine did not come up; retryable where that was EC2's own trouble (codes that begin with ``Server.``)."""
    is_gone = seen.state.is_gone
    lacks_room = is_gone and "InsufficientInstanceCapacity" in seen.reason
    kind = NoCapacity if lacks_room else InstanceDied if is_gone else InstanceStopped
    return kind(
        f"{node.name} ({seen.id}) went to {seen.state} while booting: {seen.reason or 'no reason given'}",
        provider=provider,
        operation="launch",
        code=seen.reason.split(":")[0],
        retryable=is_gone and not lacks_room and seen.reason.startswith("Server."),
    )


def wants_public(node: NodeSnapshot) -> bool:
    """Its layout says that it is reached from outside, as layouts do that say nothing of it."""
    return bool(node.spec.get("address", "public") == "public")


def describe_request(nodes: Iterable[NodeSnapshot], *, owner: str, scope: str) -> DescribeRequest:
    """Ask for machines by id; for those whose ids never reached us, by batch."""
    nodes = list(nodes)
    return DescribeRequest(
        owner=owner,
        scope=scope,
        tokens=tuple(dict.fromkeys(node.token for node in nodes if not node.instance_id)),
        instance_ids=tuple(node.instance_id for node in nodes if node.instance_id),
        id_tokens=tuple(dict.fromkeys(node.token for node in nodes if node.instance_id)),
    )
