"""Apps on one database, in processes of their own or not, keep the clouds' request limits together."""

from __future__ import annotations

from typing import Any

from anyio.to_thread import run_sync
from sqlalchemy import select

from ogc_async import actions, db
from ogc_async.db.models import PaceLevel
from ogc_async.spec import Layout
from ogc_async.state import App
from tests.cloud import Cloud
from tests.integration.actions.common import changed


async def levels(app: App) -> dict[str, Any]:
    """The rows, by bucket; the database is the test's own."""
    assert app.engine is not None
    async with app.engine.reading() as connection:
        rows: Any = (await connection.execute(select(PaceLevel.bucket, PaceLevel.tokens, PaceLevel.share))).all()
    return {row.bucket: row for row in rows}


async def test_what_one_launches_another_one_counts(app: App, layout: Layout) -> None:
    assert app.engine is not None
    await actions.launch_async([changed(layout, scripts=None, scale=3)], app=app)
    first = await levels(app)
    assert 997 <= first["RunInstances instances"].tokens < 998
    async with App(engine=db.connect(app.engine.url), settings=app.settings) as other:
        await actions.launch_async([changed(layout, name="other", scripts=None, scale=20)], app=other)
    assert (await levels(app))["RunInstances instances"].tokens < first["RunInstances instances"].tokens - 10


async def test_a_throttled_launch_slows_everybody_down_and_stays_in_its_zone(
    app: App, cloud: Cloud, layout: Layout
) -> None:
    refused = changed(layout, scripts=None, scale=3, zones=["us-east-2a", "us-east-2b"])
    await run_sync(plan_fault, cloud, "RunInstances=RequestLimitExceeded")
    result = await actions.launch_async([refused], app=app)
    assert result.ok
    assert {node.zone for node in await actions.nodes_async(app=app)} == {"us-east-2a"}
    found = await levels(app)
    assert found["RunInstances"].share == 0.5
    assert found["RunInstances instances"].tokens >= 997


def plan_fault(cloud: Cloud, fault: str) -> None:
    """The next call of that kind goes wrong."""
    assert cloud.plan(fault) == 1
