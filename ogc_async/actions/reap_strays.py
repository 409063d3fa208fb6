"""Everything with our owner tag in the accounts at hand, with nothing but the account; and the end of what is to end.

The cloud is listed first, the rows are read after that: a row is committed before the cloud hears of its machine, so
every machine in the list has had its row by then.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, TypeVar

import anyio

from ogc_async.actions.claims import claiming
from ogc_async.actions.context import PLACES_AT_ONCE, Context
from ogc_async.actions.ending import end_machines
from ogc_async.aio.gather import gather_all
from ogc_async.db.nodes import FORGOTTEN, find_nodes, find_of_machines, find_places, get_nodes
from ogc_async.errors import OgcError, ProviderError, SettingsError, Unauthorized, WrongAccount
from ogc_async.lazy import lazy_module
from ogc_async.plan import Found, Place, by_place, is_overdue
from ogc_async.plan.strays import FoundVolume, Sight, find_strays, to_end
from ogc_async.providers.base import FindsRegions, FindsVolumes
from ogc_async.providers.registry import FACTORIES
from ogc_async.spec import Layout
from ogc_async.types import LIVE, NodeFailure, NodeSnapshot, NodeState
from ogc_async.types.reap import Find, FindKind, NotLookedAt, ReapResult

if TYPE_CHECKING:
    from ogc_async.actions import tear_down
else:
    # A list logs in nowhere.
    tear_down = lazy_module("ogc_async.actions.tear_down")

T = TypeVar("T")


async def reap(
    context: Context,
    layouts: Sequence[Layout] | None,
    *,
    dry_run: bool,
    strays: bool,
    only: Collection[str] | None = None,
) -> ReapResult:
    """List everything of this owner, and end what is to end; ``layouts`` are the spec's, if there is one."""
    look = _Look(context)
    finds = find_strays(await look.at(layouts))
    if dry_run:
        return look.result(finds)
    run = _Reap(context)
    await run.end(to_end(finds, strays=strays, only=only))
    return look.result(finds, run)


@dataclass(slots=True)
class _Listing:
    """What one place showed, and whose it is as far as that can be learned."""

    account: str | None
    machines: list[Found]
    volumes: list[FoundVolume]


@dataclass(slots=True)
class _Look:
    """One look at the accounts at hand: what could not be looked at, or not closely."""

    context: Context
    failures: list[OgcError] = field(default_factory=list)
    not_looked_at: list[NotLookedAt] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    only_named: set[Place] = field(default_factory=set)
    """Places that a cloud names, and nothing else does."""

    async def at(self, layouts: Sequence[Layout] | None) -> Sight:
        """List every place, then read the rows."""
        places = await self._places(layouts or ())
        listings = await gather_all(lambda each: self._list(*each), places.items(), limit=PLACES_AT_ONCE)
        seen = {place: each for place, each in zip(places, listings, strict=True) if each is not None}
        machines = [each for listing in seen.values() for each in listing.machines]
        live = await find_nodes(self.context.engine, states=LIVE)
        of_these = await find_of_machines(self.context.engine, [each.instance.id for each in machines])
        sight = Sight(
            now=next((node.read_at for node in live if node.read_at is not None), datetime.now(UTC)),
            scope=self.context.user.scope,
            machines=machines,
            volumes=[each for listing in seen.values() for each in listing.volumes],
            accounts={place: each.account for place, each in seen.items()},
            live=live,
            lost=[node for node in of_these if node.state is NodeState.LOST],
            let_go={str(node.instance_id): node for node in of_these if _was_let_go(node)},
            layouts=None if layouts is None else {layout.name for layout in layouts},
        )
        self.failures += _of_other_accounts(sight)
        return sight

    def result(self, finds: Iterable[Find], run: _Reap | None = None) -> ReapResult:
        """What was found, and what came of ending it."""
        return ReapResult(
            finds=tuple(finds),
            ended=tuple(run.ended) if run is not None else (),
            failures=(*self.failures, *(run.failures if run is not None else ())),
            not_looked_at=tuple(self.not_looked_at),
            warnings=(*self.warnings, *(run.warnings if run is not None else ())),
        )

    async def _places(self, layouts: Sequence[Layout]) -> dict[Place, bool]:
        """Every place that can be asked: those that the clouds name, and those of rows, spec and settings.

        Each with whether something of ours may be there, and not only has been.
        """
        ever = await find_places(self.context.engine)
        used = {(node.provider, node.region) for node in await find_nodes(self.context.engine, states=LIVE)}
        used |= {(layout.provider, layout.region) for layout in layouts if layout.region}
        needed = {provider for provider, _ in used} | {layout.provider for layout in layouts}

        async def of_cloud(name: str) -> dict[Place, bool]:
            known = {region: (name, region) in used for provider, region in ever | used if provider == name}
            regions = await self._regions(name, known, is_used=name in needed)
            return {(name, region): is_used for region, is_used in regions.items()}

        clouds = sorted(FACTORIES.keys() | needed)
        found = await gather_all(of_cloud, clouds, limit=len(clouds))
        return dict(sorted(pair for part in found for pair in part.items()))

    async def _regions(self, cloud: str, known: Mapping[str, bool], *, is_used: bool) -> dict[str, bool]:
        """The cloud's regions that are to be listed; none where its credentials are not there."""
        try:
            default = self._default(cloud, known)
            provider = self.context.providers.unshared(cloud, default)
        except SettingsError as error:
            self.not_looked_at.append(NotLookedAt(cloud, "", error, is_used))
            return {}
        regions = {**known, default: True}
        if isinstance(provider, FindsRegions):
            try:
                named = await provider.regions(self.context.user.slug)
                self.only_named |= {(cloud, region) for region in named if not regions.get(region)}
                return regions | dict.fromkeys(named, True)
            except ProviderError as error:
                some = ", ".join(sorted(regions))
                self.warnings.append(
                    f"{cloud}: the account's regions could not be learned, so only those on record, in the spec and in"
                    f" the settings were looked at ({some}): {error}"
                )
        # Without the cloud's word, each region that ever had a node may have one.
        return dict.fromkeys(regions, True)

    def _default(self, cloud: str, known: Collection[str]) -> str:
        """The settings' region; one that is known where they name none."""
        try:
            return self.context.providers.default_region(cloud)
        except SettingsError:
            if known:
                return min(known)
            raise

    async def _list(self, place: Place, is_used: bool) -> _Listing | None:
        name, region = place
        try:
            provider = self.context.providers.get(*place)
            owned = await provider.list_owned(self.context.user.slug)
            # After the list, which may have told.
            account = await provider.account()
        except OgcError as error:
            # Organizations deny whole regions: of one that nothing of ours is known to be in, that is no fault.
            is_denied = isinstance(error, Unauthorized) and place in self.only_named
            self.not_looked_at.append(NotLookedAt(name, region, error, is_used and not is_denied))
            return None
        machines = [Found(provider=name, region=region, instance=each) for each in owned]
        return _Listing(account, machines, await self._volumes(place))

    async def _volumes(self, place: Place) -> list[FoundVolume]:
        name, region = place
        provider = self.context.providers.unshared(*place)
        if not isinstance(provider, FindsVolumes):
            return []
        try:
            volumes = await provider.list_volumes(self.context.user.slug)
        except Unauthorized as error:
            # Clouds end volumes with their machines: credentials may do without this right.
            self.warnings.append(f"{name} {region}: leftover volumes were not looked for: {error}")
            return []
        except OgcError as error:
            self.failures.append(error)
            return []
        return [FoundVolume(provider=name, region=region, volume=each) for each in volumes]


@dataclass(slots=True)
class _Reap:
    """One call of ``reap``: the ids of what has ended, and what did not work."""

    context: Context
    ended: list[str] = field(default_factory=list)
    failures: list[NodeFailure | OgcError] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    async def end(self, finds: Sequence[Find]) -> None:
        """End all of them, side by side."""
        volumes = [each for each in finds if each.kind is FindKind.VOLUME]
        nodes = [each for each in finds if each.node_id]
        machines = [each for each in finds if each not in volumes and each not in nodes]
        async with anyio.create_task_group() as group:
            if nodes:
                group.start_soon(self._end_nodes, nodes)
            for members in _by(machines, lambda each: (each.provider, each.region, each.scope)).values():
                group.start_soon(self._guarded, self._end_machines, members)
            for members in by_place(volumes).values():
                group.start_soon(self._guarded, self._delete_volumes, members)

    async def _guarded(self, work: Callable[[Sequence[Find]], Awaitable[None]], finds: Sequence[Find]) -> None:
        """One cloud that does not answer keeps nobody else's finds from being ended."""
        try:
            await work(finds)
        except OgcError as error:
            self.failures.append(error)

    async def _end_nodes(self, finds: Sequence[Find]) -> None:
        """Without SSH: a machine whose time is over owes nothing, and the others' are ended by force."""
        by_id = {each.node_id: each for each in finds}
        async with claiming(self.context, "reap") as claim:
            await claim.take(by_id)
            nodes = await get_nodes(self.context.engine, list(by_id))
            due = [node for node in nodes if _is_still_due(node, by_id[node.id])]
            for node in nodes:
                if node not in due:
                    self.warnings.append(f"{node.name}: it was put off or taken back meanwhile, and was left alone")
            ids = [node.id for node in due]
            result = await tear_down.tear_down_nodes(ids, self.context, force=True, only_db=False, claim=claim)
        self.ended += [by_id[node_id].id for node_id in result]
        self.failures += [*result.failures, *result.leftovers]

    async def _end_machines(self, finds: Sequence[Find]) -> None:
        first = finds[0]
        provider = self.context.providers.get(first.provider, first.region)
        verdicts = await end_machines([each.id for each in finds], provider, self.context, scope=first.scope)
        self.ended += [key for key, each in verdicts.items() if each is None]
        self.failures += [each for each in verdicts.values() if each is not None]
        taken = [each.id for each in finds if each.id not in verdicts]
        self.warnings += [f"{each}: a node stands for it by now, and it was left alone" for each in taken]

    async def _delete_volumes(self, finds: Sequence[Find]) -> None:
        provider = self.context.providers.unshared(finds[0].provider, finds[0].region)
        assert isinstance(provider, FindsVolumes)  # noqa: S101  # it has listed them
        for each in finds:
            try:
                await provider.delete_volume(each.id)
            except ProviderError as error:
                self.failures.append(error)
            else:
                self.ended.append(each.id)


def _was_let_go(node: NodeSnapshot) -> bool:
    return node.state is NodeState.TERMINATED and node.reason == FORGOTTEN


def _is_still_due(node: NodeSnapshot, find: Find) -> bool:
    """Of a node that was found, its row says the same still."""
    if find.kind is FindKind.OVERDUE:
        return is_overdue(node, node.read_at or datetime.now(UTC))
    return find.kind is not FindKind.STRAY or node.state is NodeState.LOST


def _of_other_accounts(sight: Sight) -> list[OgcError]:
    """Nodes whose machines other accounts have: nothing can be said of them, and nothing is done about them."""
    elsewhere = [node for node in sight.live if sight.is_elsewhere(node)]
    groups = _by(elsewhere, lambda node: (node.provider, str(node.account), _asked(sight, node)))
    return [
        WrongAccount(provider, theirs, ours, [node.name for node in nodes])
        for (provider, theirs, ours), nodes in groups.items()
    ]


def _asked(sight: Sight, node: NodeSnapshot) -> str:
    return str(sight.accounts[node.provider, node.region])


def _by(items: Iterable[T], key: Callable[[T], tuple[str, ...]]) -> Mapping[tuple[str, ...], list[T]]:
    groups: dict[tuple[str, ...], list[T]] = {}
    for each in items:
        groups.setdefault(key(each), []).append(each)
    return groups
