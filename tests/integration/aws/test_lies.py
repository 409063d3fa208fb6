"""Each operation that each method calls, times each reply that is none: no verdict ever comes of it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from datetime import UTC, datetime
from typing import Any

import pytest

from ogc_async.errors import ProviderError, ServiceUnavailable, Unauthorized, UnreadableReply
from ogc_async.providers.aws import account, images
from ogc_async.providers.aws.provider import AwsProvider
from ogc_async.types import DescribeRequest, Instance, InstanceState, LaunchRequest, Prepared
from tests.integration.aws.endpoint import (
    ACCOUNT,
    HONEST,
    INSTANCE,
    REGION,
    Endpoint,
    Reply,
    document,
    endpoint,
    honest,
    refusal,
)

PAGE = "<!DOCTYPE html><html><head><title>Sign in</title></head><body><p>Sign in<br></body></html>"
XHTML = '<html xmlns="http://www.w3.org/1999/xhtml"><body><p>Sign in</p></body></html>'

Lie = Callable[[str], Reply]

LIES: Mapping[str, Lie] = {
    "a page": lambda _: Reply(PAGE, kind="text/html"),
    "a well-formed page": lambda _: Reply(XHTML, kind="text/html"),
    "another operation's reply": lambda _: Reply(document("DescribeVpcs", "<vpcSet/>")),
    "a reply of another service": lambda name: Reply(document(name, HONEST.get(name, ""), "https://example.com/")),
    "half of a reply": lambda name: Reply((body := honest(name).body)[: len(body) // 2]),
    "nothing": lambda _: Reply(),
    "no content": lambda _: Reply(status=204),
    "JSON": lambda _: Reply('{"status": "login required"}', kind="application/json"),
    "a list in JSON": lambda _: Reply('["login required"]', kind="application/json"),
    "binary": lambda _: Reply(bytes(range(256)), kind="application/octet-stream"),
    "a redirect": lambda _: Reply(PAGE, 302, "text/html", {"Location": "/login"}),
    "a redirect that repeats the call": lambda _: Reply(status=307, headers={"Location": "/elsewhere"}),
    "a refusal in HTML": lambda _: Reply(PAGE, 403, "text/html"),
    "a refusal in well-formed HTML": lambda _: Reply(XHTML, 404, "text/html"),
    "a refusal in JSON": lambda _: Reply('{"error": "no"}', 401, "application/json"),
    "a refusal without a code": lambda _: Reply("<Response><Errors><Error/></Errors></Response>", 400),
    "an empty refusal": lambda _: Reply(status=403),
    "too many requests, of a proxy": lambda _: Reply(PAGE, 429, "text/html"),
    "trouble in HTML": lambda _: Reply("<html><body>Bad Gateway</body></html>", 502, "text/html"),
    "empty trouble": lambda _: Reply(status=503),
}

NAMELESS_STATE = f"<item><instanceId>{INSTANCE}</instanceId></item>"

HOLLOW: Mapping[str, tuple[str, ...]] = {
    "RunInstances": (
        "",
        "<ownerId>1</ownerId><instancesSet/>",
        "<instancesSet><item><imageId>ami-1</imageId></item></instancesSet>",
        f"<instancesSet>{NAMELESS_STATE}</instancesSet>",
        "<instancesSet><p>Sign in</p></instancesSet>",
    ),
    "DescribeInstances": (
        "",
        "<reservationSet><item/></reservationSet>",
        "<reservationSet><item><instancesSet><item/></instancesSet></item></reservationSet>",
        f"<reservationSet><item><instancesSet>{NAMELESS_STATE}</instancesSet></item></reservationSet>",
    ),
    "TerminateInstances": (
        "",
        "<instancesSet/>",
        f"<instancesSet>{NAMELESS_STATE}</instancesSet>",
    ),
    "DescribeImages": ("", "<imagesSet><item/></imagesSet>"),
    "ImportKeyPair": ("", "<keyName/>"),
    "CreateSecurityGroup": ("", "<return>true</return>"),
    "DescribeSecurityGroups": ("", "<securityGroupInfo><item/></securityGroupInfo>"),
    "DescribeKeyPairs": ("", "<keySet><item/></keySet>"),
    "DescribeVolumes": ("", "<volumeSet><item/></volumeSet>"),
    "DescribeRegions": ("", "<regionInfo/>", "<regionInfo><item/></regionInfo>"),
}
"""Replies of the right name that do not hold what it always answers with."""


def request() -> LaunchRequest:
    return LaunchRequest(
        owner="adam",
        scope="0123456789abcdef",
        layout="web",
        names=("web-1",),
        token="token-1",
        runs_on="ubuntu-2404",
        instance_size="t3.small",
        public_key="ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIIQ9r3rKpJbSIXQhPTsT8Y0pPCqBSfgLMRRSFHUJ5zvs adam@home",
    )


WANTED = DescribeRequest(owner="adam", scope="0123456789abcdef", tokens=("token-1",), instance_ids=(INSTANCE,))

METHODS: Mapping[str, Callable[[AwsProvider], Awaitable[Any]]] = {
    "prepare": lambda provider: provider.prepare(request()),
    "launch": lambda provider: provider.launch(request(), Prepared("ami-1", "ubuntu", "k", "sg-1")),
    "describe": lambda provider: provider.describe(WANTED),
    "look_up": lambda provider: provider.look_up([INSTANCE]),
    "terminate": lambda provider: provider.terminate([INSTANCE]),
    "list_owned": lambda provider: provider.list_owned("adam"),
    "list_volumes": lambda provider: provider.list_volumes("adam", "0123456789abcdef"),
    "list_key_pairs": lambda provider: provider.list_key_pairs("adam", "0123456789abcdef"),
    "move_end": lambda provider: provider.move_end(INSTANCE, datetime(2026, 11, 27, tzinfo=UTC)),
    "regions": lambda provider: provider.regions("adam"),
    "release": lambda provider: provider.release("web", owner="adam", scope="0123456789abcdef"),
}

CALLS = [
    *(("prepare", each) for each in ("DescribeImages", "ImportKeyPair", "CreateSecurityGroup")),
    ("prepare", "AuthorizeSecurityGroupIngress"),
    ("launch", "RunInstances"),
    *((method, "DescribeInstances") for method in ("describe", "look_up", "list_owned")),
    ("terminate", "TerminateInstances"),
    ("list_volumes", "DescribeVolumes"),
    ("list_key_pairs", "DescribeKeyPairs"),
    ("move_end", "CreateTags"),
    ("regions", "DescribeRegions"),
    *(("release", each) for each in ("DescribeSecurityGroups", "DeleteSecurityGroup", "DescribeKeyPairs")),
    *(("release", each) for each in ("DeleteKeyPair", "DescribeVolumes", "DeleteVolume")),
]


@pytest.fixture(autouse=True)
def fresh_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(account, "_numbers", {})
    monkeypatch.setattr(images, "_silent", {})


@pytest.fixture
async def cloud() -> AsyncIterator[Endpoint]:
    async with endpoint() as served:
        yield served


async def outcome(cloud: Endpoint, method: str) -> Any:
    """What the method answers, or the error that it raises; of an answer an id, that of our one."""
    try:
        answer = await METHODS[method](cloud.open())
    except ProviderError as error:
        return error
    return answer[INSTANCE] if method in ("look_up", "terminate") else answer


async def test_honest_replies_are_taken_for_what_they_are(cloud: Endpoint) -> None:
    answers = {method: await outcome(cloud, method) for method in METHODS}
    errors = {method: answer for method, answer in answers.items() if isinstance(answer, ProviderError)}
    assert not errors
    assert {operation for _, operation in CALLS} <= set(cloud.asked)
    assert answers["regions"] == [REGION]
    [launched] = answers["launch"]
    assert (launched.id, launched.state, launched.account) == (INSTANCE, InstanceState.RUNNING, ACCOUNT)
    assert answers["describe"][INSTANCE].account == answers["look_up"].account == ACCOUNT


@pytest.mark.parametrize(("method", "operation"), CALLS, ids="-".join)
async def test_what_is_not_an_operations_own_reply_is_no_answer_to_it(
    cloud: Endpoint, method: str, operation: str
) -> None:
    lies = {name: lie(operation) for name, lie in LIES.items()}
    lies |= {f"hollow: {each}": Reply(document(operation, each)) for each in HOLLOW.get(operation, ())}
    believed: dict[str, object] = {}
    for name, reply in lies.items():
        cloud.replies[operation] = reply
        answer = await outcome(cloud, method)
        kind = ServiceUnavailable if reply.status >= 500 else UnreadableReply
        if not (isinstance(answer, kind) and answer.retryable and answer.operation == operation):
            believed[name] = answer
    print(f"{method}, {operation}: {len(lies)} replies that are none, {len(believed)} believed")
    assert not believed
    assert cloud.redirected == 0


async def test_a_machine_that_the_reply_does_not_name_is_not_taken_for_ended_nor_for_gone(cloud: Endpoint) -> None:
    other = (
        "<item><instanceId>i-0ffffffffffffffff</instanceId><currentState><name>terminated</name></currentState></item>"
    )
    cloud.replies["TerminateInstances"] = Reply(document("TerminateInstances", f"<instancesSet>{other}</instancesSet>"))
    cloud.replies["DescribeInstances"] = Reply(document("DescribeInstances", "<reservationSet/>"))
    for method in ("terminate", "look_up"):
        answer = await outcome(cloud, method)
        assert isinstance(answer, UnreadableReply)
        assert INSTANCE in str(answer)


async def test_an_empty_listing_that_is_whole_is_an_empty_listing(cloud: Endpoint) -> None:
    cloud.replies["DescribeInstances"] = Reply(document("DescribeInstances", "<reservationSet/>"))
    assert await outcome(cloud, "list_owned") == []
    assert await outcome(cloud, "describe") == {}


async def test_a_page_that_names_itself_as_the_next_one_is_no_listing(cloud: Endpoint) -> None:
    endless = "<reservationSet/><nextToken>again</nextToken>"
    cloud.replies["DescribeInstances"] = Reply(document("DescribeInstances", endless))
    assert isinstance(await outcome(cloud, "list_owned"), UnreadableReply)


async def test_a_long_reply_is_judged_as_a_short_one_is(cloud: Endpoint) -> None:
    for body in (XHTML.replace("Sign in", "x" * 40_000), document("DescribeVpcs", "<vpcSet/>" + " " * 40_000)):
        cloud.replies["DescribeInstances"] = Reply(body)
        assert isinstance(await outcome(cloud, "list_owned"), UnreadableReply)


async def test_a_refusal_in_ec2s_own_words_is_believed(cloud: Endpoint) -> None:
    cloud.replies["RunInstances"] = refusal("UnauthorizedOperation", 403)
    answer = await outcome(cloud, "launch")
    assert isinstance(answer, Unauthorized)
    assert not answer.retryable


@pytest.mark.parametrize("name", LIES)
async def test_ssm_that_lies_costs_a_look_up_by_name(cloud: Endpoint, name: str) -> None:
    cloud.replies["GetParameters"] = LIES[name]("RunInstances")
    prepared = await outcome(cloud, "prepare")
    assert isinstance(prepared, Prepared)
    assert prepared.image == "ami-1"


@pytest.mark.parametrize("name", LIES)
async def test_sts_that_lies_tells_no_account(cloud: Endpoint, name: str) -> None:
    cloud.replies["GetCallerIdentity"] = LIES[name]("GetCallerIdentity")
    cloud.replies["DescribeSecurityGroups"] = LIES[name]("DescribeSecurityGroups")
    provider = cloud.open()
    assert await provider.account() is None
    assert await provider.account() is None
    assert cloud.asked == ["GetCallerIdentity", "DescribeSecurityGroups"]


async def test_the_account_is_asked_for_once_a_process_and_not_where_a_reply_has_named_it(cloud: Endpoint) -> None:
    provider = cloud.open()
    assert await provider.account() == await provider.account() == await cloud.open("again").account() == ACCOUNT
    assert cloud.asked == ["GetCallerIdentity"]
    assert await cloud.open("other keys", aws_access_key_id="another").account() == ACCOUNT
    assert cloud.asked == ["GetCallerIdentity"] * 2
    third = cloud.open("third keys", aws_access_key_id="third")
    assert isinstance((await third.look_up([INSTANCE]))[INSTANCE], Instance)
    assert await third.account() == ACCOUNT
    assert cloud.asked == ["GetCallerIdentity"] * 2 + ["DescribeInstances"]
