"""What is found in an account beside the fleet that is at work, and what came of ending it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from ogc_async.errors import OgcError
from ogc_async.types.result import NodeFailure


class FindKind(StrEnum):
    """Why something is listed."""

    OVERDUE = "overdue"
    """A node's machine that still runs although its time to live is over."""
    STOPPED = "stopped"
    """A node's machine that stands still, and whose disk is paid for."""
    NO_SPEC = "no spec"
    """A node of a layout that the spec does not have."""
    LET_GO = "let go"
    """A machine whose row was given up on purpose, with `rm --only-db`."""
    STRAY = "stray"
    """A machine that no live row of this database stands for: another database's, a lost one's, or a leak."""
    VOLUME = "volume"
    """A volume that no machine has any more."""


class EndsWith(StrEnum):
    """What ends a find."""

    YES = "yes"
    """Any reap that ends something."""
    STRAYS = "strays"
    """A reap that was told to end strays too."""
    RM = "rm"
    """A teardown of its node, and no reap."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Find:
    """A machine or volume with this owner's tag. ``id`` is the cloud's.

    ``node`` is the name on record, "" where there is none; ``node_id`` is 0 where no row stands for it any more.

    ``since`` is when it came to be what it is: when its time was over, when it stopped, when it was let go of, and for
    all others when it was launched, as far as that is known. ``reason`` says the same to people, as of the listing.
    """

    kind: FindKind
    id: str
    provider: str
    region: str
    ends_with: EndsWith
    layout: str = ""
    scope: str = ""
    node_id: int = 0
    node: str = ""
    since: datetime | None = None
    reason: str = ""

    @property
    def command(self) -> str:
        """The command that ends it."""
        if self.ends_with is EndsWith.RM:
            return f"ogc rm {self.node}"
        if self.kind is FindKind.NO_SPEC:
            return f"ogc rm --layout {self.layout}"
        return "ogc reap --yes" if self.ends_with is EndsWith.YES else "ogc reap --strays"

    def __str__(self) -> str:
        what = f"{self.node} ({self.id})" if self.node else self.id
        return f"{self.kind}: {what} in {self.provider} {self.region}: {self.reason}"


@dataclass(frozen=True, slots=True)
class NotLookedAt:
    """A cloud, or a region of it, that could not be asked what it holds; ``region`` is "" for the whole cloud.

    One that ``is_used`` may hold something of ours: rows or the spec name it, or the cloud itself did.
    """

    provider: str
    region: str
    error: OgcError
    is_used: bool

    def __str__(self) -> str:
        # Errors name their cloud by themselves.
        return f"not looked at: {f'{self.provider} {self.region}: ' if self.region else ''}{self.error}"


@dataclass(frozen=True, slots=True)
class ReapResult:
    """Everything found, and ``ended``, the ids of those machines and volumes that the cloud says are gone now.

    ``warnings`` say what was looked at less closely than it should have been.
    """

    finds: tuple[Find, ...] = ()
    ended: tuple[str, ...] = ()
    failures: tuple[NodeFailure | OgcError, ...] = ()
    not_looked_at: tuple[NotLookedAt, ...] = ()
    warnings: tuple[str, ...] = ()

    @property
    def ok(self) -> bool:
        """All that was to end has ended, and every place was looked at that may hold something of ours."""
        return not self.failures and not any(each.is_used for each in self.not_looked_at)
