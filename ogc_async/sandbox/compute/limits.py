"""Compute Engine's rate quotas: so many calls a group in each fixed minute, by region or for the whole project.

Source: https://cloud.google.com/compute/api-quota (the figures of its older version; newer ones are shown only in the
console)
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from enum import Enum

from ogc_async.sandbox.compute.errors import SERVICE, Refused

MINUTE_S = 60


class Group(Enum):
    """A group of methods that share a quota: its name, and calls a minute."""

    WRITE = ("Queries", 1500)
    READ = ("Read requests", 1500)
    LIST = ("List requests", 1500)
    OPERATION_READ = ("Operation read requests", 1500)
    HEAVY_READ = ("Heavy-weight read requests", 750)
    SERIAL_PORT = ("Get serial port output requests", 1500)
    GLOBAL_HEAVY_READ = ("Global heavy-weight read requests", 1500)
    GLOBAL_WRITE = ("Global queries", 1500)
    GLOBAL_READ = ("Global read requests", 1500)

    @property
    def metric(self) -> str:
        """Its name in messages."""
        return self.value[0]

    @property
    def per_minute(self) -> int:
        """Calls a minute."""
        return self.value[1]


class Minutes:
    """Counts calls; each minute of the clock begins anew."""

    def __init__(self, project: str, clock: Callable[[], float]) -> None:
        self._project = project
        self._clock = clock
        self._minute = -1
        self._counts: Counter[tuple[Group, str]] = Counter()

    def take(self, group: Group, region: str) -> None:
        """Count one call; the region is "" for the whole project's. Raises :class:`Refused`."""
        minute = int(self._clock() // MINUTE_S)
        if minute != self._minute:
            self._minute = minute
            self._counts.clear()
        if self._counts[group, region] >= group.per_minute:
            raise self._exceeded(group, region)
        self._counts[group, region] += 1

    def _exceeded(self, group: Group, region: str) -> Refused:
        limit = f"{group.metric} per minute{' per region' if region else ''}"
        consumer = f"projects/{self._project}"
        message = (
            f"Quota exceeded for quota metric '{group.metric}' and limit '{limit}' of service '{SERVICE}' "
            f"for consumer '{consumer}'."
        )
        metadata = {
            "service": SERVICE,
            "consumer": consumer,
            "quota_metric": f"{SERVICE}/{group.name.lower()}",
            "quota_limit": limit,
            "quota_limit_value": str(group.per_minute),
            "quota_location": region or "global",
        }
        info = {"reason": "RATE_LIMIT_EXCEEDED", "domain": "googleapis.com", "metadata": metadata}
        return Refused("rateLimitExceeded", message, info=info)
