"""A Compute Engine that says what a test has written down, by operation, and a clock that only sleeping moves on."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, cast

import aiohttp

from ogc_async.providers.google.client import GoogleClient
from ogc_async.providers.google.credentials import AccessToken
from ogc_async.providers.google.instances import Instances
from ogc_async.providers.google.limits import Limits
from ogc_async.settings import Settings
from tests import discovery
from tests.unit.providers.google.request import TOKEN

PROJECT = "our-project"
ZONE = "us-central1-a"
BASE = f"https://www.googleapis.com/compute/v1/projects/{PROJECT}"

Said = tuple[int, object]
"""Status and content: bytes as they are, anything else as JSON."""
Says = Said | list[Said] | Callable[[Mapping[str, str]], Said]
"""Always this; one after the other, and the last for ever; or as the call's query has it."""


class Time:
    """A clock that sleeping moves on."""

    def __init__(self) -> None:
        self.now = 600.0

    def __call__(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.now += max(seconds, 0.001)


class Tokens:
    """Hands out ``token-1`` until that is refused."""

    def __init__(self) -> None:
        self.count = 1

    async def get(self, *, instead_of: str = "") -> str:
        if instead_of == f"token-{self.count}":
            self.count += 1
        return f"token-{self.count}"

    async def aclose(self) -> None:
        pass


class StubbedClient(GoogleClient):
    """Calls what ``says`` has an answer for.

    ``calls`` counts them by operation, ``bearers`` keeps who called, and ``bodies`` what was sent with each operation.
    """

    def __init__(self, folder: Path, says: Mapping[str, Says], *, project: str = PROJECT, **values: Any) -> None:
        path = folder / "credentials.json"
        path.write_text(json.dumps({"type": "authorized_user", "project_id": project}))
        time = Time()
        limits = values.pop("limits", None) or Limits(wall_clock=time, sleep=time.sleep)
        given: dict[str, Any] = {"ogc_api_retry_s": 5, "ogc_poll_s": 1, "google_project": project} | values
        self.settings = Settings(_env_file=None, google_application_credentials=path, **given)
        super().__init__(self.settings, "us-central1", limits=limits, rng=lambda: 0.5, clock=time, sleep=time.sleep)
        self.says = dict(says)
        self.calls: Counter[str] = Counter()
        self.bearers: list[str] = []
        self.bodies: dict[str, list[Any]] = {}
        self._tokens = Tokens()

    def instances(self) -> Instances:
        """The machines that this client sees."""
        return Instances(self, self.settings, default_zone=ZONE)

    def _open(self) -> tuple[aiohttp.ClientSession, AccessToken]:
        return cast("aiohttp.ClientSession", None), cast("AccessToken", self._tokens)

    async def _send(
        self, http: str, url: str, query: Mapping[str, str], body: Mapping[str, Any] | None, bearer: str
    ) -> tuple[int, bytes]:
        found = discovery.find(http, url.partition(discovery.BASE)[2])
        assert found is not None, url
        operation = found[0].removeprefix("compute.")
        says = self.says[operation]
        said = says[min(self.calls[operation], len(says) - 1)] if isinstance(says, list) else says
        status, content = said(query) if callable(said) else said
        self.calls[operation] += 1
        self.bearers.append(bearer)
        self.bodies.setdefault(operation, []).append(body)
        return status, content if isinstance(content, bytes) else json.dumps(content).encode()


def instance(name: str, *, token: str = TOKEN, status: str = "RUNNING", zone: str = ZONE) -> dict[str, Any]:
    """A machine as Compute Engine describes it."""
    return {
        "kind": "compute#instance",
        "name": name,
        "status": status,
        "zone": f"{BASE}/zones/{zone}",
        "selfLink": f"{BASE}/zones/{zone}/instances/{name}",
        "labels": {"ogc-batch": token, "ogc-owner": "adam", "ogc-scope": "0123456789abcdef"},
    }


def operation(*errors: tuple[str, str], status: str = "DONE", http: int = 400, **values: Any) -> dict[str, Any]:
    """An operation, and the codes and messages that it ended with."""
    described: dict[str, Any] = {"kind": "compute#operation", "name": "operation-1", "status": status, **values}
    if errors:
        listed = [{"code": code, "message": message} for code, message in errors]
        described |= {"error": {"errors": listed}, "httpErrorStatusCode": http}
    return described


def page(kind: str, *items: Mapping[str, Any], **values: Any) -> dict[str, Any]:
    """A whole list; an empty one has no items."""
    return {"kind": f"compute#{kind}List", **({"items": list(items)} if items else {}), **values}


def no(status: int, reason: str, message: str = "no") -> Said:
    """A refusal in Google's error document."""
    errors = [{"message": message, "domain": "global", "reason": reason}]
    return status, {"error": {"code": status, "message": message, "errors": errors}}


def missing(resource: str) -> Said:
    """What is not there is told by its path."""
    return no(404, "notFound", f"The resource 'projects/{PROJECT}/{resource}' was not found")
