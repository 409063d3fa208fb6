"""A pretend cloud on loopback: real APIs, real SSH hosts, no account. See :class:`Sandbox`."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ogc_async.sandbox.service import Sandbox
    from ogc_async.sandbox.settings import SandboxSettings

__all__ = ["Sandbox", "SandboxSettings"]

_MODULES = {"Sandbox": "service", "SandboxSettings": "settings"}


def __getattr__(name: str) -> Any:
    """Import on first use: what only starts a sandbox, or isolates itself, needs none of its libraries."""
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
