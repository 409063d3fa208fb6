"""Who is heard on the sandbox's port: no web page, no other name; to plan faults, who has the token."""

from __future__ import annotations

import http.client
import json
from urllib.parse import urlsplit

import pytest

from ogc_async.sandbox import SandboxSettings
from tests.cloud import Cloud

ROUTES = (
    ("GET", "/_sandbox/state"),
    ("POST", "/_sandbox/faults"),
    ("POST", "/"),
    ("GET", "/?Action=DescribeRegions&Version=2016-11-15"),
    ("POST", "/token"),
    ("GET", "/compute/v1/projects/p/zones"),
    ("GET", "/nowhere"),
)
HEARD = (
    "127.0.0.1",
    "127.0.0.1:1",
    "127.0.0.1:{port}",
    "localhost:{port}",
    "LOCALHOST:{port}",
    "127.18.0.9:{port}",
    "[::1]:{port}",
)
UNHEARD = (
    "evil.example.com",
    "evil.example.com:{port}",
    "127.0.0.1.evil.example.com:{port}",
    "localhost.evil.example.com:{port}",
    "user@127.0.0.1:{port}",
    "10.0.0.1:{port}",
    "0.0.0.0:{port}",
    "127.0.0.1:{port}/",
    "[::1",
    "127.0.0.1:port",
    "",
)


def ask(cloud: Cloud, method: str, path: str, *headers: tuple[str, str]) -> tuple[int, str]:
    """One request with these headers, and with the sandbox's own Host where they name none."""
    address = urlsplit(cloud.endpoint)
    connection = http.client.HTTPConnection(str(address.hostname), address.port, timeout=30)
    try:
        connection.putrequest(method, path, skip_host=True)
        hosts = () if any(name == "Host" for name, _ in headers) else (("Host", address.netloc),)
        for name, value in (*hosts, *headers):
            connection.putheader(name, value.replace("{port}", str(address.port)))
        connection.putheader("Content-Length", "0")
        connection.endheaders()
        reply = connection.getresponse()
        return reply.status, reply.read().decode()
    finally:
        connection.close()


def token(cloud: Cloud) -> tuple[str, str]:
    return "X-Sandbox-Token", cloud.environment["SANDBOX_TOKEN"]


def is_refused(reply: tuple[int, str], header: str) -> bool:
    return reply[0] == 403 and f"the header {header} " in reply[1]


@pytest.mark.parametrize(("method", "path"), ROUTES)
def test_no_route_hears_another_hosts_name(shared_cloud: Cloud, method: str, path: str) -> None:
    for host in UNHEARD:
        assert is_refused(ask(shared_cloud, method, path, token(shared_cloud), ("Host", host)), "Host"), host
    twice = (("Host", "127.0.0.1:{port}"), ("Host", "evil.example.com"))
    assert ask(shared_cloud, method, path, token(shared_cloud), *twice)[0] in (400, 403)


@pytest.mark.parametrize(("method", "path"), ROUTES)
def test_every_route_hears_this_computers_own_names(shared_cloud: Cloud, method: str, path: str) -> None:
    for host in HEARD:
        assert not is_refused(ask(shared_cloud, method, path, token(shared_cloud), ("Host", host)), "Host"), host


@pytest.mark.parametrize(("method", "path"), ROUTES)
def test_no_route_hears_a_page_of_another_origin(shared_cloud: Cloud, method: str, path: str) -> None:
    for origin in ("https://evil.example.com", "null", "http://evil.example.com:{port}", "https://127.0.0.1:{port}"):
        assert is_refused(ask(shared_cloud, method, path, token(shared_cloud), ("Origin", origin)), "Origin"), origin
    for site in ("cross-site", "same-site", "made-up"):
        reply = ask(shared_cloud, method, path, token(shared_cloud), ("Sec-Fetch-Site", site))
        assert is_refused(reply, "Sec-Fetch-Site"), site


@pytest.mark.parametrize(
    "header", [("Origin", "http://127.0.0.1:{port}"), ("Sec-Fetch-Site", "same-origin"), ("Sec-Fetch-Site", "none")]
)
def test_a_page_of_its_own_is_heard(shared_cloud: Cloud, header: tuple[str, str]) -> None:
    status, text = ask(shared_cloud, "GET", "/_sandbox/state", token(shared_cloud), header)
    assert status == 200
    assert "instances" in json.loads(text)


@pytest.mark.parametrize("given", [(), (("X-Sandbox-Token", ""),), (("X-Sandbox-Token", "guess\u00e9"),)])
def test_planning_faults_needs_the_token(shared_cloud: Cloud, given: tuple[tuple[str, str], ...]) -> None:
    status, text = ask(shared_cloud, "POST", "/_sandbox/faults", *given)
    assert status == 401
    assert "SANDBOX_TOKEN" in text
    assert shared_cloud.environment["SANDBOX_TOKEN"] not in text


def test_what_everyone_may_read_holds_no_credential(shared_cloud: Cloud) -> None:
    status, text = ask(shared_cloud, "GET", "/_sandbox/state")
    assert status == 200
    environment = shared_cloud.environment
    for name in ("AWS_SECRET_ACCESS_KEY", "AWS_ACCESS_KEY_ID", "SANDBOX_TOKEN", "SANDBOX_GOOGLE_REFRESH_TOKEN"):
        assert environment[name] not in text, name
    assert "PRIVATE KEY" not in text


def test_no_two_starts_share_a_credential() -> None:
    names = ("access_key", "secret_key", "google_refresh_token", "admin_token")
    one, other = SandboxSettings(), SandboxSettings()
    drawn = [getattr(each, name) for each in (one, other) for name in names]
    assert len(set(drawn)) == len(drawn)
    assert all(len(each) >= 20 for each in drawn)
    assert not any(getattr(one, name) in repr(one) for name in names[1:])
