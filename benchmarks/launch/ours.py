"""Ours: one ``launch_async``, every node on record in the embedded database."""

from __future__ import annotations

import asyncio
from importlib import import_module
from pathlib import Path
from typing import Any

from ogc_async import actions, db
from ogc_async.settings import Settings
from ogc_async.spec import Layout
from ogc_async.state import App


def prepare(job: dict[str, Any]) -> None:
    """An empty database with a user, as ``ogc init`` leaves it; where there is one already, it is gone on with."""
    # Imports are not raced, and a provider is imported when it is first asked for.
    import_module(f"ogc_async.providers.{job.get('provider', 'aws')}.provider")
    asyncio.run(_initialize(job))


def race(job: dict[str, Any], _: None) -> list[str]:
    """The machines' addresses."""
    return asyncio.run(_launch(job))


async def _initialize(job: dict[str, Any]) -> None:
    async with application(job) as app:
        assert app.engine is not None
        await db.migrate_async(app.engine)
        await actions.create_user_async("Bench", app=app)


async def _launch(job: dict[str, Any]) -> list[str]:
    async with application(job) as app:
        launched = set(await actions.launch_async([layout(job)], app=app))
        nodes = await actions.nodes_async(app=app)
        return [node.public_ip for node in nodes if node.id in launched and node.public_ip]


def application(job: dict[str, Any]) -> App:
    """The product, led to the pretend cloud by its variables; its pauses pass as fast as time does there."""
    values = {name.lower(): value for name, value in job["environment"].items()}
    scaled = {"ogc_poll_s": 1.0 / job["time_scale"], **job.get("settings", {})}
    settings = Settings(_env_file=None, **values, **scaled)
    folder = Path(job.get("data", job["folder"]))
    return App(engine=db.connect(f"sqlite:///{folder / 'ogc.db'}"), settings=settings)


def layout(job: dict[str, Any]) -> Layout:
    """The one layout of the race."""
    return Layout.from_dict(
        {
            "name": job["name"],
            "provider": job.get("provider", "aws"),
            "runs-on": job["image"],
            "username": "ubuntu",
            "instance-size": job["size"],
            "ssh-keys": {"private": job["key"]},
            "scale": job["count"],
        }
    )
