"""A fleet in a file that holds no secret: who it belongs to, its live nodes, and what its next keeper has to bring."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, SecretStr, ValidationError

from ogc_async.errors import SettingsError, StoreError
from ogc_async.settings import Settings
from ogc_async.types import NodeSnapshot, NodeState, UserSnapshot

HERE = "./"
PATHS = ("scripts", "folder")
LEFT_OUT = {
    "id",
    "updated_at",
    "terminated_at",
    "worker",
    "lease_until",
    "fence",
    "claimed_for",
    "claimed_at",
    "read_at",
}
SHARED_SETTINGS = (
    "aws_region",
    "google_project",
    "google_datacenter",
    "google_application_service_account",
    "ogc_ssh_port",
)
"""Settings that are facts about the fleet. All others are a machine's own, or secret."""


class Strict(BaseModel):
    """What every part of the file has in common."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Owner(Strict):
    """The user whose tags the machines carry."""

    name: str
    slug: str
    scope: str


class HandedNode(Strict):
    """A node's row, but for what only one database or one process knows."""

    name: str
    layout: str
    provider: str
    region: str
    zone: str | None
    state: Literal["planned", "launching", "running", "terminating"]
    token: str
    launch_index: int
    instance_id: str | None
    public_ip: str | None
    private_ip: str | None
    username: str
    ssh_port: int
    host_key: str | None
    tags: tuple[str, ...]
    labels: dict[str, str]
    spec: dict[str, Any]
    reason: str | None
    created_at: datetime
    running_at: datetime | None


class Handover(Strict):
    """The whole file."""

    format: Annotated[Literal["ogc-env/1"], "the only one there is"] = "ogc-env/1"
    user: Owner
    settings: dict[str, str]
    needs: tuple[str, ...]
    nodes: tuple[HandedNode, ...]


def hand_over(user: UserSnapshot, nodes: Sequence[NodeSnapshot], settings: Settings, folder: Path) -> str:
    """The file's text; paths below ``folder`` are told from there. Raises ``StoreError`` rather than tell a secret."""
    handed = [_handed(node, folder) for node in nodes]
    keys = sorted({str(node.spec["ssh-keys"]["private"]) for node in handed if node.spec.get("ssh-keys")})
    document = Handover(
        user=Owner(name=user.name, slug=user.slug, scope=user.scope),
        settings={
            name.upper(): str(value) for name in SHARED_SETTINGS if (value := getattr(settings, name)) is not None
        },
        needs=(*_credentials({node.provider for node in nodes}), *(f"the private key {key}" for key in keys)),
        nodes=tuple(handed),
    )
    text = document.model_dump_json(indent=2)
    told = [name for name, secret in _secrets(settings).items() if secret in text]
    if told:
        raise StoreError(f"{', '.join(told)} stands in a node's row, perhaps in a label; nothing was written")
    return text + "\n"


def take_in(text: str, source: str, folder: Path, key: Path | None) -> Handover:
    """Read the file; paths that were written from its folder start in this one, and ``key`` opens the nodes."""
    try:
        document = Handover.model_validate_json(text)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise SettingsError(f"{source}: is not what export-env writes: {where or 'the file'}: {first['msg']}") from None
    nodes = [node.model_copy(update={"spec": _with_paths(node.spec, folder, key)}) for node in document.nodes]
    return document.model_copy(update={"nodes": tuple(nodes)})


def rows_of(document: Handover) -> list[dict[str, Any]]:
    """The nodes as rows."""
    return [
        {**{name: getattr(node, name) for name in HandedNode.model_fields}, "tags": list(node.tags)}
        for node in document.nodes
    ]


def _handed(node: NodeSnapshot, folder: Path) -> HandedNode:
    values = {each.name: getattr(node, each.name) for each in fields(node) if each.name not in LEFT_OUT}
    return HandedNode(**values | {"state": NodeState(node.state).value, "spec": _without_paths(node.spec, folder)})


def _without_paths(spec: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    return _each_path(spec, lambda path: _from(path, folder))


def _with_paths(spec: Mapping[str, Any], folder: Path, key: Path | None) -> dict[str, Any]:
    found = _each_path(spec, lambda path: str(folder / path) if path.startswith(HERE) or path == "." else path)
    if key is not None:
        found["ssh-keys"] = {"private": str(key.absolute()), "public": f"{key.absolute()}.pub"}
    return found


def _each_path(spec: Mapping[str, Any], change: Any) -> dict[str, Any]:
    found = dict(spec)
    for name in PATHS:
        if found.get(name):
            found[name] = change(str(found[name]))
    if found.get("ssh-keys"):
        found["ssh-keys"] = {half: change(str(path)) for half, path in found["ssh-keys"].items()}
    return found


def _from(path: str, folder: Path) -> str:
    here = Path(path)
    return f"{HERE}{here.relative_to(folder)}" if here.is_relative_to(folder) else path


def _credentials(providers: set[str]) -> list[str]:
    needed = {
        "aws": "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY (or AWS_PROFILE) of the same account",
        "google": "GOOGLE_APPLICATION_CREDENTIALS for the same project",
    }
    return [needed[name] for name in sorted(providers) if name in needed]


def _secrets(settings: Settings) -> dict[str, str]:
    values = {name.upper(): getattr(settings, name) for name in Settings.model_fields}
    found = {name: value.get_secret_value() for name, value in values.items() if isinstance(value, SecretStr)}
    if settings.aws_access_key_id:
        found["AWS_ACCESS_KEY_ID"] = settings.aws_access_key_id
    # The password that everybody has is no secret, and may well be a word of its own.
    return {name: value for name, value in found.items() if len(value) >= 8}
