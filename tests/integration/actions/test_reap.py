"""One look at an account finds everything of ours in it, whatever became of the database, and ends what is over."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import delete, update

from ogc_async import actions, errors
from ogc_async.db.models import Node, User
from ogc_async.providers.base import Provider
from ogc_async.providers.pool import ProviderPool
from ogc_async.settings import Settings
from ogc_async.spec import Layout, Spec
from ogc_async.state import App
from ogc_async.testing import MemoryProvider
from ogc_async.types import Find, FindKind, Instance, InstanceState, NodeState, ReapResult, Volume
from ogc_async.types.launch import TAG_ENDS, TAG_OWNER
from tests.holding import held

HOUR = timedelta(hours=1)
ELSEWHERE = "memory-2"
FOREIGN = "i-of-somebody-else"
SILENT = errors.ServiceUnavailable("no answer", provider="aws", operation="DescribeInstances", retryable=True)
REFUSED = errors.Unauthorized("not allowed to", provider="aws", operation="DescribeRegions")


class Region(MemoryProvider):
    """A region of an account whose cloud tells its regions, and which keeps volumes."""

    def __init__(self, region: str, account: Account) -> None:
        super().__init__(region)
        self.volumes: list[Volume] = []
        self._of = account

    async def regions(self, owner: str) -> list[str]:
        self._take("regions")
        return sorted(self._of.regions)

    async def list_volumes(self, owner: str, scope: str | None = None) -> list[Volume]:
        self._take("list_volumes")
        return list(self.volumes)

    async def delete_volume(self, volume_id: str) -> None:
        self.volumes = [each for each in self.volumes if each.id != volume_id]


class Account:
    """All regions of one cloud; of the other one there are no credentials."""

    def __init__(self, *names: str) -> None:
        self.regions: dict[str, Region] = {}
        self.closed: dict[str, Region] = {}
        for name in names:
            self.regions[name] = Region(name, self)

    def open(self, name: str, _settings: Settings, region: str) -> Provider:
        if name != "aws":
            raise errors.MissingCredentials(name, "GOOGLE_APPLICATION_CREDENTIALS")
        return self.closed.get(region) or self.regions[region]

    def __getitem__(self, region: str) -> Region:
        return self.regions[region]

    def living(self) -> set[str]:
        return {key for each in self.regions.values() for key, it in each.instances.items() if not it.state.is_gone}


@pytest.fixture
def account(cloudless: App) -> Account:
    account = Account("memory-1", ELSEWHERE)
    account["memory-1"].instances[FOREIGN] = somebody_elses()
    cloudless.settings = cloudless.settings.model_copy(
        update={"ogc_poll_s": 0.01, "ogc_settle_s": 0.01, "aws_region": "memory-1"}
    )
    cloudless._providers = ProviderPool(cloudless.settings, opener=account.open)
    return account


def somebody_elses() -> Instance:
    tags = {TAG_OWNER: "eve", "ogc:scope": "theirs", "ogc:layout": "web"}
    return Instance(id=FOREIGN, state=InstanceState.RUNNING, token="t", launch_index=0, tags=tags)


def of(layout: Layout, **changes: Any) -> Layout:
    return layout.model_copy(update={"scripts": None, "region": "memory-1"} | changes)


async def write(app: App, node_ids: Iterable[int], **values: Any) -> None:
    assert app.engine is not None
    async with app.engine.transaction() as connection:
        await connection.execute(update(Node).where(Node.id.in_(list(node_ids))).values(**values))


async def lose_the_database(app: App) -> None:
    """What `ogc init` makes anew: the same user, without a node, in a database that never was before."""
    assert app.engine is not None
    async with app.engine.transaction() as connection:
        await connection.execute(delete(Node))
        await connection.execute(update(User).values(scope="made-a-minute-ago"))


def told(result: ReapResult) -> dict[str, list[str]]:
    finds: dict[str, list[str]] = {}
    for each in result.finds:
        finds.setdefault(each.kind, []).append(each.id)
    return finds


async def launched(app: App, layout: Layout, scale: int = 1) -> list[int]:
    return list(await actions.launch_async([of(layout, scale=scale)], app=app))


async def ids_of(app: App, node_ids: Iterable[int]) -> list[str]:
    wanted = set(node_ids)
    return [str(node.instance_id) for node in await actions.nodes_async(app=app) if node.id in wanted]


async def test_a_lost_database_is_listed_whole_wherever_it_was_and_strays_end_it(
    cloudless: App, account: Account, layout: Layout
) -> None:
    await launched(cloudless, layout, 2)
    elsewhere = await actions.launch_async([of(layout, region=ELSEWHERE, name="far", scale=3)], app=cloudless)
    # Ids are unique in an account, as they are not in these doubles.
    account[ELSEWHERE].instances = {
        f"{key}-far": replace(each, id=f"{key}-far") for key, each in account[ELSEWHERE].instances.items()
    } | {FOREIGN: somebody_elses()}
    machines = account.living() - {FOREIGN}
    assert len(machines) == 2 + len(elsewhere)
    await lose_the_database(cloudless)

    listed = await actions.reap_async(dry_run=True, app=cloudless)
    assert {each.id for each in listed.finds} == machines
    assert {each.kind for each in listed.finds} == {FindKind.STRAY}
    assert all("another database" in each.reason for each in listed.finds)
    assert [each.provider for each in listed.not_looked_at] == ["google"]
    assert listed.ok, "a cloud that was never used is no failure"

    kept = await actions.reap_async(app=cloudless)
    assert (kept.ended, account.living()) == ((), machines | {FOREIGN})
    ended = await actions.reap_async(strays=True, app=cloudless)
    assert set(ended.ended) == machines
    assert ended.ok
    assert account.living() == {FOREIGN}


async def test_what_is_overdue_by_record_ends_and_what_is_healthy_is_no_find(
    cloudless: App, account: Account, layout: Layout
) -> None:
    over, late, healthy = await launched(cloudless, layout, 3)
    await write(cloudless, [over], ends_at=datetime.now(UTC) - HOUR)
    # Its machine may be about to end by itself.
    await write(cloudless, [late], ends_at=datetime.now(UTC) - timedelta(seconds=5))
    (machine,) = await ids_of(cloudless, [over])

    listed = await actions.reap_async(dry_run=True, app=cloudless)
    assert told(listed) == {"overdue": [machine]}
    (find,) = listed.finds
    assert (find.node_id, find.command) == (over, "ogc reap --yes")
    assert find.reason == "its time was over 1h ago, still there"
    assert machine in account.living()

    assert (await actions.reap_async(app=cloudless)).ended == (machine,)
    assert account.living() == {*await ids_of(cloudless, [late, healthy]), FOREIGN}
    states = {node.id: node.state for node in await actions.nodes_async(app=cloudless)}
    assert states == {over: NodeState.TERMINATED, late: NodeState.RUNNING, healthy: NodeState.RUNNING}


async def test_each_kind_is_told_with_what_ends_it_and_only_strays_end_what_is_not_over(
    cloudless: App, account: Account, layout: Layout
) -> None:
    still, unspecified, dropped, leaked = await launched(cloudless, layout, 4)
    region = account["memory-1"]
    machines = {node.id: str(node.instance_id) for node in await actions.nodes_async(app=cloudless)}
    region.instances[machines[still]] = replace(region.instances[machines[still]], state=InstanceState.STOPPED)
    await write(cloudless, [unspecified], layout="b")
    await actions.teardown_async([dropped], only_db=True, app=cloudless)
    await write(cloudless, [leaked], state=str(NodeState.FAILED))
    over = str(int(datetime.now(UTC).timestamp()) - 900)
    leak = region.instances[machines[leaked]]
    region.instances[leak.id] = replace(leak, tags={**leak.tags, TAG_ENDS: over})
    region.volumes = [Volume("vol-web", "web", 8, _scope(region)), Volume("vol-gone", "gone", 8, _scope(region))]
    region.volumes += [Volume("vol-theirs", "web", 8, "another")]
    spec = Spec(name="test", ssh_keys=layout.ssh_keys, layouts=(of(layout),))

    listed = await actions.reap_async(dry_run=True, spec=spec, app=cloudless)
    assert told(listed) == {
        "stopped": [machines[still]],
        "no spec": [machines[unspecified]],
        "let go": [machines[dropped]],
        "stray": [machines[leaked]],
        "volume": ["vol-gone", "vol-theirs"],
    }
    finds = {each.id: each for each in listed.finds}
    assert finds[machines[still]].command.startswith("ogc rm ogc-web-")
    assert finds[machines[unspecified]].command == "ogc rm --layout b"
    assert finds[machines[leaked]].reason.endswith("its time was over 15m ago")
    assert _ending(listed.finds, "ogc reap --strays") == {
        machines[dropped],
        machines[leaked],
        "vol-gone",
        "vol-theirs",
    }

    assert (await actions.reap_async(spec=spec, app=cloudless)).ended == ()
    one = await actions.reap_async(strays=True, only=[machines[leaked]], spec=spec, app=cloudless)
    assert one.ended == (machines[leaked],)
    rest = await actions.reap_async(strays=True, spec=spec, app=cloudless)
    assert set(rest.ended) == {machines[unspecified], machines[dropped], "vol-gone", "vol-theirs"}
    assert account.living() == {machines[still], FOREIGN}
    assert [each.id for each in region.volumes] == ["vol-web"]


def _scope(region: Region) -> str:
    return next(each.tags["ogc:scope"] for each in region.instances.values() if each.id != FOREIGN)


def _ending(finds: Iterable[Find], command: str) -> set[str]:
    return {each.id for each in finds if each.command == command}


async def test_regions_that_are_not_told_are_made_up_for_by_those_known_and_a_warning(
    cloudless: App, account: Account, layout: Layout
) -> None:
    await launched(cloudless, layout)
    await lose_the_database(cloudless)
    account["memory-1"].refusals["regions"] = [REFUSED]
    listed = await actions.reap_async(dry_run=True, app=cloudless)
    assert len(listed.finds) == 1
    (warning,) = listed.warnings
    assert "only those on record, in the spec and in the settings were looked at (memory-1)" in warning
    assert listed.ok


async def test_a_place_that_does_not_answer_is_told_and_keeps_no_other_from_being_listed(
    cloudless: App, account: Account, layout: Layout
) -> None:
    await launched(cloudless, layout)
    await lose_the_database(cloudless)
    account[ELSEWHERE].refusals["list_owned"] = [SILENT]
    listed = await actions.reap_async(strays=True, app=cloudless)
    assert len(listed.ended) == 1
    assert not listed.ok
    assert [(each.provider, each.region) for each in listed.not_looked_at if each.is_used] == [("aws", ELSEWHERE)]


async def test_a_region_that_an_organization_denies_is_told_and_is_no_failure_where_nothing_of_ours_is_known_to_be(
    cloudless: App, account: Account, layout: Layout
) -> None:
    (node_id,) = await launched(cloudless, layout)
    account[ELSEWHERE].refusals["list_owned"] = [REFUSED]
    listed = await actions.reap_async(dry_run=True, app=cloudless)
    assert (ELSEWHERE, False) in [(each.region, each.is_used) for each in listed.not_looked_at]
    assert listed.ok
    await write(cloudless, [node_id], region=ELSEWHERE)
    account[ELSEWHERE].refusals["list_owned"] = [REFUSED]
    assert not (await actions.reap_async(dry_run=True, app=cloudless)).ok


async def test_a_region_that_had_nodes_once_and_is_closed_now_is_told_and_is_no_failure(
    cloudless: App, account: Account, layout: Layout
) -> None:
    """Where the cloud tells its regions, one that it does not tell holds nothing."""
    (node_id,) = await launched(cloudless, layout)
    await actions.teardown_async(node_id, app=cloudless)
    await write(cloudless, [node_id], region="closed")
    account.closed["closed"] = Region("closed", account)
    refusals = account.closed["closed"].refusals
    refusals["list_owned"] = [REFUSED, REFUSED]
    listed = await actions.reap_async(dry_run=True, app=cloudless)
    assert ("closed", False) in [(each.region, each.is_used) for each in listed.not_looked_at]
    assert listed.ok
    account["memory-1"].refusals["regions"] = [REFUSED]
    assert not (await actions.reap_async(dry_run=True, app=cloudless)).ok


async def test_a_node_that_a_living_process_holds_is_not_ended(
    cloudless: App, account: Account, layout: Layout
) -> None:
    (node_id,) = await launched(cloudless, layout)
    await write(cloudless, [node_id], ends_at=datetime.now(UTC) - HOUR)
    assert cloudless.engine is not None
    await held(cloudless.engine, [node_id])
    result = await actions.reap_async(app=cloudless)
    assert [type(each.error) for each in result.failures if hasattr(each, "error")] == [errors.NodeBusy]
    assert result.ended == ()
    assert len(account.living()) == 2


async def test_nodes_of_another_account_are_told_and_left_alone(
    cloudless: App, account: Account, layout: Layout
) -> None:
    (node_id,) = await launched(cloudless, layout)
    await write(cloudless, [node_id], ends_at=datetime.now(UTC) - HOUR, account="another", instance_id="i-theirs")
    account["memory-1"].instances = {FOREIGN: somebody_elses()}
    result = await actions.reap_async(strays=True, app=cloudless)
    (failure,) = result.failures
    assert isinstance(failure, errors.WrongAccount)
    assert (failure.theirs, result.finds, result.ok) == ("another", (), False)
