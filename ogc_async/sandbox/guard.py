"""Who is heard on the sandbox's port at all: programs that mean it, and no web page that a browser shows.

A page of any origin may send requests to a port of this computer. By a name of its own that leads here (DNS rebinding)
it might even read the replies. Both show in the headers, which a page cannot choose.
"""

from __future__ import annotations

import ipaddress
import secrets
from collections.abc import Awaitable, Callable
from typing import TypeAlias
from urllib.parse import urlsplit

from aiohttp import web
from aiohttp.typedefs import Middleware

from ogc_async.sandbox.settings import TOKEN_HEADER, TOKEN_VARIABLE

ADMIN = "/_sandbox/"
READING = ("GET", "HEAD")
"""What the admin page shows is no secret to a program of this computer: it lists machines, and holds no key."""
OWN_SITE = frozenset({"same-origin", "none"})
"""Values of ``Sec-Fetch-Site``: from a page of this very port, or by its user's own hand."""

_Handler: TypeAlias = Callable[[web.Request], Awaitable[web.StreamResponse]]


def guard(host: str, token: str) -> Middleware:
    """Refuse what comes from a page or goes to another host's name; planning faults needs the token, too."""

    @web.middleware
    async def check(request: web.Request, handler: _Handler) -> web.StreamResponse:
        if why := objection(request, host):
            raise web.HTTPForbidden(text=f"{why}\n")
        changes = request.path.startswith(ADMIN) and request.method not in READING
        if changes and not _is_equal(request.headers.get(TOKEN_HEADER, ""), token):
            raise web.HTTPUnauthorized(text=f"the header {TOKEN_HEADER} must be {TOKEN_VARIABLE} of --print-env\n")
        return await handler(request)

    return check


def objection(request: web.Request, host: str) -> str:
    """Why this request is not heard, or ""."""
    port = request.transport.get_extra_info("sockname")[1] if request.transport is not None else 0
    hosts = request.headers.getall("Host", [])
    # Any port: a program may stand between, which passes on its own. What a page cannot have is such a name.
    if len(hosts) != 1 or not is_here(hosts[0], host, None):
        return "the header Host must name this computer's own address"
    for origin in request.headers.getall("Origin", []):
        scheme, _, place = origin.partition("://")
        if scheme != "http" or not is_here(place, host, port):
            return "requests from web pages are not heard: the header Origin is another one's"
    if not OWN_SITE.issuperset(request.headers.getall("Sec-Fetch-Site", [])):
        return "requests from web pages are not heard: the header Sec-Fetch-Site tells of another site"
    return ""


def is_here(place: str, host: str, port: int | None) -> bool:
    """``place`` (``NAME:PORT``) is that port, or any, under a name that no other computer can have."""
    try:
        parts = urlsplit(f"//{place}")
        name, named_port = parts.hostname or "", parts.port
    except ValueError:
        return False
    if (
        parts.netloc != place
        or "@" in place
        or (port is not None and (80 if named_port is None else named_port) != port)
    ):
        return False
    return name in ("localhost", host.lower()) or _is_loopback(name)


def _is_loopback(name: str) -> bool:
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


def _is_equal(given: str, wanted: str) -> bool:
    return secrets.compare_digest(given.encode(errors="surrogateescape"), wanted.encode())
