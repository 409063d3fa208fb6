from __future__ import annotations

from datetime import UTC, datetime

import pytest

from ogc_async.providers.aws.parsing import moment


@pytest.mark.parametrize(
    "text", ["2026-01-02T03:04:05.000Z", "2026-01-02T03:04:05+00:00", "Fri, 02 Jan 2026 03:04:05 GMT"]
)
def test_a_moment_is_read_as_it_is_written(text: str) -> None:
    assert moment(text) == datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
