"""Access tokens: one exchange for all who ask, and a clear no at once, or soon."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from ogc_async.errors import ServiceUnavailable, Unauthorized
from ogc_async.providers.google import credentials
from ogc_async.providers.google.credentials import SCOPE, AccessToken, Credentials

Handler = Callable[[web.Request], Any]


@asynccontextmanager
async def endpoint(handler: Handler, impersonate: Handler | None = None) -> AsyncIterator[str]:
    app = web.Application()
    app.router.add_post("/token", handler)
    if impersonate is not None:
        app.router.add_post("/robot:generateAccessToken", impersonate)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}/token"
    finally:
        await runner.cleanup()


@pytest.fixture(scope="module")
def private_key() -> str:
    key = rsa.generate_private_key(65537, 2048)
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


@asynccontextmanager
async def token_from(url: str, private_key: str) -> AsyncIterator[AccessToken]:
    data = {
        "type": "service_account",
        "client_email": "robot@project.iam.gserviceaccount.com",
        "private_key": private_key,
        "private_key_id": "1",
        "token_uri": url,
    }
    token = AccessToken(Credentials(Path("credentials.json"), "project", data))
    try:
        yield token
    finally:
        await token.aclose()


async def test_a_hundred_callers_share_one_exchange(private_key: str) -> None:
    asked = 0

    async def answer(request: web.Request) -> web.Response:
        nonlocal asked
        asked += 1
        assert (await request.post())["grant_type"] == "urn:ietf:params:oauth:grant-type:jwt-bearer"
        return web.json_response({"access_token": "abc", "expires_in": 3600, "token_type": "Bearer"})

    async with endpoint(answer) as url, token_from(url, private_key) as token:
        assert set(await asyncio.gather(*(token.get() for _ in range(100)))) == {"abc"}
        assert await token.get() == "abc"
    assert asked == 1


async def test_a_clear_no_is_told_at_once_in_googles_words(private_key: str) -> None:
    asked = 0

    async def refuse(_: web.Request) -> web.Response:
        nonlocal asked
        asked += 1
        said = {"error": "invalid_grant", "error_description": "Invalid JWT Signature."}
        return web.json_response(said, status=400)

    async with endpoint(refuse) as url, token_from(url, private_key) as token:
        with pytest.raises(Unauthorized, match=r"invalid_grant: Invalid JWT Signature") as caught:
            await token.get()
        assert "credentials.json" in str(caught.value)
    assert asked == 1


async def test_what_was_refused_once_may_work_later(private_key: str) -> None:
    replies = iter([web.json_response({"error": "invalid_grant"}, status=400)])

    async def answer(_: web.Request) -> web.Response:
        return next(replies, None) or web.json_response({"access_token": "abc", "expires_in": 3600})

    async with endpoint(answer) as url, token_from(url, private_key) as token:
        with pytest.raises(Unauthorized, match="HTTP 400"):
            await token.get()
        assert await token.get() == "abc"


async def test_silence_is_an_error_within_the_deadline(private_key: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(credentials, "TOKEN_TIMEOUT_S", 0.2)
    heard = asyncio.Event()

    async def be_silent(_: web.Request) -> web.Response:
        await heard.wait()
        return web.Response()

    async with endpoint(be_silent) as url, token_from(url, private_key) as token:
        with pytest.raises(ServiceUnavailable, match=r"within 0\.2 s|no access token") as caught:
            await token.get()
        assert caught.value.retryable
        heard.set()


@pytest.mark.parametrize(
    "reply",
    [
        {"status": 200, "text": "<html>Please log in</html>", "content_type": "text/html"},
        {"status": 200, "text": '{"status": "login required"}', "content_type": "application/json"},
        {"status": 200, "text": "[]", "content_type": "application/json"},
        {"status": 403, "text": "<html>Please log in</html>", "content_type": "text/html"},
        {"status": 404, "text": "{}", "content_type": "application/json"},
    ],
)
async def test_what_is_no_token_endpoints_reply_refuses_nothing(
    reply: dict[str, Any], private_key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(credentials, "TOKEN_TIMEOUT_S", 0.2)

    async def answer(_: web.Request) -> web.Response:
        return web.Response(**reply)

    async with endpoint(answer) as url, token_from(url, private_key) as token:
        with pytest.raises(ServiceUnavailable) as caught:
            await token.get()
        assert caught.value.retryable


async def test_who_we_are_is_proved_to_the_token_endpoint_alone(
    private_key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(credentials, "TOKEN_TIMEOUT_S", 0.2)
    strangers: list[str] = []

    async def be_strange(asked: web.Request) -> web.Response:
        strangers.append(asked.method)
        return web.json_response({"access_token": "theirs", "expires_in": 3600})

    async with endpoint(be_strange) as elsewhere:

        async def send_on(_: web.Request) -> web.Response:
            return web.Response(status=307, headers={"Location": elsewhere})

        async with endpoint(send_on) as url, token_from(url, private_key) as token:
            with pytest.raises(ServiceUnavailable):
                await token.get()
    assert strangers == []


async def test_a_token_that_was_refused_is_replaced_once_however_many_saw_it_refused(private_key: str) -> None:
    handed_out = 0

    async def answer(_: web.Request) -> web.Response:
        nonlocal handed_out
        handed_out += 1
        return web.json_response({"access_token": f"token-{handed_out}", "expires_in": 3600})

    async with endpoint(answer) as url, token_from(url, private_key) as token:
        first = await token.get()
        assert set(await asyncio.gather(*(token.get(instead_of=first) for _ in range(50)))) == {"token-2"}
        assert await token.get(instead_of=first) == "token-2"
    assert handed_out == 2


@pytest.mark.parametrize("kind", ["authorized_user", "impersonated_service_account"])
async def test_other_kinds_of_files_have_tokens_too(kind: str) -> None:
    async def answer(request: web.Request) -> web.Response:
        asked = await request.post()
        assert (asked["grant_type"], asked["refresh_token"]) == ("refresh_token", "again")
        return web.json_response({"access_token": "a-user-s", "expires_in": 3600})

    async def impersonate(request: web.Request) -> web.Response:
        assert request.headers["Authorization"] == "Bearer a-user-s"
        assert (await request.json())["scope"] == [SCOPE]
        return web.json_response({"accessToken": "a-robot-s", "expireTime": "2099-01-01T00:00:00Z"})

    async with endpoint(answer, impersonate) as url:
        user = {"client_id": "me", "client_secret": "s", "refresh_token": "again", "token_uri": url}
        data: dict[str, Any] = {"type": "authorized_user", **user}
        if kind == "impersonated_service_account":
            target = url.replace("/token", "/robot:generateAccessToken")
            data = {
                "type": kind,
                "token_uri": url,
                "service_account_impersonation_url": target,
                "source_credentials": data,
            }
        token = AccessToken(Credentials(Path("credentials.json"), "project", data))
        try:
            assert await token.get() == ("a-user-s" if kind == "authorized_user" else "a-robot-s")
        finally:
            await token.aclose()


def test_tokens_and_keys_show_in_no_repr(private_key: str) -> None:
    data = json.loads(json.dumps({"type": "service_account", "private_key": private_key}))
    assert "PRIVATE" not in repr(Credentials(Path("x"), "project", data))
