"""What can be known before anything is created: keys, script folders, providers, regions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ogc_async.actions.context import Context
from ogc_async.deploy.scripts import read_scripts
from ogc_async.errors import Problem, SpecError
from ogc_async.providers.base import InjectsHostKeys, Provider
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
    return Checked(
        layout,
        provider,
        provider.region,
        public_key,
        layout.ssh_port or context.settings.ogc_ssh_port,
        can_inject=can_inject(layout, context.providers.unshared(layout.provider, layout.region)),
    )


def can_inject(layout: Layout, provider: Provider) -> bool:
    """The cloud passes a host key on, and the image has cloud-init to install it.

    So the catalogue says; of other images the layout does, by waiting until cloud-init has finished there.
    """
    return isinstance(provider, InjectsHostKeys) and (
        layout.ready.cloud_init or provider.has_cloud_init(layout.runs_on)
    )
