"""What a verb works with, taken from the app once. The only reader of ``state.app``."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ogc_async import db, state
from ogc_async.db import Engine
from ogc_async.db.users import current_user
from ogc_async.errors import NotConnected, NotRunning, OgcError, SettingsError
from ogc_async.events import Events
from ogc_async.providers.base import Provider
from ogc_async.providers.pool import ProviderPool
from ogc_async.settings import Settings
from ogc_async.spec import Layout, Spec
from ogc_async.state import App
from ogc_async.types import NodeFailure, NodeSnapshot, NodeState, UserSnapshot

log = logging.getLogger(__name__)

LayoutLike = Layout | Mapping[str, Any]
"""A layout, or its ``as_dict()``."""

PLACES_AT_ONCE = 8
"""Regions of clouds that are asked side by side."""

ARTIFACTS = Path("artifacts")
"""Where what nodes leave behind goes, a folder for each."""

NodeIds = Iterable[int] | Awaitable[Iterable[int]]
"""Many nodes, or a call of ``launch_async`` that was not awaited yet."""


@dataclass(frozen=True, slots=True)
class Context:
    """One verb's surroundings."""

    engine: Engine
    settings: Settings
    events: Events
    providers: ProviderPool
    user: UserSnapshot

    def provider_of(self, node: NodeSnapshot) -> Provider:
        """The provider that launched the node."""
        return self.providers.get(node.provider, node.region)


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """What a verb does about nodes that another process works on.

    ``wait_s``: how long it waits for them. ``is_taking_over``: it takes them from a holder that lives, whose next step
    there does not begin. Without ``is_claiming`` it works beside whoever holds them, and holds nothing itself.
    """

    wait_s: float = 0.0
    is_taking_over: bool = False
    is_claiming: bool = True


AT_ONCE = Terms()


async def open_context(app: App | None) -> Context:
    """The app's parts, and its user. Raises ``NotConnected``, ``NotMigrated`` or ``NoUser`` where one is missing."""
    chosen = app or state.app
    engine = connected_engine(chosen)
    return Context(
        engine=engine,
        settings=chosen.settings,
        events=chosen.events,
        providers=chosen.providers,
        user=await current_user(engine),
    )


def connected_engine(app: App | None) -> Engine:
    """The app's engine. Raises ``NotConnected`` where it has none."""
    engine = (app or state.app).engine
    if engine is None:
        raise NotConnected
    return engine


def layouts_of(spec: Spec | None, app: App | None) -> tuple[Layout, ...]:
    """The layouts of this spec, or of the app's; none where there is neither."""
    return layouts_if_any(spec, app) or ()


def layouts_if_any(spec: Spec | None, app: App | None) -> tuple[Layout, ...] | None:
    """The same, where a spec without layouts says something else than no spec."""
    chosen = spec or (app or state.app).spec
    return chosen.layouts if chosen is not None else None


def default_app() -> App:
    """The default app, connected to the settings' database where nobody has connected it yet."""
    if state.app.engine is None:
        state.app.engine = db.connect(settings=state.app.settings)
        state.app.session = db.session(state.app.engine)
    return state.app


async def as_ids(nodes: int | NodeIds) -> tuple[list[int], bool]:
    """The ids asked for without repeats, and whether it was a single one."""
    if isinstance(nodes, int):
        return [nodes], True
    if isinstance(nodes, Awaitable):
        nodes = await nodes
    return list(dict.fromkeys(nodes)), False


def is_served(place: tuple[str, str], context: Context) -> bool:
    """Whether that place can be asked. A cloud whose credentials are gone is no reason to give up on the others."""
    error = why_unserved(place, context)
    if error is not None:
        log.warning("%s %s is not looked at, though nodes were there once: %s", *place, error)
    return error is None


def why_unserved(place: tuple[str, str], context: Context) -> SettingsError | None:
    """What keeps a provider and region from being asked at all."""
    try:
        context.providers.get(*place)
    except SettingsError as error:
        return error
    return None


def not_running(node: NodeSnapshot) -> NotRunning:
    """Why nothing can be done on the node; of one that stands still, what starts it."""
    if node.state is not NodeState.STOPPED:
        return NotRunning(node.name, node.state)
    zone, _, name = str(node.instance_id).partition("/")
    command = (
        f"gcloud compute instances start {name} --zone {zone} --project {node.account}"
        if node.provider == "google"
        else f"aws ec2 start-instances --region {node.region} --instance-ids {node.instance_id}"
    )
    return NotRunning(node.name, node.state, f"start it with `{command}`, and then run `ogc sync`")


def failure(node: NodeSnapshot, error: OgcError) -> NodeFailure:
    """``error`` as the reason why this node failed."""
    return NodeFailure(node.layout, node.id, node.name, error)
