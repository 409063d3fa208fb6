"""Ours: one ``deploy_async``, every step on record in the embedded database."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import ogc_async.actions.deploy_nodes  # noqa: F401  # nobody's imports count here, and this one comes when it is needed
from ogc_async import actions, db
from ogc_async.db.claims import release_nodes
from ogc_async.db.holds import Hold
from ogc_async.db.moves import asked, move_nodes, running
from ogc_async.db.nodes import NodeDraft, pin_host_keys, plan_nodes, set_usernames
from ogc_async.settings import Settings
from ogc_async.spec import Layout
from ogc_async.state import App
from ogc_async.types import Instance, InstanceState, NodeSnapshot

LAUNCHER = "launcher"


def prepare(job: dict[str, Any]) -> dict[int, str]:
    """The servers on record, as a launch leaves its nodes: running, with their addresses and host keys.

    Their ids are what the caller of a launch has in its hands; the others have the hosts' addresses.
    """
    return asyncio.run(_put_on_record(job))


def race(job: dict[str, Any], addresses: dict[int, str]) -> dict[str, str]:
    """Each host's output."""
    return asyncio.run(_deploy(job, addresses))


async def _deploy(job: dict[str, Any], addresses: dict[int, str]) -> dict[str, str]:
    async with _application(job) as app:
        results = await actions.deploy_async(addresses, app=app)
        return {addresses[each.node_id]: each.output if each else str(each.error) for each in results}


async def _put_on_record(job: dict[str, Any]) -> dict[int, str]:
    hosts = job["hosts"]
    layout = _layout(job)
    async with _application(job) as app:
        engine = app.engine
        assert engine is not None
        await db.migrate_async(engine)
        user, _ = await actions.create_user_async("Bench", app=app)
        drafts = [
            NodeDraft(
                name=f"bench-{number}",
                layout="bench",
                provider="aws",
                region="us-east-2",
                token="bench",
                launch_index=number,
                ssh_port=host["port"],
                spec=layout.as_dict(),
                worker=LAUNCHER,
                claimed_for="launch",
            )
            for number, host in enumerate(hosts)
        ]
        nodes = await plan_nodes(engine, user.id, drafts)
        ids = [node.id for node in nodes]
        hold = Hold(LAUNCHER, {node.id: node.fence for node in nodes})
        await move_nodes(engine, ids, asked(), hold)
        await set_usernames(engine, dict.fromkeys(ids, job["username"]))
        pairs = list(zip(nodes, hosts, strict=True))
        await move_nodes(engine, ids, running({node.id: _instance(node, host) for node, host in pairs}), hold)
        await pin_host_keys(engine, {node.id: host["host_key"] for node, host in pairs})
        await release_nodes(engine, [hold])
        return {node.id: host["address"] for node, host in pairs}


def _instance(node: NodeSnapshot, host: dict[str, Any]) -> Instance:
    return Instance(
        id=f"i-{node.id}",
        state=InstanceState.RUNNING,
        token=node.token,
        launch_index=node.launch_index,
        public_ip=host["address"],
    )


def _layout(job: dict[str, Any]) -> Layout:
    return Layout.from_dict(
        {
            "name": "bench",
            "provider": "aws",
            "runs-on": "ubuntu-2404",
            "instance-size": "t3.small",
            "username": job["username"],
            "ssh-keys": {"private": job["key"]},
            "scripts": job["folder_to_push"],
            "scale": len(job["hosts"]),
        }
    )


def _application(job: dict[str, Any]) -> App:
    nowhere = {"aws_access_key_id": "unused", "aws_secret_access_key": "unused", "aws_region": "us-east-2"}
    settings = Settings(_env_file=None, **nowhere)
    return App(engine=db.connect(f"sqlite:///{Path(job['folder']) / 'ogc.db'}", settings=settings), settings=settings)
