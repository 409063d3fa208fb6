"""The verbs. Each is a coroutine, ``x_async``, with a synchronous twin, ``x``, of the same signature.

One or many: given one layout or one node id a verb answers for that one and raises what went wrong with it; given
many it answers for each, failures beside successes, and raises only what concerns them all. ``app`` is the
:class:`~ogc_async.state.App` to work in, the default one if it is not given.

A verb that works on nodes claims them first, so that two processes never work on one node at a time. A node that
another process has claimed fails with :class:`~ogc_async.errors.NodeBusy` at once; ``wait_s`` waits up to so many
seconds for it; ``take_over`` takes it from a holder that lives, whose next step there does not begin. Verbs that only
read claim nothing.

What does a verb's work is imported at its first call: SSH and templates take longer than all the rest, and who only
asks what is on record needs neither.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

from ogc_async.actions.context import (
    ARTIFACTS,
    LayoutLike,
    NodeIds,
    Terms,
    as_ids,
    connected_engine,
    layouts_if_any,
    layouts_of,
    open_context,
)
from ogc_async.aio.blocking import Call, blocking, verb
from ogc_async.db.nodes import find_nodes
from ogc_async.db.users import create_user as create_user_row
from ogc_async.errors import OgcError
from ogc_async.lazy import lazy_module
from ogc_async.settings import login_name
from ogc_async.spec import Layout, Spec
from ogc_async.state import App
from ogc_async.types import (
    DeployResult,
    ExtendResult,
    LaunchResult,
    NodeSnapshot,
    NodeState,
    ReapResult,
    SyncPlan,
    SyncResult,
    TeardownResult,
    UpResult,
    UserSnapshot,
)

if TYPE_CHECKING:
    from ogc_async.actions import (
        bring_up,
        copy_files,
        deploy_nodes,
        extend_nodes,
        launch_nodes,
        reap_strays,
        reconcile,
        run_commands,
        tear_down,
        trust,
    )
else:
    bring_up = lazy_module("ogc_async.actions.bring_up")
    copy_files = lazy_module("ogc_async.actions.copy_files")
    deploy_nodes = lazy_module("ogc_async.actions.deploy_nodes")
    extend_nodes = lazy_module("ogc_async.actions.extend_nodes")
    launch_nodes = lazy_module("ogc_async.actions.launch_nodes")
    reap_strays = lazy_module("ogc_async.actions.reap_strays")
    reconcile = lazy_module("ogc_async.actions.reconcile")
    run_commands = lazy_module("ogc_async.actions.run_commands")
    tear_down = lazy_module("ogc_async.actions.tear_down")
    trust = lazy_module("ogc_async.actions.trust")


@overload
def launch_async(layouts: LayoutLike, *, app: App | None = None) -> Call[int]: ...
@overload
def launch_async(layouts: Iterable[LayoutLike], *, app: App | None = None) -> Call[LaunchResult]: ...
@verb
async def launch_async(layouts: LayoutLike | Iterable[LayoutLike], *, app: App | None = None) -> Any:
    """Launch one node of one layout, or every layout of a collection at its scale.

    A layout is a :class:`~ogc_async.spec.Layout` or its ``as_dict()``. One layout: returns the node's id once the
    node runs, raises its error otherwise. A collection: returns the ids that came up, in order, with ``.failures``.
    Nothing is created where a layout, a key or a script folder is wrong.

    Raises :class:`~ogc_async.errors.SpecError`, ``SettingsError``, ``ScriptsError``, ``StoreError``; for one layout
    also :class:`~ogc_async.errors.ProviderError`.
    """
    context = await open_context(app)
    if isinstance(layouts, Layout | Mapping):
        result = await launch_nodes.launch_layouts([_one_of(Layout.of(layouts))], context)
        result.raise_for_failures()
        return result[0]
    return await launch_nodes.launch_layouts([Layout.of(layout) for layout in layouts], context)


@overload
def up_async(layouts: LayoutLike, *, app: App | None = None) -> Call[DeployResult]: ...
@overload
def up_async(layouts: Iterable[LayoutLike], *, app: App | None = None) -> Call[UpResult]: ...
@verb
async def up_async(layouts: LayoutLike | Iterable[LayoutLike], *, app: App | None = None) -> Any:
    """Launch as :func:`launch_async` does, and deploy to each node the moment it runs, with no wait for the others.

    One layout: one node of it; returns its deploy's result, and raises what either raises. A collection: returns the
    ids that came up, with ``.failures`` of the launch and ``.deployed`` beside them. Templates see as ``nodes`` those
    that run by then. A cancelled call takes back its machines while any of them is still being launched, and leaves
    them on record afterwards.
    """
    context = await open_context(app)
    if isinstance(layouts, Layout | Mapping):
        result = await bring_up.bring_up_layouts([_one_of(Layout.of(layouts))], context)
        result.raise_for_failures()
        return _one_or_many(list(result.deployed), is_single=True)
    return await bring_up.bring_up_layouts([Layout.of(layout) for layout in layouts], context)


@overload
def deploy_async(
    nodes: int, *, rerun: bool = False, wait_s: float = 0.0, take_over: bool = False, app: App | None = None
) -> Call[DeployResult]: ...
@overload
def deploy_async(
    nodes: NodeIds, *, rerun: bool = False, wait_s: float = 0.0, take_over: bool = False, app: App | None = None
) -> Call[list[DeployResult]]: ...
@verb
async def deploy_async(
    nodes: int | NodeIds, *, rerun: bool = False, wait_s: float = 0.0, take_over: bool = False, app: App | None = None
) -> Any:
    """Push and run the scripts of each node's layout, as it was at the node's launch.

    Waits until a node accepts SSH and is ready, within the settings' deadlines. A step that passed in an earlier
    deploy is skipped while it would run the same as then, by the hash of what is rendered for it; a node with none
    left is not connected to; ``rerun`` runs every step. Files that the node still holds are not sent again. A script
    that fails is a result that is not ``True``; for one node, an error such as
    :class:`~ogc_async.errors.Unreachable` is raised, for many it is in the result's ``error``.
    """
    node_ids, is_single = await as_ids(nodes)
    return _one_or_many(
        await deploy_nodes.deploy_to_nodes(
            node_ids, await open_context(app), rerun=rerun, terms=_terms(wait_s, take_over=take_over)
        ),
        is_single=is_single,
    )


@overload
def exec_async(
    nodes: int,
    command: str,
    *,
    timeout_s: float | None = None,
    wait_s: float = 0.0,
    take_over: bool = False,
    claim: bool = True,
    app: App | None = None,
) -> Call[DeployResult]: ...
@overload
def exec_async(
    nodes: NodeIds,
    command: str,
    *,
    timeout_s: float | None = None,
    wait_s: float = 0.0,
    take_over: bool = False,
    claim: bool = True,
    app: App | None = None,
) -> Call[list[DeployResult]]: ...
@verb
async def exec_async(
    nodes: int | NodeIds,
    command: str,
    *,
    timeout_s: float | None = None,
    wait_s: float = 0.0,
    take_over: bool = False,
    claim: bool = True,
    app: App | None = None,
) -> Any:
    """Run a shell command on each node; results and errors as for :func:`deploy_async`.

    ``timeout_s`` seconds (the layout's or the settings' step timeout, if not given) end the command on the node too.
    Without ``claim`` it runs beside whatever else goes on there.
    """
    node_ids, is_single = await as_ids(nodes)
    return _one_or_many(
        await run_commands.run_on_nodes(
            node_ids, command, await open_context(app), timeout_s, _terms(wait_s, take_over=take_over, claim=claim)
        ),
        is_single=is_single,
    )


@overload
def exec_scripts_async(
    nodes: int, folder: str | Path, *, wait_s: float = 0.0, take_over: bool = False, app: App | None = None
) -> Call[DeployResult]: ...
@overload
def exec_scripts_async(
    nodes: NodeIds, folder: str | Path, *, wait_s: float = 0.0, take_over: bool = False, app: App | None = None
) -> Call[list[DeployResult]]: ...
@verb
async def exec_scripts_async(
    nodes: int | NodeIds, folder: str | Path, *, wait_s: float = 0.0, take_over: bool = False, app: App | None = None
) -> Any:
    """Push another folder of scripts to each node and run it; results and errors as for :func:`deploy_async`."""
    node_ids, is_single = await as_ids(nodes)
    context = await open_context(app)
    return _one_or_many(
        await run_commands.run_scripts_on_nodes(node_ids, Path(folder), context, _terms(wait_s, take_over=take_over)),
        is_single=is_single,
    )


@overload
def push_files_async(
    nodes: int,
    files: str | Path | Iterable[str | Path],
    *,
    remote_path: str | None = None,
    wait_s: float = 0.0,
    take_over: bool = False,
    app: App | None = None,
) -> Call[DeployResult]: ...
@overload
def push_files_async(
    nodes: NodeIds,
    files: str | Path | Iterable[str | Path],
    *,
    remote_path: str | None = None,
    wait_s: float = 0.0,
    take_over: bool = False,
    app: App | None = None,
) -> Call[list[DeployResult]]: ...
@verb
async def push_files_async(
    nodes: int | NodeIds,
    files: str | Path | Iterable[str | Path],
    *,
    remote_path: str | None = None,
    wait_s: float = 0.0,
    take_over: bool = False,
    app: App | None = None,
) -> Any:
    """Put files of this machine on each node: a file under its name, a folder under its own, wildcards as in a shell.

    They go below ``remote_path`` (from the login home), or the layout's. What a node holds already is not sent again.
    Results and errors as for :func:`deploy_async`; the step's output lists what was sent.
    """
    node_ids, is_single = await as_ids(nodes)
    patterns = [files] if isinstance(files, str | Path) else list(files)
    results = await copy_files.push_to_nodes(
        node_ids, patterns, await open_context(app), remote_path, _terms(wait_s, take_over=take_over)
    )
    return _one_or_many(results, is_single=is_single)


@overload
def pull_files_async(
    nodes: int,
    patterns: str | Iterable[str],
    folder: str | Path = ".",
    *,
    wait_s: float = 0.0,
    take_over: bool = False,
    app: App | None = None,
) -> Call[DeployResult]: ...
@overload
def pull_files_async(
    nodes: NodeIds,
    patterns: str | Iterable[str],
    folder: str | Path = ".",
    *,
    wait_s: float = 0.0,
    take_over: bool = False,
    app: App | None = None,
) -> Call[list[DeployResult]]: ...
@verb
async def pull_files_async(
    nodes: int | NodeIds,
    patterns: str | Iterable[str],
    folder: str | Path = ".",
    *,
    wait_s: float = 0.0,
    take_over: bool = False,
    app: App | None = None,
) -> Any:
    """Fetch files and folders from each node, to ``<folder>/<node>``; the results' ``files`` are what was written.

    Patterns start in the login home and may hold ``*`` and ``?``; one that matches nothing fetches nothing. Nothing
    that a node sends is written outside its folder. Results and errors as for :func:`deploy_async`.
    """
    node_ids, is_single = await as_ids(nodes)
    wanted = [patterns] if isinstance(patterns, str) else list(patterns)
    results = await copy_files.pull_from_nodes(
        node_ids, wanted, await open_context(app), Path(folder), _terms(wait_s, take_over=take_over)
    )
    return _one_or_many(results, is_single=is_single)


@overload
def pull_artifacts_async(
    nodes: int, folder: str | Path = ARTIFACTS, *, wait_s: float = 0.0, take_over: bool = False, app: App | None = None
) -> Call[DeployResult]: ...
@overload
def pull_artifacts_async(
    nodes: NodeIds,
    folder: str | Path = ARTIFACTS,
    *,
    wait_s: float = 0.0,
    take_over: bool = False,
    app: App | None = None,
) -> Call[list[DeployResult]]: ...
@verb
async def pull_artifacts_async(
    nodes: int | NodeIds,
    folder: str | Path = ARTIFACTS,
    *,
    wait_s: float = 0.0,
    take_over: bool = False,
    app: App | None = None,
) -> Any:
    """Fetch what each node's layout names as ``artifacts``, to ``artifacts/<node>``; as :func:`pull_files_async`."""
    node_ids, is_single = await as_ids(nodes)
    results = await copy_files.pull_artifacts_of(
        node_ids, await open_context(app), Path(folder), _terms(wait_s, take_over=take_over)
    )
    return _one_or_many(results, is_single=is_single)


@verb
async def known_hosts_async(nodes: NodeIds | None = None, *, app: App | None = None) -> str:
    """A ``known_hosts`` file for OpenSSH: the verified host keys of these nodes, or of all that run."""
    node_ids = None if nodes is None else (await as_ids(nodes))[0]
    return await trust.known_hosts_of(node_ids, await open_context(app))


@overload
def teardown_async(
    nodes: int,
    *,
    force: bool = False,
    only_db: bool = False,
    wait_s: float = 0.0,
    take_over: bool = False,
    app: App | None = None,
) -> Call[int]: ...
@overload
def teardown_async(
    nodes: NodeIds,
    *,
    force: bool = False,
    only_db: bool = False,
    wait_s: float = 0.0,
    take_over: bool = False,
    app: App | None = None,
) -> Call[TeardownResult]: ...
@verb
async def teardown_async(
    nodes: int | NodeIds,
    *,
    force: bool = False,
    only_db: bool = False,
    wait_s: float = 0.0,
    take_over: bool = False,
    app: App | None = None,
) -> Any:
    """End each node: artifacts, teardown script, machine, row; then the firewall and key pair of an emptied layout.

    A row is ``terminated`` only once the cloud says that the machine is. ``force`` skips artifacts and teardown
    script; ``only_db`` skips all but the row, and leaves the machine alone. A node that is gone already is done.
    One node: returns its id or raises; many: returns the ids that are gone, with ``.failures`` and ``.leftovers``.
    """
    node_ids, is_single = await as_ids(nodes)
    result = await tear_down.tear_down_nodes(
        node_ids, await open_context(app), force=force, only_db=only_db, terms=_terms(wait_s, take_over=take_over)
    )
    if is_single:
        result.raise_for_failures()
        return result[0]
    return result


@overload
def extend_async(
    nodes: int, by: timedelta | float, *, wait_s: float = 0.0, take_over: bool = False, app: App | None = None
) -> Call[NodeSnapshot]: ...
@overload
def extend_async(
    nodes: NodeIds, by: timedelta | float, *, wait_s: float = 0.0, take_over: bool = False, app: App | None = None
) -> Call[ExtendResult]: ...
@verb
async def extend_async(
    nodes: int | NodeIds,
    by: timedelta | float,
    *,
    wait_s: float = 0.0,
    take_over: bool = False,
    app: App | None = None,
) -> Any:
    """Put off the end of each node ``by`` a time, in seconds if it is a number.

    It ends so much later than it would have, or than now where its time is over and its machine still there: 120 days
    from now at most. The row is written first, then the machine told, then its cloud; where either refuses, all stays
    as it was. A node has to run, or, where its cloud alone keeps its end, to stand still: Compute Engine moves the end
    of a stopped machine only. One node: returns it as it is on record then, or raises; many: returns the ids of those
    that live longer, with ``.nodes`` and ``.failures``. Raises ``CannotExtend`` for a node that has no end, or none to
    be moved.
    """
    node_ids, is_single = await as_ids(nodes)
    length = by if isinstance(by, timedelta) else timedelta(seconds=by)
    terms = _terms(wait_s, take_over=take_over)
    result = await extend_nodes.extend_nodes(node_ids, length, await open_context(app), terms)
    if is_single:
        result.raise_for_failures()
        return result.nodes[0]
    return result


@verb
async def release_async(*, app: App | None = None) -> list[OgcError]:
    """Remove firewalls and key pairs of layouts that were emptied within a day, and have no node any more.

    A teardown does that for its own layouts. What could not be removed, and why: none, mostly.
    """
    return await tear_down.release_emptied(await open_context(app))


@verb
async def plan_async(spec: Spec | None = None, *, app: App | None = None) -> SyncPlan:
    """What :func:`sync_async` would do now, to the spec given or the app's; changes nothing.

    The spec's layouts count for the scale; without a spec, only what broke off or got lost is looked for.
    """
    return await reconcile.plan_sync(layouts_of(spec, app), await open_context(app))


@verb
async def sync_async(spec: Spec | None = None, *, plan: SyncPlan | None = None, app: App | None = None) -> SyncResult:
    """Bring cloud, database and spec together, from whatever state a process that died left them in.

    Machines that came of a launch that broke off are adopted, teardowns that broke off are finished, nodes whose
    machine vanished are marked ``lost``, machines of this database that no node stands for are terminated; then nodes
    are launched or torn down until each layout of the spec given, or the app's, is at its scale. Nodes that a living
    process works on are left to it. ``plan`` is done exactly as it says, or, where things have changed since, not at
    all: ``PlanOutdated``.
    """
    return await reconcile.sync_all(layouts_of(spec, app), await open_context(app), plan)


@verb
async def reap_async(
    *,
    dry_run: bool = False,
    strays: bool = False,
    only: Collection[str] | None = None,
    spec: Spec | None = None,
    app: App | None = None,
) -> ReapResult:
    """Find everything with this owner's tag in the accounts at hand, and end what is over.

    Nothing but the account is needed: a database made a minute ago finds the machines of a lost one. Every region is
    looked at that the account can have machines in, of each cloud whose credentials are there. Healthy nodes are no
    finds. Ended are nodes whose machines run more than two minutes past their time to live, without artifacts or
    scripts; with ``strays`` also machines that were let go of, of other or lost databases, leftover volumes, and nodes
    of layouts that the spec, or the app's, does not have. ``only`` are ids of finds: no other is ended. With
    ``dry_run`` nothing is. Raises ``StoreError``; what a cloud refuses is in the result.
    """
    context = await open_context(app)
    return await reap_strays.reap(context, layouts_if_any(spec, app), dry_run=dry_run, strays=strays, only=only)


@verb
async def nodes_async(
    *,
    layout: str | None = None,
    tag: str | None = None,
    states: Collection[NodeState] | None = None,
    app: App | None = None,
) -> list[NodeSnapshot]:
    """The nodes on record that meet all that is given, oldest first."""
    context = await open_context(app)
    return await find_nodes(context.engine, layout=layout, tag=tag, states=states)


@verb
async def create_user_async(name: str | None = None, *, app: App | None = None) -> tuple[UserSnapshot, bool]:
    """Put the one user on record, under the login name if none is given; returns it, and whether it is new."""
    return await create_user_row(connected_engine(app), name or login_name())


def _one_of(layout: Layout) -> Layout:
    return layout.model_copy(update={"scale": 1, "spare": 0, "min_ready": None})


def _terms(wait_s: float, *, take_over: bool, claim: bool = True) -> Terms:
    return Terms(wait_s=wait_s, is_taking_over=take_over, is_claiming=claim)


def _one_or_many(results: list[DeployResult], *, is_single: bool) -> DeployResult | list[DeployResult]:
    if not is_single:
        return results
    (result,) = results
    if result.error is not None:
        raise result.error
    return result


launch = blocking(launch_async)
plan = blocking(plan_async)
sync = blocking(sync_async)
up = blocking(up_async)
deploy = blocking(deploy_async)
exec = blocking(exec_async)
exec_scripts = blocking(exec_scripts_async)
push_files = blocking(push_files_async)
pull_files = blocking(pull_files_async)
pull_artifacts = blocking(pull_artifacts_async)
known_hosts = blocking(known_hosts_async)
extend = blocking(extend_async)
teardown = blocking(teardown_async)
release = blocking(release_async)
reap = blocking(reap_async)
nodes = blocking(nodes_async)
create_user = blocking(create_user_async)

__all__ = [
    "create_user",
    "create_user_async",
    "deploy",
    "deploy_async",
    "exec",
    "exec_async",
    "exec_scripts",
    "exec_scripts_async",
    "extend",
    "extend_async",
    "known_hosts",
    "known_hosts_async",
    "launch",
    "launch_async",
    "nodes",
    "nodes_async",
    "plan",
    "plan_async",
    "pull_artifacts",
    "pull_artifacts_async",
    "pull_files",
    "pull_files_async",
    "push_files",
    "push_files_async",
    "reap",
    "reap_async",
    "release",
    "release_async",
    "sync",
    "sync_async",
    "teardown",
    "teardown_async",
    "up",
    "up_async",
]
