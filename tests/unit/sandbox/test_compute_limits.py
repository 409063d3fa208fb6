"""Compute Engine's quotas a minute."""

from __future__ import annotations

import pytest

from ogc_async.sandbox.compute.errors import Refused
from ogc_async.sandbox.compute.limits import Group, Minutes


def test_a_minute_is_the_clocks_not_the_callers() -> None:
    now = 59.0
    minutes = Minutes("project", lambda: now)
    for _ in range(Group.HEAVY_READ.per_minute):
        minutes.take(Group.HEAVY_READ, "us-central1")
    with pytest.raises(Refused) as caught:
        minutes.take(Group.HEAVY_READ, "us-central1")
    body = caught.value.body()["error"]
    assert (body["code"], body["errors"][0]["reason"]) == (403, "rateLimitExceeded")
    assert "Quota exceeded for quota metric 'Heavy-weight read requests' and limit" in body["message"]
    assert body["details"][0]["reason"] == "RATE_LIMIT_EXCEEDED"
    minutes.take(Group.HEAVY_READ, "us-east1")
    minutes.take(Group.READ, "us-central1")
    now = 60.0
    minutes.take(Group.HEAVY_READ, "us-central1")
