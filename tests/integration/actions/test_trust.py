"""First contact on Compute Engine: the host key shown is the one that the machine has published, or nothing runs."""

from __future__ import annotations

import asyncssh
import pytest

from ogc_async import actions
from ogc_async.actions import trust
from ogc_async.errors import HostKeyChanged, InvalidRequest
from ogc_async.providers.google.provider import GoogleProvider
from ogc_async.spec import Layout
from ogc_async.state import App
from tests.integration.actions.common import changed, recorded

GOOGLE = {"provider": "google", "runs_on": "debian-12", "instance_size": "e2-small"}


async def test_the_published_key_is_the_one_shown_and_goes_on_record(
    app: App, layout: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[tuple[str, ...]] = []
    ask = GoogleProvider.published_host_keys

    async def listen(self: GoogleProvider, instance_id: str) -> tuple[str, ...]:
        told.append(await ask(self, instance_id))
        return told[-1]

    monkeypatch.setattr(GoogleProvider, "published_host_keys", listen)
    node_id = await actions.launch_async(changed(layout, **GOOGLE), app=app)
    assert await actions.exec_async(node_id, "true", app=app)
    assert await actions.exec_async(node_id, "true", app=app)
    (node,) = await actions.nodes_async(app=app)
    assert told == [(node.host_key,)], "asked once, at first contact"


async def test_a_key_that_was_not_published_is_refused_and_nothing_runs_there(
    app: App, layout: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = asyncssh.generate_private_key("ssh-ed25519").export_public_key().decode().strip()

    async def another(_self: GoogleProvider, _instance_id: str) -> tuple[str, ...]:
        return (other,)

    monkeypatch.setattr(GoogleProvider, "published_host_keys", another)
    node_id = await actions.launch_async(changed(layout, **GOOGLE), app=app)
    with pytest.raises(HostKeyChanged, match="its machine has published SHA256:"):
        await actions.exec_async(node_id, "true", app=app)
    assert await recorded(app, node_id) == []
    (node,) = await actions.nodes_async(app=app)
    assert node.host_key is None


@pytest.mark.parametrize("is_refused", [True, False])
async def test_where_the_cloud_does_not_tell_the_first_key_is_pinned(
    app: App, layout: Layout, monkeypatch: pytest.MonkeyPatch, is_refused: bool
) -> None:
    async def say_nothing(_self: GoogleProvider, _instance_id: str) -> tuple[str, ...]:
        if is_refused:
            raise InvalidRequest("not allowed", provider="google", operation="instances.getGuestAttributes")
        return ()

    monkeypatch.setattr(trust, "PAUSE_S", 0)
    monkeypatch.setattr(GoogleProvider, "published_host_keys", say_nothing)
    node_id = await actions.launch_async(changed(layout, **GOOGLE), app=app)
    assert await actions.exec_async(node_id, "true", app=app)
    (node,) = await actions.nodes_async(app=app)
    assert node.host_key is not None
