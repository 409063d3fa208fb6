"""Every error this package raises, in one tree.

OgcError
├── SettingsError                 the environment or .env is wrong or incomplete
│   ├── MissingCredentials        a provider is needed and a variable it needs is not set
│   ├── WrongAccount              the credentials are of another account than the nodes: ``.ours .theirs``
│   └── KeyFileError              an SSH key file is missing, unreadable, encrypted or malformed
├── SpecError                     the spec has problems: ``.problems`` holds all of them
├── HandoverError                 a fleet's file is not fit to be taken over: ``.problems`` holds what is wrong
├── ScriptsError                  a script folder is missing, unreadable or empty of sense
├── TemplateError                 a template did not render: ``.script`` and ``.line``
├── StoreError                    the database
│   ├── NotConnected              no engine: ``db.connect()`` was not called
│   ├── DatabaseUnavailable       the server does not answer, or refuses us
│   ├── NotMigrated               tables are missing or older than this version
│   ├── SchemaTooNew              a newer release has migrated the tables: ``.recorded .known``
│   ├── ForeignTables             tables of our names that no migration of ours is on record for
│   ├── NoUser                    the one user record was not created yet
│   ├── UnknownNode               no node has that id or name
│   ├── AmbiguousNode             a part of a name that several nodes have
│   ├── NothingMatched            no node has what was asked for: a layout, a tag, a state
│   ├── NotRunning                the node is not in a state for what was asked
│   ├── CannotExtend              the node's end cannot be put off: it has none, or none that can be moved
│   ├── UnfitRecord               a node's row holds what other programs would misread: ``.node .field``
│   ├── StaleNode                 somebody else moved the node on in the meantime
│   ├── NodeBusy                  another process works on the node: ``.holder .claimed_for .since``
│   └── ClaimLost                 another process took the node over from this one
├── ProviderError                 a cloud said no: ``.provider .operation .code .request_id .retryable``
│   ├── Unauthorized              bad credentials, or not allowed to
│   ├── Throttled                 too many requests; retried within the settings already
│   ├── ServiceUnavailable        the cloud's own trouble, or the network's; retried already
│   │   └── UnreadableReply       what came back is not what the operation answers with
│   ├── NoCapacity                no machines of that kind in that zone just now
│   ├── QuotaExceeded             the account's quota is used up
│   ├── InvalidRequest            the request can never succeed as it is
│   ├── NotFound                  the image, instance or other resource does not exist
│   ├── TokenSpent                an idempotency token that can not be used (again) for this request
│   ├── ResourceInUse             something still depends on what was to be removed
│   ├── InstanceDied              the instance was launched and went away before it was ready
│   │   └── InstanceStopped       the instance stopped before it was ready, and is still there
│   ├── NoPublicAddress           the instance runs, and its network gives it no public address
│   └── OutcomeUnknown            nobody can say what became of a machine: its node stays on record
├── RemoteError                   a node over SSH: ``.node``
│   ├── Unreachable               no SSH session within the deadline
│   ├── KeyRefused                the node does not accept the layout's key or user
│   ├── HostKeyChanged            the node shows another host key than the one on record
│   ├── ConnectionLost            the session broke while work was going on
│   ├── TransferFailed            files did not arrive
│   ├── NotReady                  the layout's gate, or a package manager's lock, did not open in time
│   └── StepTimeout               a step ran longer than its timeout
├── NotConfirmed                  something is to be removed, and nobody has agreed to it
├── DeadlineExceeded              a wait ended before what was waited for
└── InsideEventLoop               a synchronous twin was called where a coroutine must be awaited

A message says what is wrong, where, and what to do.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

HANDOVER_TOLD = 20
"""Problems of a fleet's file that fit on a screen; whoever writes one by hand mends the first ones first."""


class OgcError(Exception):
    """Whatever this package raises on purpose."""


class SettingsError(OgcError):
    """The environment or ``.env`` is wrong or incomplete."""


class MissingCredentials(SettingsError):
    """A provider is needed, and ``variable`` is not set."""

    def __init__(self, provider: str, variable: str, hint: str = "") -> None:
        self.provider = provider
        self.variable = variable
        detail = f" {hint}" if hint else ""
        super().__init__(f"{provider}: {variable} is not set; put it in the environment or in .env.{detail}")


class KeyFileError(SettingsError):
    """An SSH key file is missing, unreadable, passphrase-protected or malformed."""

    def __init__(self, path: object, reason: str) -> None:
        self.path = str(path)
        super().__init__(f"SSH key {path}: {reason}")


class WrongAccount(SettingsError):
    """The credentials see another account (or project) than the one that owns these nodes' machines.

    ``theirs`` is the nodes' account, ``ours`` that of the credentials. Nothing was concluded, and nothing changed.
    """

    def __init__(self, provider: str, theirs: str, ours: str, nodes: Iterable[str] = ()) -> None:
        self.provider = provider
        self.theirs = theirs
        self.ours = ours
        self.nodes = tuple(nodes)
        some = ", ".join(self.nodes[:3]) + (f" and {len(self.nodes) - 3} more" if len(self.nodes) > 3 else "")
        of_what = f"{some}: " if some else ""
        super().__init__(
            f"{of_what}launched in {provider} account {theirs}, and the credentials in use are of account {ours}; "
            f"nothing was changed: use the credentials of {theirs}"
        )


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing wrong in a spec. ``where`` is the dotted key, ``line`` and ``column`` count from 1 (0: unknown)."""

    where: str
    message: str
    file: str = ""
    line: int = 0
    column: int = 0

    def __str__(self) -> str:
        at = f"{self.file}:{self.line}:{self.column}: " if self.line else f"{self.file}: " if self.file else ""
        return f"{at}{self.where}: {self.message}" if self.where else f"{at}{self.message}"


class SpecError(OgcError):
    """The spec has problems; all of them are in ``problems``, in the order of the file."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(map(str, self.problems)))


class HandoverError(OgcError):
    """A fleet's file is not what ``export-env`` writes, and nothing of it was taken over.

    ``problems`` are in the order of the file, each with the way to the value: ``nodes[3].name``.
    """

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(problems)
        more = len(self.problems) - HANDOVER_TOLD
        told = [*map(str, self.problems[:HANDOVER_TOLD]), *([f"and {more} more problems"] if more > 0 else [])]
        super().__init__("\n".join([*told, "nothing was taken over; let its writer export the fleet again"]))


class ScriptsError(OgcError):
    """A script folder or one of its files can not be used."""


class TemplateError(OgcError):
    """A template did not render; ``line`` counts from 1 in ``script`` (0: unknown)."""

    def __init__(self, script: str, line: int, reason: str) -> None:
        self.script = script
        self.line = line
        super().__init__(f"{script}:{line}: {reason}" if line else f"{script}: {reason}")


class StoreError(OgcError):
    """The database, or what is on record in it."""


class NotConnected(StoreError):
    """No engine is set up."""

    def __init__(self) -> None:
        super().__init__("no database: set state.app.engine = db.connect() first")


class DatabaseUnavailable(StoreError):
    """The database does not answer, or refuses us."""


class NotMigrated(StoreError):
    """Tables are missing or older than this version of the package."""

    def __init__(self, detail: str) -> None:
        super().__init__(f"the database is not migrated ({detail}): run `ogc db migrate` or db.migrate()")


class SchemaTooNew(StoreError):
    """A newer release has migrated the tables: ``recorded`` is the revision there, ``known`` this release's newest."""

    def __init__(self, recorded: str, known: str) -> None:
        self.recorded = recorded
        self.known = known
        super().__init__(
            f"the database is at revision {recorded}, and this release knows none after {known}: install the release"
            " that migrated it, or name another database (OGC_DATABASE_URL)"
        )


class ForeignTables(StoreError):
    """Tables of our names in a database that has no migration of ours on record: ``tables``."""

    def __init__(self, tables: Iterable[str]) -> None:
        self.tables = tuple(tables)
        super().__init__(
            f"the database has no revision on record, but tables of our names already exist ({', '.join(self.tables)}):"
            " name another database (OGC_DATABASE_URL), or, if these tables are this program's, put their revision"
            " back into alembic_version"
        )


class NoUser(StoreError):
    """The one user record was not created yet."""

    def __init__(self) -> None:
        super().__init__("no user on record: run `ogc init`, or add a db.User(name=…, slug=…) first")


class UnknownNode(StoreError):
    """No node has one of the ids or names asked for."""

    def __init__(self, missing: Iterable[object], hint: str = "`ogc ls` lists the nodes on record") -> None:
        self.missing = tuple(missing)
        super().__init__(f"no such node: {', '.join(map(str, self.missing))}; {hint}")


class AmbiguousNode(StoreError):
    """A part of a name that several nodes have."""

    def __init__(self, word: str, names: Iterable[str]) -> None:
        self.names = tuple(names)
        some = ", ".join(self.names[:3]) + (f" and {len(self.names) - 3} more" if len(self.names) > 3 else "")
        super().__init__(
            f"{word!r} is the name of {len(self.names)} nodes: {some}; write more of it, or a glob for all"
        )


class NothingMatched(StoreError):
    """No node has what was asked for."""


class NotRunning(StoreError):
    """The node is not in a state for what was asked of it; ``advice`` is what brings it there."""

    def __init__(self, node: str, state: str, advice: str = "`ogc ls` shows why") -> None:
        self.node = node
        super().__init__(f"{node}: is {state}, not running; {advice}")


class CannotExtend(StoreError):
    """The node's end cannot be put off; ``reason`` says why, and what to do."""

    def __init__(self, node: str, reason: str) -> None:
        self.node = node
        self.reason = reason
        super().__init__(f"{node}: {reason}")


class UnfitRecord(StoreError):
    """A node's row holds what would mean something else to the file system or to another program.

    ``node`` is the row's name, shortened and without control characters; ``field`` is the row's column.
    """

    def __init__(self, node_id: int, node: str, field: str, reason: str) -> None:
        self.node = node
        self.field = field
        super().__init__(
            f"node {node_id}, {node}: its {field} on record {reason}; nothing was written or run. If no machine of"
            f" yours is behind the row, `ogc rm {node_id} --only-db` forgets it"
        )


class StaleNode(StoreError):
    """Somebody else moved the node on in the meantime."""


class NodeBusy(StoreError):
    """A process that is believed to live works on the node: ``holder``, on ``claimed_for``, ``since`` (UTC)."""

    def __init__(self, node: str, holder: str, claimed_for: str | None, since: datetime | None) -> None:
        self.node = node
        self.holder = holder
        self.claimed_for = claimed_for
        self.since = since
        on = f" on `{claimed_for}`" if claimed_for else ""
        from_when = f", since {since:%Y-%m-%d %H:%M:%S} UTC" if since else ""
        super().__init__(
            f"{node}: {holder} is at work on it{on}{from_when}; wait for that to end (--wait 5m), or take the node from"
            " it (--take-over)"
        )


class ClaimLost(StoreError):
    """This process no longer holds the node: another one took it over, or this one stood still for too long.

    ``steps`` are those that had begun before.
    """

    def __init__(self, node: str, steps: tuple[object, ...] = ()) -> None:
        self.node = node
        self.steps = steps
        super().__init__(
            f"{node}: another process has taken the node over, so no further step was begun; `ogc inspect` shows whose"
            " steps ran"
        )


class PlanOutdated(StoreError):
    """Cloud, database or spec have changed since a plan was made; nothing was done."""

    def __init__(self, difference: str) -> None:
        super().__init__(f"the plan is outdated, and nothing was done; make a new one: {difference}")


class ProviderError(OgcError):
    """A cloud refused or failed; a ``retryable`` one has already been retried within the settings."""

    def __init__(
        self,
        message: str,
        *,
        provider: str,
        operation: str,
        code: str = "",
        request_id: str = "",
        retryable: bool = False,
    ) -> None:
        self.message = message
        self.provider = provider
        self.operation = operation
        self.code = code
        self.request_id = request_id
        self.retryable = retryable
        coded = f" [{code}]" if code else ""
        asked = f" (request {request_id})" if request_id else ""
        super().__init__(f"{provider} {operation}: {message}{coded}{asked}")


class Unauthorized(ProviderError):
    """The credentials are wrong, or may not do this."""


class Throttled(ProviderError):
    """Too many requests."""


class ServiceUnavailable(ProviderError):
    """The cloud's own trouble, or the way to it."""


class UnreadableReply(ServiceUnavailable):
    """The reply is not of its operation's kind, or not whole: it is no answer, neither yes nor no."""


class NoCapacity(ProviderError):
    """No machines of that kind in that zone just now."""


class QuotaExceeded(ProviderError):
    """The account's quota is used up; only its owner can raise it."""


class InvalidRequest(ProviderError):
    """The request can never succeed as it is."""


class NotFound(ProviderError):
    """The image, instance or other resource does not exist."""


class TokenSpent(ProviderError):
    """An idempotency token that can not be used (again) for this request: take a new one."""


class ResourceInUse(ProviderError):
    """Something still depends on what was to be removed."""


class InstanceDied(ProviderError):
    """The instance was launched and went away before it was ready."""


class InstanceStopped(InstanceDied):
    """The instance was launched, and stopped before it was ready: it is still there, and still costs something."""


class NoPublicAddress(ProviderError):
    """The instance runs, and has no public address where its layout wants one."""


class OutcomeUnknown(ProviderError):
    """Nobody can say what became of a machine that may exist: its node stays on record, live, until the cloud does."""


class RemoteError(OgcError):
    """A node over SSH; ``node`` is its name."""

    def __init__(self, node: str, message: str) -> None:
        self.node = node
        super().__init__(f"{node}: {message}")


class Unreachable(RemoteError):
    """No SSH session within the deadline."""


class KeyRefused(RemoteError):
    """The node does not accept the layout's key for that user."""


class HostKeyChanged(RemoteError):
    """The node shows another host key than the one on record."""


class ConnectionLost(RemoteError):
    """The session broke while work was going on."""


class TransferFailed(RemoteError):
    """Files did not arrive, or not whole."""


class NotReady(RemoteError):
    """The node answers, but is not ready for its scripts."""


class StepTimeout(RemoteError):
    """A step ran longer than its timeout."""


class NotConfirmed(OgcError):
    """Something is to be removed, and nobody has agreed to it."""


class DeadlineExceeded(OgcError):
    """A wait ended before what was waited for."""


class InsideEventLoop(OgcError, RuntimeError):
    """A synchronous twin was called where a coroutine must be awaited."""

    def __init__(self, twin: str, coroutine: str) -> None:
        super().__init__(f"{twin}() was called inside a running event loop: use `await {coroutine}(…)` there")
