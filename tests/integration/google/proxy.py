"""A proxy that lets everything through, and has a judge hear it: our client sends what the API takes, and no more."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from aiohttp import ClientSession, web

from tests import discovery

PASSED_ON = ("Authorization", "Content-Type")


@dataclass
class Proxy:
    """Where to send calls, and what was heard."""

    url: str = ""
    judge: discovery.Judge = field(default_factory=discovery.Judge)
    calls: Counter[str] = field(default_factory=Counter)


@asynccontextmanager
async def judged(endpoint: str) -> AsyncIterator[Proxy]:
    """Serve on a free port until the block ends."""
    proxy = Proxy()
    async with ClientSession(auto_decompress=True) as session:

        async def pass_on(request: web.Request) -> web.Response:
            body = await request.read()
            headers = {
                name: request.headers[name] for name in ("Authorization", "Content-Type") if name in request.headers
            }
            url = f"{endpoint}{request.raw_path}"
            async with session.request(request.method, url, data=body or None, headers=headers) as reply:
                text = await reply.text()
                proxy.judge.hear(request.method, url, body, reply.status, text)
                found = discovery.find(request.method, request.path.removeprefix(discovery.BASE))
                proxy.calls[found[0] if found else request.path] += 1
                return web.Response(status=reply.status, text=text, content_type="application/json")

        app = web.Application()
        app.router.add_route("*", "/{path:.*}", pass_on)
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        try:
            await web.TCPSite(runner, "127.0.0.1", 0).start()
            proxy.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
            yield proxy
        finally:
            await runner.cleanup()
