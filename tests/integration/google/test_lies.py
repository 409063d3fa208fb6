"""Replies that are wrong on the wire: cut in the middle, sent elsewhere, or of somebody who is not Compute Engine."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from aiohttp import web

from ogc_async.errors import ProviderError, UnreadableReply
from ogc_async.providers.google.provider import GoogleProvider
from ogc_async.settings import Settings
from ogc_async.types import DescribeRequest
from tests.unit.providers.google.request import PREPARED, request

Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]
ID = "us-central1-a/web-1"


@asynccontextmanager
async def serving(answer: Answer) -> AsyncIterator[str]:
    """An endpoint that gives out tokens, and answers everything else so."""

    async def hand_out(_: web.Request) -> web.Response:
        return web.json_response({"access_token": "abc", "expires_in": 3600})

    app = web.Application()
    app.router.add_post("/token", hand_out)
    app.router.add_route("*", "/{path:.*}", answer)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


@asynccontextmanager
async def provider_at(url: str, folder: Path) -> AsyncIterator[GoogleProvider]:
    path = folder / "credentials.json"
    given = {"type": "authorized_user", "client_id": "me", "client_secret": "s", "refresh_token": "r"}
    path.write_text(json.dumps({**given, "token_uri": f"{url}/token"}))
    provider = GoogleProvider(
        Settings(
            _env_file=None,
            google_application_credentials=path,
            google_project="p",
            ogc_google_endpoint=url,
            ogc_api_retry_s=0.001,
        ),
        "us-central1",
    )
    try:
        yield provider
    finally:
        await provider.aclose()


async def cut(asked: web.Request) -> web.StreamResponse:
    response = web.StreamResponse(headers={"Content-Type": "application/json", "Content-Length": "1000"})
    await response.prepare(asked)
    await response.write(b'{"kind": "compute#instanceList", "items": [')
    assert asked.transport is not None
    asked.transport.close()
    return response


async def garbled(_: web.Request) -> web.StreamResponse:
    return web.Response(body=b"not gzip", headers={"Content-Encoding": "gzip", "Content-Type": "application/json"})


async def log_in(_: web.Request) -> web.StreamResponse:
    return web.Response(text="<html>Please log in</html>", content_type="text/html", charset="utf-8")


async def unknown_charset(_: web.Request) -> web.StreamResponse:
    return web.Response(body=b"\xff{}", headers={"Content-Type": "application/json; charset=made-up"})


LIES = {"cut": cut, "garbled": garbled, "log in": log_in, "unknown charset": unknown_charset}


@pytest.mark.parametrize("lie", LIES)
async def test_each_thing_that_a_provider_does_says_that_the_reply_could_not_be_read(lie: str, tmp_path: Path) -> None:
    asked = DescribeRequest(owner="adam", scope="s", instance_ids=(ID,))
    async with serving(LIES[lie]) as url, provider_at(url, tmp_path) as provider:
        for doing in (
            provider.prepare(request()),
            provider.launch(request(), PREPARED),
            provider.describe(asked),
            provider.list_owned("adam"),
            provider.release("web", owner="adam", scope="s"),
            provider.regions("adam"),
            provider.list_volumes("adam"),
            provider.delete_volume(ID),
            provider.move_end(ID, datetime.now(UTC) + timedelta(hours=1)),
        ):
            with pytest.raises(UnreadableReply):
                await doing
        for answers in (await provider.look_up([ID]), await provider.terminate([ID])):
            assert isinstance(answers[ID], UnreadableReply)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_no_redirect_is_followed(status: int, tmp_path: Path) -> None:
    strangers: list[str] = []

    async def be_strange(asked: web.Request) -> web.StreamResponse:
        strangers.append(asked.path)
        return web.json_response({"kind": "compute#instanceAggregatedList"})

    async with serving(be_strange) as elsewhere:

        async def send_on(asked: web.Request) -> web.StreamResponse:
            return web.Response(status=status, headers={"Location": f"{elsewhere}{asked.path}"})

        async with serving(send_on) as url, provider_at(url, tmp_path) as provider:
            with pytest.raises(ProviderError, match=f"HTTP {status}") as caught:
                await provider.list_owned("adam")
            with pytest.raises(UnreadableReply):
                await provider.launch(request(), PREPARED)
    assert isinstance(caught.value, UnreadableReply)
    assert strangers == []
