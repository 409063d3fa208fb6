"""A pretend cloud on loopback: real APIs, real SSH hosts, no account. See :class:`Sandbox`."""

from __future__ import annotations

from ogc_async.sandbox.service import Sandbox
from ogc_async.sandbox.settings import SandboxSettings

__all__ = ["Sandbox", "SandboxSettings"]
