"""A provider for many callers at once: what they ask in the same moment becomes one call to the cloud."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import TypeVar

from ogc_async.aio.batcher import Batcher
from ogc_async.aio.singleflight import SingleFlight
from ogc_async.errors import ProviderError
from ogc_async.providers.base import Provider
from ogc_async.types import DescribeRequest, Instance, LaunchFailure, LaunchRequest, Prepared

T = TypeVar("T")

IDLE_S = 0.01
"""Callers of one moment come within a turn or two of the event loop; this is a hundredth of any cloud call."""
CEILING_S = 0.1
END_IDLE_S, END_CEILING_S = 0.05, 0.5
"""Ends take longer windows: callers come to them one after the other, as their rows are written, and none is urgent."""
RELEASED_S = 1.0
"""Whoever ends a layout's last nodes in the same moment as others finds their release done."""
CALLERS = 5000
"""More than ever come together: the provider itself cuts what they ask into the cloud's own sizes, side by side."""

Answer = dict[str, Instance | ProviderError]


class SharedProvider:
    """Another provider behind a short window: descriptions, terminations and releases of one moment fall together.

    Launches pass through: whose machines share a call is decided before their rows are written.
    """

    def __init__(self, provider: Provider) -> None:
        self.inner = provider
        self.name = provider.name
        self.region = provider.region
        self.max_batch = provider.max_batch
        self._describing = Batcher(self._describe_all, max_batch=CALLERS, idle_s=IDLE_S, ceiling_s=CEILING_S)
        self._terminating = Batcher(self._terminate_all, max_batch=CALLERS, idle_s=END_IDLE_S, ceiling_s=END_CEILING_S)
        self._releasing: SingleFlight[tuple[str, str, str], None] = SingleFlight(keep_s=RELEASED_S)

    def __repr__(self) -> str:
        return f"SharedProvider({self.inner!r})"

    async def account(self, *, patiently: bool = False) -> str | None:
        """As the provider does."""
        return await self.inner.account(patiently=patiently)

    async def prepare(self, request: LaunchRequest) -> Prepared:
        """As the provider does, which shares the work of equal requests by itself."""
        self._releasing.forget((request.layout, request.owner, request.scope))
        return await self.inner.prepare(request)

    async def launch(self, request: LaunchRequest, prepared: Prepared) -> list[Instance | LaunchFailure]:
        """As the provider does."""
        return await self.inner.launch(request, prepared)

    async def describe(self, request: DescribeRequest) -> dict[str, Instance]:
        """The machines asked for, out of one description of all that is asked for in this moment."""
        return await self._describing.submit(request)

    async def look_up(self, instance_ids: Collection[str]) -> Answer:
        """As the provider does."""
        return await self.inner.look_up(instance_ids) if instance_ids else {}

    async def terminate(self, instance_ids: Collection[str]) -> Answer:
        """Begin to end these machines, together with those of others."""
        return await self._terminating.submit(tuple(instance_ids)) if instance_ids else {}

    async def list_owned(self, owner: str) -> list[Instance]:
        """As the provider does: a list that is under way is too old for whoever asks after it began."""
        return await self.inner.list_owned(owner)

    async def release(self, layout: str, *, owner: str, scope: str) -> None:
        """Remove the layout's firewall and key pair, once for all who ask for it now."""
        key = (layout, owner, scope)
        await self._releasing.run(key, lambda: self._release(*key))

    async def aclose(self) -> None:
        """Close the provider."""
        await self.inner.aclose()

    async def _release(self, layout: str, owner: str, scope: str) -> None:
        await self.inner.release(layout, owner=owner, scope=scope)

    async def _describe_all(self, requests: list[DescribeRequest]) -> list[dict[str, Instance]]:
        found: dict[tuple[str, str], dict[str, Instance]] = {}
        for whose in dict.fromkeys((each.owner, each.scope) for each in requests):
            found[whose] = await self.inner.describe(
                merged([each for each in requests if (each.owner, each.scope) == whose])
            )
        return [asked_for(each, found[each.owner, each.scope]) for each in requests]

    async def _terminate_all(self, groups: list[tuple[str, ...]]) -> list[Answer]:
        answers = await self.inner.terminate(_flat(groups))
        return [{each: answers[each] for each in group} for group in groups]


def merged(requests: Collection[DescribeRequest]) -> DescribeRequest:
    """One request for all that these, of one owner and scope, ask for."""
    first = next(iter(requests))
    return DescribeRequest(
        owner=first.owner,
        scope=first.scope,
        tokens=_flat(each.tokens for each in requests),
        instance_ids=_flat(each.instance_ids for each in requests),
        id_tokens=_flat(each.id_tokens for each in requests),
        is_patient=all(each.is_patient for each in requests),
    )


def asked_for(request: DescribeRequest, found: dict[str, Instance]) -> dict[str, Instance]:
    """Of what was found, what this request asked for."""
    tokens, ids = set(request.tokens), set(request.instance_ids)
    return {each.id: each for each in found.values() if each.id in ids or each.token in tokens}


def _flat(groups: Iterable[Iterable[T]]) -> tuple[T, ...]:
    return tuple(dict.fromkeys(each for group in groups for each in group))


_: type[Provider] = SharedProvider
