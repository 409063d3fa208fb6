"""The bodies that the provider contract is checked on, and what each of them can not show."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

import anyio
import boto3
import pytest

from ogc_async.providers.aws.provider import AwsProvider
from ogc_async.providers.base import Provider
from ogc_async.providers.google.limits import Limits
from ogc_async.providers.google.provider import GoogleProvider
from ogc_async.settings import Settings
from ogc_async.testing import MemoryProvider
from ogc_async.types import LaunchRequest
from tests.cloud import running_sandbox
from tests.integration.aws.moto_server import running_moto

PUBLIC_KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIIQ9r3rKpJbSIXQhPTsT8Y0pPCqBSfgLMRRSFHUJ5zvs adam@home"
REGION = "us-east-2"
LONGEST_NAP_S = 0.2


class Can(StrEnum):
    """What a test may need of a body beside answering calls."""

    BATCHES = "launches as many as there is room for"
    TOKENS = "keeps idempotency tokens"
    USES = "keeps what is in use"
    CATALOG = "knows which images and machine types there are"
    WITNESS = "lets another client look at what was made"
    TROUBLE = "fails as it is told to"


class Cloud:
    """What stands behind a provider."""

    def open(self) -> Provider:
        """A provider that knows nothing of what others did."""
        raise NotImplementedError

    def witness(self) -> Any:
        """Somebody else's client."""
        raise NotImplementedError


class Ec2Cloud(Cloud):
    """An EC2 endpoint."""

    def __init__(self, variables: Mapping[str, str]) -> None:
        self._endpoint = variables["AWS_ENDPOINT_URL"]
        self._keys = {
            "aws_access_key_id": variables["AWS_ACCESS_KEY_ID"],
            "aws_secret_access_key": variables["AWS_SECRET_ACCESS_KEY"],
        }

    def open(self) -> Provider:
        values: dict[str, Any] = {"aws_endpoint_url": self._endpoint, "ogc_api_retry_s": 300, **self._keys}
        hurried = HurriedTime()
        return AwsProvider(Settings(_env_file=None, **values), REGION, clock=hurried.clock, sleep=hurried.sleep)

    def witness(self) -> Any:
        return boto3.client("ec2", region_name=REGION, endpoint_url=self._endpoint, **self._keys)


class HurriedTime:
    """A clock on which long waits pass in a moment; short ones are what they are."""

    def __init__(self) -> None:
        self._ahead = 0.0

    def clock(self) -> float:
        return time.monotonic() + self._ahead

    def wall_clock(self) -> float:
        return time.time() + self._ahead

    async def sleep(self, seconds: float) -> None:
        real = min(seconds, LONGEST_NAP_S)
        self._ahead += seconds - real
        await anyio.sleep(real)


class ComputeCloud(Cloud):
    """A Compute endpoint."""

    def __init__(self, variables: Mapping[str, str]) -> None:
        names = ("GOOGLE_APPLICATION_CREDENTIALS", "GOOGLE_PROJECT", "GOOGLE_DATACENTER", "OGC_GOOGLE_ENDPOINT")
        self._values: dict[str, Any] = {name.lower(): variables[name] for name in names}

    def open(self) -> Provider:
        settings = Settings(_env_file=None, ogc_api_retry_s=300, ogc_poll_s=0.1, **self._values)
        zone = settings.google_datacenter or ""
        hurried = HurriedTime()
        limits = Limits(wall_clock=hurried.wall_clock, sleep=hurried.sleep)
        return GoogleProvider(
            settings, zone.rpartition("-")[0], limits=limits, clock=hurried.clock, sleep=hurried.sleep
        )


class MemoryCloud(Cloud):
    """A cloud in memory; its one provider is shared by all who open it."""

    def __init__(self) -> None:
        self._provider = MemoryProvider(REGION)

    def open(self) -> Provider:
        return self._provider


@contextmanager
def memory(*_: str) -> Iterator[Cloud]:
    yield MemoryCloud()


@contextmanager
def moto(*_: str) -> Iterator[Cloud]:
    with running_moto() as url:
        yield Ec2Cloud({"AWS_ENDPOINT_URL": url, "AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "secret"})


@contextmanager
def ec2_sandbox(*options: str) -> Iterator[Cloud]:
    with running_sandbox("--boot", "0.1:0.3", *options) as running:
        yield Ec2Cloud(running.environment)


@contextmanager
def compute_sandbox(*options: str) -> Iterator[Cloud]:
    with running_sandbox("--boot", "0.1:0.3", *options) as running:
        yield ComputeCloud(running.environment)


@dataclass(frozen=True)
class Body:
    """A provider's name, what is asked of it, and a cloud behind it."""

    name: str
    start: Callable[..., AbstractContextManager[Cloud]] = field(repr=False)
    request: Mapping[str, Any] = field(repr=False)
    lacks: Mapping[Can, str] = field(default_factory=dict, repr=False)
    unknown: str = "i-0123456789abcdef0"
    """The id of a machine that never was."""
    no_image: str = "ami-00000000000000000"
    launch: str = "RunInstances"
    """The operation that launches."""
    throttling: str = "RequestLimitExceeded"
    zone: str = "us-east-2a"

    def can(self, *needs: Can) -> bool:
        return not set(needs) & set(self.lacks)


@dataclass(frozen=True)
class World:
    """A running body. Each test works as an owner of its own, so that tests do not see each other."""

    body: Body
    cloud: Cloud
    owner: str = field(default_factory=lambda: f"owner-{uuid.uuid4().hex[:8]}")
    scope: str = field(default_factory=lambda: uuid.uuid4().hex)

    def request(self, count: int = 1, **values: Any) -> LaunchRequest:
        given: dict[str, Any] = {
            "owner": self.owner,
            "scope": self.scope,
            "layout": "web",
            "names": tuple(f"ogc-web-{uuid.uuid4().hex[:8]}" for _ in range(count)),
            "token": str(uuid.uuid4()),
            "public_key": PUBLIC_KEY,
        }
        return LaunchRequest(**(given | dict(self.body.request) | values))


ON_EC2 = {"runs_on": "amazon-linux-2023", "instance_size": "t3.micro"}

BODIES = (
    Body(
        name="memory",
        start=memory,
        request=ON_EC2,
        lacks={
            Can.TROUBLE: "its troubles are set on the provider itself",
            Can.CATALOG: "every image and machine type exists in memory",
            Can.WITNESS: "nobody else can look into it",
        },
    ),
    Body(
        name="aws@moto",
        start=moto,
        request=ON_EC2,
        lacks={
            Can.TROUBLE: "moto refuses nothing",
            Can.BATCHES: "moto launches MinCount machines, whatever MaxCount says",
            Can.TOKENS: "moto echoes a ClientToken and launches again",
            Can.USES: "moto deletes a security group that running machines have",
        },
    ),
    Body(name="aws@sandbox", start=ec2_sandbox, request=ON_EC2),
    Body(
        name="google@sandbox",
        start=compute_sandbox,
        request={"runs_on": "debian-12", "instance_size": "e2-small"},
        lacks={Can.WITNESS: "its witness is another client, in tests of its own"},
        unknown="us-central1-a/ogc-web-zzzzzzzz",
        no_image="projects/debian-cloud/global/images/no-such-image",
        launch="instances.bulkInsert",
        throttling="rateLimitExceeded",
        zone="us-central1-a",
    ),
)


def on_bodies(*needs: Can) -> pytest.MarkDecorator:
    """Run the test on every body that can show what it is about."""
    fit = [body for body in BODIES if body.can(*needs)]
    return pytest.mark.parametrize("body", fit, ids=[body.name for body in fit], indirect=True)
