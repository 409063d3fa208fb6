"""What can be known before anything is created: keys, script folders, providers, regions, ends."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from ogc_async.actions.context import Context
from ogc_async.deploy.scripts import read_scripts
from ogc_async.errors import Problem, SpecError
from ogc_async.providers import catalog
from ogc_async.providers.base import InjectsHostKeys, KeepsEnds, Provider
from ogc_async.providers.ends import why_no_end
from ogc_async.spec import Layout
from ogc_async.ssh.keys import load_private_key, load_public_key


@dataclass(frozen=True, slots=True)
class Checked:
    """A layout that can be launched as it is written, with what that was found to need.

    ``can_inject`` says that its machines can be given their host key at launch.
    """

    layout: Layout
    provider: Provider
    region: str
    public_key: str
    ssh_port: int
    can_inject: bool = False


def check_layouts(layouts: Sequence[Layout], context: Context) -> list[Checked]:
    """Check every layout, in order; raises the first thing found to be wrong, before anything is created."""
    names = [layout.name for layout in layouts]
    doubled = sorted({name for name in names if names.count(name) > 1})
    if doubled:
        raise SpecError([Problem(f"layouts.{name}", "is asked for twice in one launch") for name in doubled])
    return [_check(layout, context) for layout in layouts if layout.scale > 0]


def _check(layout: Layout, context: Context) -> Checked:
    load_private_key(layout.ssh_keys.private)
    public_key = load_public_key(Path(layout.ssh_keys.public))
    if layout.scripts is not None:
        read_scripts(layout.scripts, base=layout.folder, include=layout.include, exclude=layout.exclude)
    provider = context.providers.get(layout.provider, layout.region)
    unshared = context.providers.unshared(layout.provider, layout.region)
    _check_end(layout, unshared)
    return Checked(
        layout,
        provider,
        provider.region,
        public_key,
        layout.ssh_port or context.settings.ogc_ssh_port,
        can_inject=can_inject(layout, unshared),
    )


def can_inject(layout: Layout, provider: Provider) -> bool:
    """The cloud passes a host key on, and the image has cloud-init to install it.

    So the catalogue says; of other images the layout does, by waiting until cloud-init has finished there.
    """
    return isinstance(provider, InjectsHostKeys) and (
        layout.ready.cloud_init or provider.has_cloud_init(layout.runs_on)
    )


def check_end(layout: Layout) -> None:
    """Raise :class:`~ogc_async.errors.SpecError` where machines would not come to the end that the layout asks for.

    It needs no credentials: this is what the layout's cloud is known for.
    """
    _raise_no_end(layout, partial(why_no_end, layout.provider), catalog.has_cloud_init(layout.runs_on))


def _check_end(layout: Layout, provider: Provider) -> None:
    ask = provider.why_no_end if isinstance(provider, KeepsEnds) else partial(_keeps_none, provider.name)
    _raise_no_end(layout, ask, isinstance(provider, InjectsHostKeys) and provider.has_cloud_init(layout.runs_on))


def _raise_no_end(layout: Layout, ask: Callable[..., str | None], has_cloud_init: bool) -> None:
    if layout.ttl is None:
        return
    reason = ask(
        runs_on=layout.runs_on,
        platform=layout.platform,
        has_cloud_init=layout.ready.cloud_init or has_cloud_init,
        is_spot=layout.spot,
        then=layout.ttl.then,
    )
    if reason is not None:
        raise SpecError([Problem(f"layouts.{layout.name}.ttl", reason)])


def _keeps_none(name: str, **_asked: object) -> str:
    return f"cannot be kept: machines of the provider {name} run until they are ended; leave it out"
