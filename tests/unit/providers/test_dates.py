"""A cloud's own clock, by the dates of its replies."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from ogc_async.errors import NotFound
from ogc_async.providers.dates import ReplyDates
from ogc_async.types import Instance, InstanceState

SAID = "Sat, 31 Jan 2026 12:30:00 GMT"
AT = datetime(2026, 1, 31, 12, 30, tzinfo=UTC)


@pytest.mark.parametrize("header", [None, "", "soon", "Sat, 99 Jan 2026 12:30:00 GMT", 3, b"x"])
def test_what_is_no_date_leaves_the_one_before(header: object) -> None:
    dates = ReplyDates()
    dates.note(header)
    assert dates.newest is None
    dates.note(SAID)
    dates.note(header)
    assert dates.newest == AT


def test_machines_are_told_with_the_moment_and_errors_as_they_are() -> None:
    gone = Instance(id="i-1", state=InstanceState.TERMINATED, token="", launch_index=0)
    refused = NotFound("no", provider="aws", operation="DescribeInstances")
    dates = ReplyDates()
    dates.note(SAID)
    answers = dates.on({"i-1": gone, "i-2": refused})
    assert isinstance(answers["i-1"], Instance)
    assert (answers["i-1"].seen_at, answers["i-2"]) == (AT, refused)
