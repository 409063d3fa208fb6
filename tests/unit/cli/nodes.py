"""Nodes as tests of the command line need them."""

from __future__ import annotations

from typing import Any

from ogc_async.types import NodeSnapshot, NodeState


def node(number: int, name: str, **more: Any) -> NodeSnapshot:
    values: dict[str, Any] = {
        "id": number,
        "name": name,
        "layout": name.split("-")[1],
        "provider": "aws",
        "region": "us-east-2",
        "zone": "us-east-2a",
        "state": NodeState.RUNNING,
        "token": "token",
        "launch_index": 0,
        "public_ip": f"192.0.2.{number}",
    }
    return NodeSnapshot(**values | more)
