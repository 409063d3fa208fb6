"""What time it is in a cloud, by the dates of its replies: its deadlines are of its own clock."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from ogc_async.errors import ProviderError
from ogc_async.types import Instance


class ReplyDates:
    """The ``Date`` of the newest reply (RFC 9110, 6.6.1): to the second, and ``None`` before the first one."""

    def __init__(self) -> None:
        self.newest: datetime | None = None

    def note(self, header: object) -> None:
        """Take a reply's header in; one that is missing, or no date, changes nothing."""
        try:
            self.newest = parsedate_to_datetime(str(header)).astimezone(UTC)
        except (ValueError, OverflowError):
            return

    def on_all(self, machines: Iterable[Instance]) -> list[Instance]:
        """The machines of a list that came a moment ago, each with that moment."""
        return [replace(each, seen_at=self.newest) for each in machines]

    def on(self, answers: Mapping[str, Instance | ProviderError]) -> dict[str, Instance | ProviderError]:
        """The answers of a moment ago, each machine with the moment at which it was so."""
        return {
            key: replace(each, seen_at=self.newest) if isinstance(each, Instance) else each
            for key, each in answers.items()
        }
