"""EC2 and Compute Engine side by side: one spec, one call, and the same words for the same troubles."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from ogc_async import actions, errors
from ogc_async.db import Engine
from ogc_async.db.users import create_user, current_user
from ogc_async.settings import Settings
from ogc_async.spec import Layout
from ogc_async.state import App
from ogc_async.types import NodeState
from tests.cloud import Cloud, running_sandbox

ON = {
    "aws": {"provider": "aws", "runs-on": "ubuntu-2404", "instance-size": "t3.small"},
    "google": {"provider": "google", "runs-on": "debian-12", "instance-size": "e2-small"},
}
ZONES = {"aws": ["us-east-2a", "us-east-2b"], "google": ["us-central1-a", "us-central1-b"]}


def on(provider: str, layout: Layout, **changes: Any) -> Layout:
    changed = {key.replace("_", "-"): value for key, value in changes.items()}
    return Layout.from_dict(layout.as_dict() | ON[provider] | {"name": f"on-{provider}"} | changed)


def settings_of(cloud: Cloud, **changes: Any) -> Settings:
    values = {name.lower(): value for name, value in cloud.environment.items()}
    return Settings(_env_file=None, **(values | {"ogc_poll_s": 0.1, "ogc_api_retry_s": 20} | changes))


@pytest.fixture
def app_on(database: Engine) -> Callable[..., Any]:
    """Opens apps on sandboxes of the test's own."""

    @asynccontextmanager
    async def open_(*options: str) -> AsyncIterator[tuple[App, Cloud]]:
        async with AsyncExitStack() as stack:
            cloud = stack.enter_context(running_sandbox("--boot", "0.1:0.3", *options))
            app = await stack.enter_async_context(App(engine=database, settings=settings_of(cloud)))
            await create_user(database, "Adam")
            yield app, cloud

    return open_


def living(cloud: Cloud) -> dict[str, list[str]]:
    """Ids of machines that are there, by provider."""
    gone = ("terminated", "shutting-down", "TERMINATED", "STOPPING")
    return {
        provider: [each["id"] for each in machines if each["state"] not in gone]
        for provider, machines in cloud.state()["instances"].items()
    }


async def test_one_call_serves_both_clouds_from_launch_to_nothing(app: App, layout: Layout, cloud: Cloud) -> None:
    layouts = [on("aws", layout, scale=2), on("google", layout, scale=3)]
    result = await actions.launch_async(layouts, app=app)
    result.raise_for_failures()
    nodes = {node.id: node for node in await actions.nodes_async(app=app)}
    assert [nodes[node_id].provider for node_id in result] == ["aws"] * 2 + ["google"] * 3
    assert all(await actions.deploy_async(result, app=app))
    said = await actions.exec_async(result, 'echo "$USER on $OGC_NODE_NAME"', app=app)
    assert [each.output for each in said] == [
        f"{'ubuntu' if nodes[node_id].provider == 'aws' else 'ogc'} on {nodes[node_id].name}\n" for node_id in result
    ]
    there = living(cloud)
    assert {node.instance_id for node in nodes.values()} <= {*there["aws"], *there["google"]}
    gone = await actions.teardown_async(result, app=app)
    assert list(gone) == list(result)
    assert not gone.failures
    assert not gone.leftovers
    there = living(cloud)
    assert {node.instance_id for node in nodes.values()}.isdisjoint({*there["aws"], *there["google"]})
    assert app.engine is not None
    scope = (await current_user(app.engine)).scope
    assert not [name for name in cloud.state()["key_pairs"] if scope[:8] in name]


async def test_the_firewall_of_a_google_layout_is_its_own_and_goes_with_its_last_node(
    app: App, layout: Layout, cloud: Cloud
) -> None:
    before = set(cloud.state()["firewalls"])
    ids = await actions.launch_async([on("google", layout, name="fire", scale=2)], app=app)
    (made,) = {each for each in cloud.state()["firewalls"] if each not in before}
    assert made.startswith("ogc-fire-")
    await actions.teardown_async(ids[0], app=app)
    assert made in cloud.state()["firewalls"]
    await actions.teardown_async(ids[1], app=app)
    assert made not in cloud.state()["firewalls"]


@pytest.mark.parametrize("provider", ON)
async def test_where_one_zone_has_no_room_the_next_one_is_used(
    provider: str, app_on: Callable[..., Any], layout: Layout
) -> None:
    first, second = ZONES[provider]
    async with app_on("--capacity", f"{first}=1") as (app, cloud):
        result = await actions.launch_async([on(provider, layout, scale=3, zones=[first, second])], app=app)
        result.raise_for_failures()
        nodes = await actions.nodes_async(app=app)
        assert sorted(str(node.zone) for node in nodes) == [first, second, second]
        assert sorted(str(node.instance_id) for node in nodes) == sorted(living(cloud)[provider])
        assert all(await actions.exec_async(result, "true", app=app))


@pytest.mark.parametrize("provider", ON)
async def test_where_no_zone_has_room_each_node_says_so_and_nothing_is_left(
    provider: str, app_on: Callable[..., Any], layout: Layout
) -> None:
    zones = ZONES[provider]
    async with app_on(*(word for zone in zones for word in ("--capacity", f"{zone}=0"))) as (app, cloud):
        result = await actions.launch_async([on(provider, layout, scale=2, zones=zones)], app=app)
        assert [type(each.error) for each in result.failures] == [errors.NoCapacity] * 2
        assert {node.state for node in await actions.nodes_async(app=app)} == {NodeState.FAILED}
        assert living(cloud)[provider] == []


@pytest.mark.parametrize("provider", ON)
async def test_machines_that_die_while_they_boot_are_failures_of_their_nodes(
    provider: str, app_on: Callable[..., Any], layout: Layout
) -> None:
    async with app_on("--late-deaths", "1") as (app, cloud):
        result = await actions.launch_async([on(provider, layout, scale=2)], app=app)
        assert not result
        assert [type(each.error) for each in result.failures] == [errors.NoCapacity] * 2
        assert living(cloud)[provider] == []


@pytest.mark.parametrize("provider", ON)
async def test_a_launch_whose_reply_was_lost_makes_every_machine_once(
    provider: str, app_on: Callable[..., Any], layout: Layout
) -> None:
    operation = {"aws": "RunInstances", "google": "instances.bulkInsert"}[provider]
    async with app_on("--fault", f"{operation}=lost-reply") as (app, cloud):
        result = await actions.launch_async([on(provider, layout, scale=4)], app=app)
        result.raise_for_failures()
        nodes = await actions.nodes_async(app=app)
        assert sorted(str(node.instance_id) for node in nodes) == sorted(living(cloud)[provider])
        assert len(nodes) == 4


BAD = [
    pytest.param({"runs_on": "projects/x/global/images/none"}, errors.NotFound, "'none' in x", id="image"),
    pytest.param({"runs_on": "debain-12"}, errors.InvalidRequest, "debian-12", id="image name"),
    pytest.param({"instance_size": "e2-colossal"}, errors.NoCapacity, "'e2-colossal'", id="machine type"),
    pytest.param({"arch": "arm64"}, errors.InvalidRequest, "is x86_64, not arm64", id="architecture"),
    pytest.param({"zones": ["us-central1-q"]}, errors.NotFound, "no zone 'us-central1-q'", id="zone"),
    pytest.param({"zones": ["us-east1-b"]}, errors.InvalidRequest, "not in region 'us-central1'", id="another region"),
    pytest.param({"region": "europe-west1"}, errors.InvalidRequest, "no zone is named", id="region without a zone"),
    pytest.param({"ingress": ["fd00::/8"]}, errors.InvalidRequest, "IPv6", id="IPv6 only"),
]


@pytest.mark.parametrize(("changes", "error", "says"), BAD)
async def test_what_compute_engine_refuses_fails_that_layout_and_costs_the_other_nothing(
    changes: dict[str, Any], error: type[Exception], says: str, app: App, layout: Layout, cloud: Cloud
) -> None:
    before = living(cloud)["google"]
    result = await actions.launch_async([on("google", layout, name="bad", scale=2, **changes), layout], app=app)
    assert [each.layout for each in result.failures] == ["bad", "bad"]
    assert all(isinstance(each.error, error) and says in str(each.error) for each in result.failures)
    assert len(result) == 1
    assert living(cloud)["google"] == before


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda folder: {"google_application_credentials": folder / "none.json"}, r"none\.json does not exist"),
        (lambda folder: {"google_application_credentials": written(folder, "{")}, "is not JSON"),
        (lambda folder: {"google_application_credentials": written(folder, '{"type": "magic"}')}, "'magic'"),
        (lambda _: {"google_application_credentials": None}, "GOOGLE_APPLICATION_CREDENTIALS"),
        (lambda _: {"google_datacenter": None}, "GOOGLE_DATACENTER"),
    ],
    ids=["missing file", "malformed file", "unknown type", "no file", "no zone"],
)
async def test_credentials_that_can_not_be_used_are_told_before_anything_is_made(
    change: Callable[[Path], dict[str, Any]], says: str, app: App, layout: Layout, cloud: Cloud, tmp_path: Path
) -> None:
    app.settings = settings_of(cloud, **change(tmp_path))
    with pytest.raises(errors.SettingsError, match=says):
        await actions.launch_async([layout, on("google", layout)], app=app)
    assert await actions.nodes_async(app=app) == []


def written(folder: Path, text: str) -> Path:
    path = folder / "credentials.json"
    path.write_text(text)
    return path


async def test_a_key_that_google_does_not_take_is_one_clear_error(
    app: App, layout: Layout, cloud: Cloud, tmp_path: Path
) -> None:
    data = json.loads(Path(cloud.environment["GOOGLE_APPLICATION_CREDENTIALS"]).read_text())
    other = written(tmp_path, json.dumps(data | {"client_email": "nobody@nowhere.iam.gserviceaccount.com"}))
    app.settings = settings_of(cloud, google_application_credentials=other)
    with pytest.raises(errors.Unauthorized, match="no access token") as caught:
        await actions.launch_async(on("google", layout), app=app)
    assert "PRIVATE KEY" not in str(caught.value)
    (node,) = await actions.nodes_async(app=app)
    assert node.state is NodeState.FAILED


async def test_a_project_that_does_not_exist_is_named(app: App, layout: Layout, cloud: Cloud) -> None:
    app.settings = settings_of(cloud, google_project="nobody-s")
    with pytest.raises(errors.ProviderError, match="nobody-s"):
        await actions.launch_async(on("google", layout), app=app)


async def test_an_api_that_is_not_enabled_says_what_to_do(app_on: Callable[..., Any], layout: Layout) -> None:
    async with app_on("--no-compute") as (app, cloud):
        with pytest.raises(errors.Unauthorized, match="enable the Compute Engine API"):
            await actions.launch_async(on("google", layout), app=app)
        assert living(cloud)["google"] == []


async def test_os_login_is_found_out_and_explained(app_on: Callable[..., Any], layout: Layout) -> None:
    async with app_on("--os-login") as (app, cloud):
        with pytest.raises(errors.InvalidRequest, match="OS Login"):
            await actions.launch_async(on("google", layout), app=app)
        assert cloud.state()["firewalls"] == []


async def test_a_layout_whose_names_would_be_too_long_is_refused_in_the_spec(layout: Layout) -> None:
    with pytest.raises(errors.SpecError, match="name: "):
        on("google", layout, name="x" * 60)
