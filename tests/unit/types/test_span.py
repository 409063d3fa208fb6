"""Spans of time are told in the units that matter."""

from __future__ import annotations

from datetime import timedelta

import pytest

from ogc_async.types.span import lasting


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        *((0, "0s"), (59.9, "59s"), (60, "1m"), (3599, "59m"), (3600, "1h")),
        *((11_520, "3h12m"), (86_400, "1d"), (93_600, "1d2h"), (-840, "14m")),
    ],
)
def test_a_span_is_its_one_or_two_largest_units(seconds: float, said: str) -> None:
    assert lasting(timedelta(seconds=seconds)) == said
