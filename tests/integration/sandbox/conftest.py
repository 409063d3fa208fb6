"""Outside clients of a sandbox."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from typing import Any

import boto3
import pytest
import requests
from botocore.config import Config

from tests import discovery
from tests.cloud import Cloud, running_sandbox
from tests.integration.sandbox.google import Google
from tests.integration.sandbox.judge import Judge

ONE_TRY = Config(retries={"total_max_attempts": 1, "mode": "standard"})


def client_of(cloud: Cloud, service: str = "ec2", **values: Any) -> Any:
    """boto3's client with the sandbox's variables, and nothing of our own."""
    given: dict[str, Any] = {
        "region_name": cloud.environment["AWS_REGION"],
        "endpoint_url": cloud.endpoint,
        "aws_access_key_id": cloud.environment["AWS_ACCESS_KEY_ID"],
        "aws_secret_access_key": cloud.environment["AWS_SECRET_ACCESS_KEY"],
        "config": ONE_TRY,
    }
    return boto3.client(service, **(given | values))


@pytest.fixture(scope="session")
def outside() -> Iterator[Cloud]:
    """A sandbox without request limits: these clients do not wait for tokens."""
    with running_sandbox("--boot", "0.1:0.3", "--no-limits") as cloud:
        yield cloud


@pytest.fixture
def ec2(outside: Cloud) -> Iterator[Any]:
    """A client whose every reply is held against the service model."""
    client = client_of(outside)
    judge = Judge(client)
    yield client
    assert judge.heard
    assert judge.faults == []


@pytest.fixture
def google(outside: Cloud) -> Google:
    return Google(outside)


@pytest.fixture
def name(word: str) -> str:
    return f"vm-{word}"


@pytest.fixture
def ssm(outside: Cloud) -> Any:
    return client_of(outside, "ssm")


@pytest.fixture
def word() -> str:
    """A word that no other test uses."""
    return uuid.uuid4().hex[:10]


@pytest.fixture
def image(ssm: Any) -> str:
    """The newest Amazon Linux."""
    path = "/aws/service/ami-amazon-linux-latest/al2023-ami-kernel-default-x86_64"
    value: str = ssm.get_parameter(Name=path)["Parameter"]["Value"]
    return value


@pytest.fixture
def google_judge(monkeypatch: pytest.MonkeyPatch) -> Iterator[discovery.Judge]:
    """Every exchange of any session of ``requests`` is held against the discovery document."""
    judge = discovery.Judge()
    send = requests.Session.send

    def heard(session: requests.Session, request: requests.PreparedRequest, **values: Any) -> requests.Response:
        response = send(session, request, **values)
        sent = response.request
        judge.hear(str(sent.method), str(sent.url), sent.body, response.status_code, response.text)
        return response

    monkeypatch.setattr(requests.Session, "send", heard)
    yield judge
    assert judge.heard
    assert judge.faults == []
