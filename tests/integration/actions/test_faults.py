"""For each fault of a cloud: the typed error, by node, and whether a repeat could help."""

from __future__ import annotations

from typing import Any

import pytest

from ogc_async import actions
from ogc_async.db import Engine
from ogc_async.db.users import create_user
from ogc_async.errors import (
    DeadlineExceeded,
    InvalidRequest,
    NoCapacity,
    OgcError,
    QuotaExceeded,
    ServiceUnavailable,
    Throttled,
    Unauthorized,
)
from ogc_async.spec import Layout
from ogc_async.state import App
from ogc_async.types import LIVE
from tests.cloud import running_sandbox
from tests.integration.actions.test_two_clouds import living, on, settings_of

FOR_EVER = "0:1000000"
IN_A_ZONE = {"aws": "us-east-2a", "google": "us-central1-a"}
PASSES, STAYS = True, False

CASES: list[tuple[str, list[str], dict[str, Any], type[OgcError], bool, str]] = [
    ("aws", ["--outage", FOR_EVER], {}, ServiceUnavailable, PASSES, "overloaded"),
    ("aws", ["--cut", FOR_EVER], {}, ServiceUnavailable, PASSES, "check the network"),
    ("aws", ["--lost-replies", "1"], {}, ServiceUnavailable, PASSES, "no answer"),
    ("aws", ["--latency", "RunInstances=60"], {"ogc_api_timeout_s": 1}, ServiceUnavailable, PASSES, "no answer"),
    ("aws", ["--throttling", "RunInstances=1"], {}, Throttled, PASSES, "Request limit exceeded"),
    ("aws", ["--capacity", "us-east-2a=0"], {}, NoCapacity, PASSES, "sufficient"),
    ("aws", ["--late-deaths", "1"], {}, NoCapacity, PASSES, "while booting"),
    ("aws", ["--boot", "1000"], {"ogc_boot_timeout_s": 0.5}, DeadlineExceeded, PASSES, "in time"),
    ("aws", ["--quota", "0"], {}, QuotaExceeded, STAYS, "limit"),
    ("aws", ["--deny", "RunInstances"], {}, Unauthorized, STAYS, "ec2:RunInstances"),
    ("aws", ["--fault", "RunInstances=InvalidParameterValue"], {}, InvalidRequest, STAYS, "planned"),
    ("google", ["--outage", FOR_EVER], {}, ServiceUnavailable, PASSES, ""),
    ("google", ["--cut", FOR_EVER], {}, ServiceUnavailable, PASSES, "check the network"),
    ("google", ["--lost-replies", "1"], {}, ServiceUnavailable, PASSES, "check the network"),
    ("google", ["--throttling", "instances.bulkInsert=1"], {}, Throttled, PASSES, "Rate Limit"),
    ("google", ["--capacity", "us-central1-a=0"], {}, NoCapacity, PASSES, "enough resources"),
    ("google", ["--late-deaths", "1"], {}, NoCapacity, PASSES, "enough resources"),
    ("google", ["--boot", "1000"], {"ogc_boot_timeout_s": 0.5}, DeadlineExceeded, PASSES, "in time"),
    ("google", ["--quota", "0"], {}, QuotaExceeded, STAYS, "INSTANCES"),
    ("google", ["--deny", "instances.bulkInsert"], {}, Unauthorized, STAYS, "GOOGLE_PROJECT"),
    ("google", ["--fault", "instances.bulkInsert=invalid"], {}, InvalidRequest, STAYS, "planned"),
]


@pytest.mark.parametrize("kind", ["sqlite"])
@pytest.mark.parametrize(
    ("provider", "options", "changes", "error", "is_retryable", "words"),
    CASES,
    ids=[f"{provider} {' '.join(options)}" for provider, options, *_ in CASES],
)
async def test_a_fault_is_told_by_node_with_its_reason_and_whether_a_repeat_could_help(
    provider: str,
    options: list[str],
    changes: dict[str, Any],
    error: type[OgcError],
    is_retryable: bool,
    words: str,
    database: Engine,
    layout: Layout,
) -> None:
    boot = [] if "--boot" in options else ["--boot", "0.1"]
    with running_sandbox(*boot, *options) as cloud:
        settings = settings_of(cloud, ogc_api_retry_s=0.3, **changes)
        async with App(engine=database, settings=settings) as app:
            await create_user(database, "Adam")
            wanted = on(provider, layout, scale=2, zones=[IN_A_ZONE[provider]])
            result = await actions.launch_async([wanted], app=app)
            nodes = {node.id: node for node in await actions.nodes_async(app=app)}
            on_record = await actions.nodes_async(app=app, states=LIVE)
        assert list(result) == []
        assert [type(each.error) for each in result.failures] == [error, error]
        assert [each.is_retryable for each in result.failures] == [is_retryable] * 2
        assert sorted(each.node_id for each in result.failures) == sorted(nodes)
        for each in result.failures:
            assert (each.name, each.layout) == (nodes[each.node_id].name, wanted.name)
            assert str(each).startswith(f"{each.name}: ")
            assert words in str(each)
        # Whatever there is, is on record: of a launch in doubt, and of machines that are being given back.
        assert len(living(cloud)[provider]) <= len(on_record)
