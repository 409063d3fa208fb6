"""Whatever proxy is named, this machine's own addresses are asked without it; AWS's are asked through it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import suppress

import pytest
from aiohttp import web

from ogc_async.errors import ProviderError
from ogc_async.providers.aws.client import AwsClient, open_session
from ogc_async.providers.google.client import GoogleClient
from tests.cloud import Cloud
from tests.integration.actions.test_two_clouds import settings_of

NAMES = ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY")


@pytest.fixture
async def asked(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[list[str]]:
    """The hosts that a proxy, which every variable names, is asked for; it knows the way to none."""
    hosts: list[str] = []

    async def refuse(request: web.BaseRequest) -> web.Response:
        hosts.append(request.host)
        return web.Response(status=403)

    runner = web.ServerRunner(web.Server(refuse))
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    for name in NAMES:
        monkeypatch.setenv(name, f"http://127.0.0.1:{runner.addresses[0][1]}")
    yield hosts
    await runner.cleanup()


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
async def test_neither_cloud_at_loopback_is_asked_through_a_proxy(host: str, cloud: Cloud, asked: list[str]) -> None:
    here = cloud.endpoint.replace("127.0.0.1", host)
    settings = settings_of(cloud, aws_endpoint_url=here, ogc_google_endpoint=here)
    aws, google = AwsClient(settings, "us-east-2"), GoogleClient(settings, "us-central1")
    try:
        assert (await aws.call("DescribeRegions"))["Regions"]
        # Its token is asked for at loopback, too.
        assert (await google.call("zones.get", zone="us-central1-a"))["name"] == "us-central1-a"
    finally:
        await aws.aclose()
        await google.aclose()
    assert asked == []


async def test_another_host_is_asked_through_it(cloud: Cloud, asked: list[str]) -> None:
    settings = settings_of(cloud, aws_endpoint_url="http://ec2.example.invalid", ogc_api_retry_s=0.01)
    aws = AwsClient(settings, "us-east-2")
    try:
        with pytest.raises(ProviderError):
            await aws.call("DescribeRegions")
    finally:
        await aws.aclose()
    assert set(asked) == {"ec2.example.invalid"}


async def test_clients_that_botocore_makes_by_itself_keep_to_it(cloud: Cloud, asked: list[str]) -> None:
    """As it does to take on a profile's role, without any settings of ours."""
    settings = settings_of(cloud)
    keys = {"aws_access_key_id": "any", "aws_secret_access_key": "any", "region_name": "us-east-2"}
    async with open_session(settings).create_client("sts", endpoint_url=cloud.endpoint, **keys) as sts:
        # The sandbox has no STS: what counts is whom it was asked through.
        with suppress(Exception):
            await sts.get_caller_identity()
    assert asked == []
