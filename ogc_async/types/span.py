"""Spans of time as people read them."""

from __future__ import annotations

from datetime import timedelta

_DAY_S, _HOUR_S, _MINUTE_S = 86_400, 3_600, 60


def lasting(span: timedelta) -> str:
    """The span's length, whichever way it points, in its one or two largest units: ``6d``, ``3h12m``, ``14m``."""
    seconds = int(abs(span.total_seconds()))
    if seconds >= _DAY_S:
        return _two(seconds // _DAY_S, "d", seconds % _DAY_S // _HOUR_S, "h")
    if seconds >= _HOUR_S:
        return _two(seconds // _HOUR_S, "h", seconds % _HOUR_S // _MINUTE_S, "m")
    return f"{seconds // _MINUTE_S}m" if seconds >= _MINUTE_S else f"{seconds}s"


def _two(many: int, unit: str, few: int, smaller: str) -> str:
    return f"{many}{unit}{few}{smaller}" if few else f"{many}{unit}"
