"""A batch on record: asked for in one call, by whichever of its callers comes first; all share the answer."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from ogc_async.actions.preflight import Checked
from ogc_async.actions.transitions import Ledger, begin_launch
from ogc_async.actions.watch import describe_request
from ogc_async.aio.singleflight import SingleFlight
from ogc_async.db.moves import record_instances
from ogc_async.errors import OutcomeUnknown, ProviderError, Throttled, TokenSpent
from ogc_async.plan import Batch, find_instances, launch_request, offers
from ogc_async.ssh.hostkeys import new_host_key
from ogc_async.types import (
    Instance,
    LaunchFailure,
    LaunchRequest,
    NodeSnapshot,
    Offer,
    Prepared,
    UserSnapshot,
)


class SharedBatch:
    """One batch's way to the cloud and back. Each step is taken once, however many callers ask for it.

    Its machines' host key, where they can be given one, is made here: the private half goes into the launch call and
    nowhere else, and is forgotten with the batch.
    """

    def __init__(self, ledger: Ledger, user: UserSnapshot, batch: Batch, checked: Checked) -> None:
        self.batch = batch
        self._ledger = ledger
        self._user = user
        self._checked = checked
        self._host_key = new_host_key() if checked.can_inject else None
        self._nodes: list[NodeSnapshot] = []
        self._calls: SingleFlight[str, Any] = SingleFlight(keep_s=float("inf"))

    def add(self, nodes: Iterable[NodeSnapshot]) -> None:
        """Nodes of the batch, as they are on record."""
        self._nodes += nodes

    @property
    def offer(self) -> Offer:
        """Where its machines are asked for."""
        return self.batch.offer or offers(self._checked.layout)[0]

    @property
    def request(self) -> LaunchRequest:
        """What the cloud is asked for."""
        return launch_request(
            self.batch,
            self._checked.layout,
            owner=self._user.slug,
            scope=self._user.scope,
            public_key=self._checked.public_key,
            ssh_port=self._checked.ssh_port,
            host_key=self._host_key,
            ends_at=max((node.ends_at for node in self._nodes if node.ends_at is not None), default=None),
        )

    async def begin(self) -> set[int]:
        """Note that the cloud is about to be asked, and for which host key; the nodes that are still its own, by id."""
        begun: set[int] = await self._calls.run("begin", self._begin)
        return begun

    async def ask(self, prepared: Prepared) -> Mapping[int, Instance | ProviderError]:
        """Each node's machine, on record already, or why it has none. Only after :meth:`begin`."""
        answers: Mapping[int, Instance | ProviderError] = await self._calls.run("ask", lambda: self._ask(prepared))
        return answers

    async def _begin(self) -> set[int]:
        # On record before the call: should this process die, whoever adopts the machines knows them by it.
        public = self._host_key.public if self._host_key else None
        account = await self._checked.provider.account(patiently=True)
        return {node.id for node in await begin_launch(self._ledger, self._nodes, public, account)}

    async def _ask(self, prepared: Prepared) -> Mapping[int, Instance | ProviderError]:
        begun = await self.begin()
        ours = {node.name: node.id for node in self._nodes if node.id in begun}
        outcome = dict(zip(self.batch.names, await self._call(prepared), strict=True))
        answers = {node_id: outcome[name] for name, node_id in ours.items()}
        machines = {node_id: each for node_id, each in answers.items() if isinstance(each, Instance)}
        await record_instances(self._ledger.engine, machines, self._ledger.hold)
        # A batch is asked for as a whole, also where a node of it was taken back before.
        unwanted = [each.id for name, each in outcome.items() if isinstance(each, Instance) and name not in ours]
        if unwanted:
            await self._checked.provider.terminate(unwanted)
        return answers

    async def _call(self, prepared: Prepared) -> list[Instance | ProviderError]:
        try:
            launched = await self._checked.provider.launch(self.request, prepared)
        except ProviderError as error:
            if is_certain(error):
                return [error] * len(self.batch.names)
            return await self._find_after(error)
        return [each.error if isinstance(each, LaunchFailure) else each for each in launched]

    async def _find_after(self, error: ProviderError) -> list[Instance | ProviderError]:
        """The call's outcome is unknown: its token tells which machines it launched after all."""
        request = describe_request(self._nodes, owner=self._user.slug, scope=self._user.scope)
        try:
            found = find_instances(self._nodes, await self._checked.provider.describe(request))
        except ProviderError:
            found = {}
        by_name = {node.name: found[node.id] for node in self._nodes if node.id in found}
        return [by_name.get(name, error) for name in self.batch.names]


def is_certain(error: ProviderError) -> bool:
    """No machine came of the refused launch: a throttled call was not carried out, a lost one may have been.

    A token that was used before may have been used by a call of which nobody heard.
    """
    return isinstance(error, Throttled) or not (error.retryable or isinstance(error, (OutcomeUnknown, TokenSpent)))
