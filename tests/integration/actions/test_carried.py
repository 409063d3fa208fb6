"""Tags and labels in the clouds, as the clouds' own clients read them, and nodes of releases that took others."""

from __future__ import annotations

from typing import Any

import pytest
from anyio.to_thread import run_sync
from sqlalchemy import update

from ogc_async import actions, errors
from ogc_async.db.models import Node
from ogc_async.spec import Layout
from ogc_async.state import App
from ogc_async.types import NodeState
from tests.cloud import Cloud
from tests.integration.actions.common import changed, witness
from tests.integration.actions.test_two_clouds import ON
from tests.integration.sandbox.test_google_client import Google

CARRIED: dict[str, dict[str, Any]] = {
    "aws": {
        "labels": {
            "Cost.Center": "Team Blue@Example / 17%",
            "größe": "日本",
            "k" * 128: "v" * 256,
            "Name": "mine",
            "none": "",
        },
        "tags": [f"component-{number:02}" for number in range(30)],
    },
    "google": {
        "labels": {"cost-center": "team_blue", "größe": "日本", "k" * 63: "9" * 63, "none": ""},
        "tags": [f"component-{number:02}" for number in range(30)],
    },
}
FULL = {"aws": 45, "google": 60}
"""How many labels a machine has room for beside this program's own."""

SEPARATOR = {"aws": ",", "google": "_"}


def _in_the_cloud(cloud: Cloud, provider: str, instance_id: str) -> list[dict[str, str]]:
    """What the machine carries, by a client of the cloud's own maker; of EC2, what its disk carries, too."""
    if provider == "google":
        google, (zone, name) = Google(cloud), instance_id.split("/")
        return [dict(google.instances.get(project=google.project, zone=zone, instance=name).labels)]
    with witness(cloud) as ec2:
        mine = [{"Name": "resource-id", "Values": [instance_id]}]
        disks = ec2.describe_volumes(Filters=[{"Name": "attachment.instance-id", "Values": [instance_id]}])["Volumes"]
        found = [ec2.describe_tags(Filters=mine)["Tags"], *(each["Tags"] for each in disks)]
    return [{each["Key"]: each["Value"] for each in tags} for tags in found]


@pytest.mark.parametrize("provider", ON)
@pytest.mark.parametrize("is_full", [False, True], ids=["odd", "full"])
async def test_what_a_spec_may_say_arrives_exactly(
    app: App, layout: Layout, cloud: Cloud, provider: str, is_full: bool
) -> None:
    full = {"labels": {f"k{number}": str(number) for number in range(FULL[provider])}, "tags": []}
    written = full if is_full else CARRIED[provider]
    node_id = await actions.launch_async({**changed(layout), **ON[provider], **written}, app=app)
    [node] = await actions.nodes_async(app=app)
    assert (node.id, list(node.tags), node.labels) == (node_id, written["tags"], written["labels"])
    assert node.instance_id is not None
    for carried in await run_sync(_in_the_cloud, cloud, provider, node.instance_id):
        ours = {key: value for key, value in carried.items() if key not in written["labels"]}
        assert carried == ours | written["labels"]
        packed = [ours[key] for key in sorted(ours, key=lambda key: (len(key), key)) if key[4:].startswith("tags")]
        assert SEPARATOR[provider].join(packed) == SEPARATOR[provider].join(written["tags"])
    await actions.teardown_async([node_id], app=app)


@pytest.mark.parametrize("provider", ON)
async def test_nodes_of_a_release_that_took_other_tags_and_labels_are_worked_with(
    app: App, layout: Layout, cloud: Cloud, provider: str
) -> None:
    old = {"tags": ["Front End", "x" * 300], "labels": {"Cost.Center" * 20: "Team Blue" * 50}}
    node_id = await actions.launch_async({**changed(layout), **ON[provider]}, app=app)
    [node] = await actions.nodes_async(app=app)
    assert app.engine is not None
    async with app.engine.transaction() as connection:
        values = {**old, "spec": {**node.spec, **old}}
        await connection.execute(update(Node).where(Node.id == node_id).values(**values))
    [listed] = await actions.nodes_async(app=app, tag="Front End")
    assert (list(listed.tags), listed.labels) == (old["tags"], old["labels"])
    [deployed] = await actions.deploy_async([node_id], app=app)
    assert deployed.ok
    assert "2-page.sh.mako" in {each.script for each in deployed.steps}
    assert (await actions.exec_async(node_id, "true", app=app)).ok
    assert (await actions.plan_async(app=app)).changes == ()
    with pytest.raises(errors.SpecError, match=r"layouts\.web\.labels\."):
        await actions.launch_async(listed.spec, app=app)
    assert await actions.teardown_async([node_id], app=app) == [node_id]
    assert {each.state for each in await actions.nodes_async(app=app)} == {NodeState.TERMINATED}
