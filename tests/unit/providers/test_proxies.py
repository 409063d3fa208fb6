from __future__ import annotations

import pytest

from ogc_async.providers.proxies import is_loopback


@pytest.mark.parametrize(
    "host",
    [
        *(
            "127.0.0.1",
            "127.0.0.1:4566",
            "127.18.3.4:80",
            "127.255.255.254",
            "[::1]",
            "[::1]:8080",
            "[::ffff:127.0.0.1]",
        ),
        *("localhost", "LOCALHOST:80", "localhost.", "api.localhost", "me:secret@localhost:80"),
    ],
)
def test_this_machine_is_asked_directly(host: str) -> None:
    assert is_loopback(f"http://{host}")
    assert is_loopback(f"https://{host}/path?query=1")


@pytest.mark.parametrize(
    "host",
    [
        *(
            "ec2.us-east-2.amazonaws.com",
            "compute.googleapis.com",
            "localhost.example.com",
            "mylocalhost",
            "127.example.com",
        ),
        *(
            "10.0.0.1",
            "169.254.169.254",
            "0.0.0.0",
            "128.0.0.1",
            "[::2]",
            "[fe80::1%25eth0]",
            "localhost@example.com",
            "",
        ),
    ],
)
def test_other_machines_are_asked_as_the_environment_says(host: str) -> None:
    assert not is_loopback(f"https://{host}/?at=localhost")
