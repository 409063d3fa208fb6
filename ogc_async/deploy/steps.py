"""From script files to what runs on one node: rendered files to push, steps in order, the environment they see."""

from __future__ import annotations

import hashlib
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ogc_async.deploy.scripts import ScriptFile, ScriptFolder
from ogc_async.deploy.template import Templates
from ogc_async.ssh.transfer import PushFile
from ogc_async.types import NodeSnapshot, UserSnapshot

RUNNABLE = 0o755


@dataclass(frozen=True, slots=True)
class Step:
    """One script as it runs on one node. ``sha256`` is of what was rendered, so that equal steps are known as such."""

    script: str
    command: str
    sha256: str


@dataclass(frozen=True, slots=True)
class NodePlan:
    """All that one node is given: files, then steps."""

    files: tuple[PushFile, ...]
    steps: tuple[Step, ...]
    teardown: Step | None


def plan_node(scripts: ScriptFolder, templates: Templates, remote_path: str, context: Mapping[str, Any]) -> NodePlan:
    """Render the folder for one node. Raises ``TemplateError``."""
    rendered = {each.path: templates.render(each, context) if each.is_template else each.data for each in scripts.files}
    runs = {each.path for each in (*scripts.steps, scripts.teardown) if each is not None}
    return NodePlan(
        files=tuple(
            PushFile(each.target, rendered[each.path], RUNNABLE if each.path in runs else each.mode & 0o755)
            for each in scripts.files
        ),
        steps=tuple(_step(each, rendered[each.path], remote_path) for each in scripts.steps),
        teardown=_step(scripts.teardown, rendered[scripts.teardown.path], remote_path) if scripts.teardown else None,
    )


def node_environment(node: NodeSnapshot, user: UserSnapshot) -> dict[str, str]:
    """What every script knows of its node; an address that the node does not have is empty."""
    return {
        "OGC_NODE_ID": str(node.id),
        "OGC_NODE_NAME": node.name,
        "OGC_LAYOUT": node.layout,
        "OGC_PROVIDER": node.provider,
        "OGC_REGION": node.region,
        "OGC_ZONE": node.zone or "",
        "OGC_INSTANCE_ID": node.instance_id or "",
        "OGC_PUBLIC_IP": node.public_ip or "",
        "OGC_PRIVATE_IP": node.private_ip or "",
        "OGC_TAGS": ",".join(node.tags),
        "OGC_USER": user.slug,
    }


def command_for(target: str, data: bytes, remote_path: str) -> str:
    """Run a pushed script from its folder: by its shebang where it has one, by the shell otherwise."""
    name = shlex.quote(f"./{target}")
    return f"cd {shlex.quote(remote_path)} && exec {name if data.startswith(b'#!') else f'/bin/sh {name}'}"


def _step(script: ScriptFile, data: bytes, remote_path: str) -> Step:
    return Step(script.path, command_for(script.target, data, remote_path), hashlib.sha256(data).hexdigest())
