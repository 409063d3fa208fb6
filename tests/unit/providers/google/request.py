"""A request like any other, to be changed by tests."""

from __future__ import annotations

from typing import Any

from ogc_async.types import LaunchRequest, Prepared

PUBLIC_KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIIQ9r3rKpJbSIXQhPTsT8Y0pPCqBSfgLMRRSFHUJ5zvs"
TOKEN = "3f0e1a5c-7a51-4c5e-9c55-0d7d4f6f0a11"
PREPARED = Prepared("projects/debian-cloud/global/images/debian-12-v1", "ogc", f"ogc:{PUBLIC_KEY}", "ogc-web-0123")


def request(**values: Any) -> LaunchRequest:
    given: dict[str, Any] = {
        "owner": "adam",
        "scope": "0123456789abcdef",
        "layout": "web",
        "names": ("ogc-web-22222222", "ogc-web-33333333"),
        "token": TOKEN,
        "runs_on": "debian-12",
        "instance_size": "e2-small",
        "public_key": PUBLIC_KEY,
        "zone": "us-central1-a",
    }
    return LaunchRequest(**(given | values))
