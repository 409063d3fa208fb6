"""A fleet in a file that holds no secret: who it belongs to, its live nodes, and what its next keeper has to bring."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, SecretStr

from ogc_async.errors import StoreError
from ogc_async.plan import rows
from ogc_async.settings import Settings
from ogc_async.spec import Layout
from ogc_async.spec.fields import MAX_TEXT, choice, matching, optional, text, whole
from ogc_async.spec.layout import LabelKey, LayoutName, Provider
from ogc_async.types import LIVE, Market, NodeSnapshot, NodeState, UserSnapshot

FORMAT = "ogc-env/1"
HERE = "./"
PATHS = ("scripts", "folder")
LEFT_OUT = {
    "id",
    "updated_at",
    "terminated_at",
    "ended_at",
    "ended_by",
    "worker",
    "lease_until",
    "fence",
    "claimed_for",
    "claimed_at",
    "read_at",
}
MARKETS = tuple(each.value for each in Market)
SHARED_SETTINGS = (
    "aws_region",
    "google_project",
    "google_datacenter",
    "google_application_service_account",
    "ogc_ssh_port",
)
"""Settings that are facts about the fleet. All others are a machine's own, or secret."""

Text = Annotated[str, BeforeValidator(text)]
Place = Annotated[str, BeforeValidator(rows.place)]
Slug = Annotated[str, BeforeValidator(matching("[A-Za-z0-9][A-Za-z0-9_.-]{0,199}", "a user's short name"))]
Scope = Annotated[str, BeforeValidator(matching("[A-Za-z0-9][A-Za-z0-9_-]{0,31}", "a record's scope"))]
Address = Annotated[str | None, BeforeValidator(optional(rows.address))]
Setting = Annotated[str, BeforeValidator(choice(tuple(name.upper() for name in SHARED_SETTINGS), {}, {}))]


def _username(given: object) -> str:
    """A login user; a node that was not launched yet has none."""
    return "" if given == "" else str(rows.username(given))


def _label(given: object) -> str:
    return "" if given == "" else text(given)


class Strict(BaseModel):
    """What every part of the file has in common."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Owner(Strict):
    """The user whose tags the machines carry."""

    name: Annotated[str, BeforeValidator(matching(".{1,200}", "a name of at most 200 characters"))]
    slug: Slug
    scope: Scope


class HandedNode(Strict):
    """A node's row, but for what only one database or one process knows; each value by its field's rule."""

    name: Annotated[str, BeforeValidator(rows.node_name)]
    layout: LayoutName
    provider: Provider
    region: Place
    zone: Annotated[str | None, BeforeValidator(optional(rows.place))]
    state: Annotated[str, BeforeValidator(choice(tuple(sorted(LIVE)), {}, {}))]
    token: Annotated[str, BeforeValidator(rows.token)]
    launch_index: Annotated[int, BeforeValidator(whole(0, rows.MAX_INDEX))]
    instance_id: Annotated[str | None, BeforeValidator(optional(rows.instance_id))]
    account: Annotated[str | None, BeforeValidator(optional(rows.account))] = None
    public_ip: Address
    private_ip: Address
    username: Annotated[str, BeforeValidator(_username)]
    ssh_port: Annotated[int, BeforeValidator(rows.port)]
    host_key: Annotated[str | None, BeforeValidator(optional(rows.host_key))]
    tags: tuple[Text, ...]
    labels: dict[LabelKey, Annotated[str, BeforeValidator(_label)]]
    spec: Layout
    reason: Annotated[str | None, BeforeValidator(optional(text))]
    created_at: Annotated[datetime, BeforeValidator(rows.moment)]
    running_at: Annotated[datetime | None, BeforeValidator(optional(rows.moment))]
    size: Annotated[str | None, BeforeValidator(optional(rows.size))] = None
    market: Annotated[Market | None, BeforeValidator(optional(choice(MARKETS, {}, {})))] = None
    launch_id: Annotated[str | None, BeforeValidator(optional(rows.launch_id))] = None
    ends_at: Annotated[datetime | None, BeforeValidator(optional(rows.moment))] = None


class Handover(Strict):
    """The whole file."""

    format: Annotated[str, BeforeValidator(choice((FORMAT,), {}, {}))]
    user: Owner
    settings: dict[Setting, Text]
    needs: tuple[Text, ...]
    nodes: tuple[HandedNode, ...]


def hand_over(user: UserSnapshot, nodes: Sequence[NodeSnapshot], settings: Settings, folder: Path) -> str:
    """The file's text; paths below ``folder`` are told from there. Raises ``StoreError`` rather than tell a secret."""
    handed = [_handed(node, folder) for node in nodes]
    keys = sorted({str(node["spec"]["ssh-keys"]["private"]) for node in handed if node["spec"].get("ssh-keys")})
    document = {
        "format": FORMAT,
        "user": {"name": user.name, "slug": user.slug, "scope": user.scope},
        "settings": {
            name.upper(): str(value) for name in SHARED_SETTINGS if (value := getattr(settings, name)) is not None
        },
        "needs": [*_credentials({node.provider for node in nodes}), *(f"the private key {key}" for key in keys)],
        "nodes": handed,
    }
    told = json.dumps(document, indent=2, ensure_ascii=False, default=_plain)
    secrets = [name for name, secret in _secrets(settings).items() if secret in told]
    if secrets:
        raise StoreError(f"{', '.join(secrets)} stands in a node's row, perhaps in a label; nothing was written")
    return told + "\n"


def rows_of(document: Handover) -> list[dict[str, Any]]:
    """The nodes as rows."""
    return [
        {
            **{name: getattr(node, name) for name in HandedNode.model_fields},
            "tags": list(node.tags),
            "spec": node.spec.as_dict(),
        }
        for node in document.nodes
    ]


def each_path(spec: Mapping[str, Any], change: Callable[[str], str]) -> dict[str, Any]:
    """The layout with other paths; what is not text where a path belongs stays as it is."""
    found = dict(spec)
    for name in PATHS:
        if isinstance(found.get(name), str):
            found[name] = change(found[name])
    keys = found.get("ssh-keys")
    if isinstance(keys, Mapping):
        found["ssh-keys"] = {half: change(path) if isinstance(path, str) else path for half, path in keys.items()}
    return found


def _handed(node: NodeSnapshot, folder: Path) -> dict[str, Any]:
    values = {each.name: getattr(node, each.name) for each in fields(node) if each.name not in LEFT_OUT}
    return values | {
        "state": NodeState(node.state).value,
        "labels": dict(node.labels),
        "spec": each_path(node.spec, lambda path: _from(path, folder)),
        "reason": _one_line(node.reason),
    }


def _one_line(reason: str | None) -> str | None:
    """A reason may be a cloud's reply of many lines."""
    line = "".join(char if char.isprintable() else " " for char in reason or "")
    return " ".join(line.split())[:MAX_TEXT] or None


def _plain(value: object) -> str:
    if isinstance(value, datetime):
        return value.isoformat()
    raise TypeError(f"{type(value).__name__} is no value of a fleet's file")


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
