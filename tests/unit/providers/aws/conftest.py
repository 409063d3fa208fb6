"""A provider whose cloud is a script, and whose time is the test's."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from ogc_async.providers.aws import account, images
from ogc_async.providers.aws.client import AwsClient
from ogc_async.providers.aws.provider import AwsProvider
from tests.unit.providers.aws.script import Script, ScriptedClient, Time, settings

Open = Callable[[Script], AwsProvider]


@pytest.fixture(autouse=True)
def fresh_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is known from other tests' clouds."""
    monkeypatch.setattr(account, "_numbers", {})
    monkeypatch.setattr(images, "_silent", {})


@pytest.fixture
def time() -> Time:
    return Time()


@pytest.fixture
def open_with(monkeypatch: pytest.MonkeyPatch, time: Time) -> Open:
    """Open a provider on a script."""

    def open_provider(script: Script) -> AwsProvider:
        async def open_client(_client: AwsClient, service: str) -> ScriptedClient:
            return script.client(service)

        monkeypatch.setattr(AwsClient, "_open", open_client)
        return AwsProvider(settings(), "us-east-2", clock=time.clock, sleep=time.sleep, rng=lambda: 1.0)

    return open_provider
