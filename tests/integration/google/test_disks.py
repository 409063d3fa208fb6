"""A disk that its machine left behind is known by its labels, and goes with its layout."""

from __future__ import annotations

from collections.abc import AsyncIterator
from uuid import uuid4

import pytest

from ogc_async.providers.google.provider import GoogleProvider
from ogc_async.types import DescribeRequest, Instance, InstanceState
from tests.cloud import Cloud
from tests.integration.actions.test_two_clouds import settings_of
from tests.integration.google.proxy import judged
from tests.integration.sandbox.google import ZONE, Google
from tests.timing import patiently
from tests.unit.providers.google.request import request


@pytest.fixture
async def provider(cloud: Cloud) -> AsyncIterator[GoogleProvider]:
    """Everything that is sent and said is judged."""
    async with judged(cloud.endpoint) as proxy:
        provider = GoogleProvider(settings_of(cloud, ogc_google_endpoint=proxy.url), "us-central1")
        yield provider
        await provider.aclose()
        assert proxy.judge.heard
        assert proxy.judge.faults == []


async def reach(provider: GoogleProvider, owner: str, machine: Instance, state: InstanceState) -> None:
    asked = DescribeRequest(owner=owner, scope=request().scope, instance_ids=(machine.id,))
    for _ in patiently(f"a machine that is {state}"):
        seen = (await provider.describe(asked)).get(machine.id)
        if seen is not None and seen.state is state:
            return


def keep_disk(google: Google, name: str) -> None:
    [disk] = google.instances.get(instance=name, project=google.project, zone=ZONE).disks
    where = {"instance": name, "project": google.project, "zone": ZONE}
    google.done(google.instances.set_disk_auto_delete_unary(**where, auto_delete=False, device_name=disk.device_name))


async def test_a_disk_that_a_machine_left_is_listed_and_goes_with_its_layout(
    provider: GoogleProvider, cloud: Cloud
) -> None:
    owner = f"owner-{uuid4().hex[:8]}"
    asked = request(owner=owner, names=(f"ogc-web-{uuid4().hex[:8]}",), token=str(uuid4()))
    [machine] = await provider.launch(asked, await provider.prepare(asked))
    assert isinstance(machine, Instance)
    await reach(provider, owner, machine, InstanceState.RUNNING)
    keep_disk(Google(cloud), machine.name)
    await provider.terminate([machine.id])
    await reach(provider, owner, machine, InstanceState.TERMINATED)

    [left] = await provider.list_volumes(owner)
    assert (left.id, left.layout, left.scope) == (machine.id, "web", asked.scope)
    assert left.size_gib > 0
    assert await provider.list_volumes(owner, "another") == []
    assert await provider.regions(owner) == ["us-central1"]

    await provider.release("web", owner=owner, scope=asked.scope)
    assert await provider.list_volumes(owner) == []
    assert await provider.regions(owner) == []
