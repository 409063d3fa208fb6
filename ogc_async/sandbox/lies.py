"""Replies that no API of the clouds gives: what stands between a client and a cloud answers in its place."""

from __future__ import annotations

from aiohttp import web

LOGIN_PATH = "/login"
LOGIN_PAGE = """<!DOCTYPE html>
<html lang="en">
<head><meta charset="utf-8"><title>Sign in to the network</title></head>
<body><h1>Sign in</h1><form method="post"><input name="user"><br><input name="password" type="password"></form></body>
</html>
"""


def login_page() -> web.Response:
    """A captive portal's page, status 200."""
    return web.Response(text=LOGIN_PAGE, content_type="text/html", charset="utf-8")


def redirect_to_login() -> web.Response:
    """What a proxy says to whoever has not signed in; the page that it leads to answers with status 200."""
    return web.Response(status=302, headers={"Location": LOGIN_PATH})


def truncated(reply: web.Response) -> web.Response:
    """Half of a reply's body, under a length that says so: the client sees a message that is over."""
    body = reply.body if isinstance(reply.body, bytes) else b""
    half = body[: len(body) // 2]
    return web.Response(status=reply.status, body=half, content_type=reply.content_type, charset=reply.charset)
