"""EC2, SSM and STS at a port of this machine: honest replies in the clouds' shapes, and one operation that lies."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from urllib.parse import parse_qs

from aiohttp import web

from ogc_async.providers.aws.provider import AwsProvider
from ogc_async.settings import Settings
from tests.unit.providers.aws.script import Time

REGION = "us-east-2"
ACCOUNT = "210987654321"
INSTANCE = "i-0123456789abcdef0"
NAMESPACE = "http://ec2.amazonaws.com/doc/2016-11-15/"

_MACHINE = (
    f"<item><instanceId>{INSTANCE}</instanceId><amiLaunchIndex>0</amiLaunchIndex>"
    "<instanceState><code>16</code><name>running</name></instanceState>"
    "<tagSet><item><key>ogc:batch</key><value>token-1</value></item></tagSet></item>"
)
_RESERVATION = f"<reservationId>r-1</reservationId><ownerId>{ACCOUNT}</ownerId><instancesSet>{_MACHINE}</instancesSet>"
_GROUP = "<item><groupId>sg-1</groupId><groupName>ogc-adam-01234567-web</groupName></item>"
_IMAGE = "<item><imageId>ami-1</imageId><rootDeviceName>/dev/sda1</rootDeviceName></item>"
_ENDING = f"<item><instanceId>{INSTANCE}</instanceId><currentState><name>shutting-down</name></currentState></item>"
_VOLUME = "<item><volumeId>vol-1</volumeId><status>available</status></item>"

HONEST: Mapping[str, str] = {
    "RunInstances": _RESERVATION,
    "DescribeInstances": f"<reservationSet><item>{_RESERVATION}</item></reservationSet>",
    "TerminateInstances": f"<instancesSet>{_ENDING}</instancesSet>",
    "DescribeImages": f"<imagesSet>{_IMAGE}</imagesSet>",
    "ImportKeyPair": "<keyName>k</keyName>",
    "DescribeKeyPairs": "<keySet><item><keyName>k</keyName></item></keySet>",
    "DeleteKeyPair": "<return>true</return>",
    "CreateSecurityGroup": "<return>true</return><groupId>sg-1</groupId>",
    "AuthorizeSecurityGroupIngress": "<return>true</return>",
    "DescribeSecurityGroups": f"<securityGroupInfo>{_GROUP}</securityGroupInfo>",
    "DeleteSecurityGroup": "<return>true</return>",
    "DescribeVolumes": f"<volumeSet>{_VOLUME}</volumeSet>",
    "DeleteVolume": "<return>true</return>",
    "CreateTags": "<return>true</return>",
    "DescribeRegions": f"<regionInfo><item><regionName>{REGION}</regionName></item></regionInfo>",
}
_STS = "https://sts.amazonaws.com/doc/2011-06-15/"
IDENTITY = (
    f'<GetCallerIdentityResponse xmlns="{_STS}"><GetCallerIdentityResult><Account>{ACCOUNT}</Account>'
    "</GetCallerIdentityResult></GetCallerIdentityResponse>"
)
PARAMETERS = json.dumps({"Parameters": [{"Name": "n", "Value": "ami-1"}], "InvalidParameters": []})


@dataclass(frozen=True)
class Reply:
    """What goes over the wire."""

    body: str | bytes = ""
    status: int = 200
    kind: str = "text/xml"
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass
class Endpoint:
    """Answers each operation; those in ``replies`` as is said there."""

    url: str = ""
    replies: dict[str, Reply] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    redirected: int = 0
    opened: dict[str, AwsProvider] = field(default_factory=dict)

    def open(self, name: str = "", **values: object) -> AwsProvider:
        """A provider whose repeats take no time: one a name, closed with the endpoint."""
        if name not in self.opened:
            self.opened[name] = self._open(**values)
        return self.opened[name]

    def _open(self, **values: object) -> AwsProvider:
        given: dict[str, object] = {"aws_access_key_id": "k", "aws_secret_access_key": "s", "ogc_api_retry_s": 0.001}
        settings = Settings(_env_file=None, aws_endpoint_url=self.url, **(given | values))  # type: ignore[arg-type]
        time = Time()
        return AwsProvider(settings, REGION, rng=lambda: 1.0, clock=time.clock, sleep=time.sleep)

    async def answer(self, request: web.Request) -> web.Response:
        if request.path != "/":
            self.redirected += 1
        target = request.headers.get("X-Amz-Target", "").rpartition(".")[2]
        operation = target or parse_qs(await request.text()).get("Action", [""])[0]
        self.asked.append(operation)
        reply = self.replies.get(operation) or honest(operation)
        body = reply.body.encode() if isinstance(reply.body, str) else reply.body
        return web.Response(status=reply.status, body=body, content_type=reply.kind, headers=reply.headers)


def honest(operation: str) -> Reply:
    """The operation's own reply."""
    if operation == "GetParameters":
        return Reply(PARAMETERS, kind="application/x-amz-json-1.1")
    return Reply(IDENTITY if operation == "GetCallerIdentity" else document(operation, HONEST[operation]))


def document(operation: str, content: str, namespace: str = NAMESPACE) -> str:
    """A reply of EC2's."""
    return f'<{operation}Response xmlns="{namespace}"><requestId>1</requestId>{content}</{operation}Response>'


def refusal(code: str, status: int = 400) -> Reply:
    """An error of EC2's."""
    error = f"<Error><Code>{code}</Code><Message>no</Message></Error>"
    return Reply(f"<Response><Errors>{error}</Errors><RequestID>1</RequestID></Response>", status)


@asynccontextmanager
async def endpoint() -> AsyncIterator[Endpoint]:
    """Serve until the block ends."""
    served = Endpoint()
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", served.answer)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        host, port = runner.addresses[0][:2]
        served.url = f"http://{host}:{port}"
        yield served
    finally:
        for each in served.opened.values():
            await each.aclose()
        await runner.cleanup()
