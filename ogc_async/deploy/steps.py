"""From script files to what runs on one node: rendered files to push, steps in order, the environment they see."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from ogc_async.deploy.scripts import ScriptFile, ScriptFolder
from ogc_async.deploy.template import Templates
from ogc_async.ssh.archive import Bundle, PushFile
from ogc_async.ssh.shell import POSIX, Shell
from ogc_async.types import NodeSnapshot, UserSnapshot


@dataclass(frozen=True, slots=True)
class Step:
    """One script as it runs on one node.

    ``sha256`` is of what was rendered, the script and the files beside it that are no scripts themselves: equal steps
    are known by it.
    """

    script: str
    command: str
    sha256: str


@dataclass(frozen=True, slots=True)
class NodePlan:
    """All that one node is given: files, then steps."""

    files: Bundle
    steps: tuple[Step, ...]
    teardown: Step | None


def plan_node(
    scripts: ScriptFolder,
    templates: Templates,
    remote_path: str,
    context: Mapping[str, Any],
    shell: Shell = POSIX,
) -> NodePlan:
    """Render the folder for one node. Raises ``TemplateError``."""
    files = {each.path: _file(each, scripts, templates, context) for each in scripts.files}
    beside = _beside(files[each.path] for each in scripts.files if each.path not in scripts.runs and not each.is_shared)

    def step(script: ScriptFile) -> Step:
        file = files[script.path]
        return Step(script.path, shell.script(file.path, file.data, remote_path), _digest(file.data, beside))

    return NodePlan(
        files=Bundle(files.values()),
        steps=tuple(map(step, scripts.steps)),
        teardown=step(scripts.teardown) if scripts.teardown else None,
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


def _file(script: ScriptFile, scripts: ScriptFolder, templates: Templates, context: Mapping[str, Any]) -> PushFile:
    if not script.is_template:
        return scripts.common[script.path]
    return PushFile(script.target, templates.render(script, context), scripts.mode_of(script))


def _beside(files: Iterable[PushFile]) -> str:
    return "\n".join(each.line for each in files)


def _digest(data: bytes, beside: str) -> str:
    own = hashlib.sha256(data)
    return hashlib.sha256(f"{own.hexdigest()}\n{beside}".encode()).hexdigest() if beside else own.hexdigest()
