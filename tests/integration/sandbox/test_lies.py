"""Every fault that has a word, at every kind of call: what boto3 hears, and whether the call took effect."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
import requests
from asyncssh import generate_private_key
from botocore.exceptions import ClientError, ConnectionClosedError
from botocore.parsers import ResponseParserError

from ogc_async.sandbox.traffic import EFFECTIVE, KINDS
from tests.cloud import Cloud, running_sandbox
from tests.integration.sandbox.conftest import client_of

REFUSED = {
    "unavailable": ("Unavailable", 503),
    "throttled": ("RequestLimitExceeded", 503),
    "error-before": ("InternalError", 500),
    "error-after": ("InternalError", 500),
    "unauthenticated": ("AuthFailure", 401),
    "denied": ("UnauthorizedOperation", 403),
    "expired": ("RequestExpired", 400),
    "precondition": ("PreconditionFailed", 412),
}
MISSING = {
    "RunInstances": "InvalidAMIID.NotFound",
    "DescribeInstances": "InvalidInstanceID.NotFound",
    "StopInstances": "InvalidInstanceID.NotFound",
    "TerminateInstances": "InvalidInstanceID.NotFound",
    "ImportKeyPair": "InvalidKeyPair.NotFound",
    "CreateSecurityGroup": "InvalidGroup.NotFound",
    "DescribeImages": "InvalidAMIID.NotFound",
    "DescribeSubnets": "InvalidSubnetID.NotFound",
}
UNHEARD = ("lost-reply", "cut")
UNREADABLE = ("html", "html-before", "redirect", "truncated")


@pytest.fixture(scope="module")
def cloud() -> Iterator[Cloud]:
    with running_sandbox("--boot", "0", "--no-limits", "--no-ssh") as cloud:
        yield cloud


@pytest.fixture(scope="module")
def ec2(cloud: Cloud) -> Any:
    return client_of(cloud)


@dataclass
class World:
    """One test's machines and names in the cloud of all."""

    cloud: Cloud
    ec2: Any
    word: str = field(default_factory=lambda: uuid.uuid4().hex[:10])
    image: str = ""
    machine: str = ""

    def __post_init__(self) -> None:
        self.image = self.ec2.describe_images(Filters=[{"Name": "name", "Values": ["al2023-ami-2*x86_64"]}])["Images"][
            0
        ]["ImageId"]
        self.machine = self.launch()["Instances"][0]["InstanceId"]
        self.ec2.get_waiter("instance_running").wait(
            InstanceIds=[self.machine], WaiterConfig={"Delay": 0, "MaxAttempts": 100_000}
        )

    def launch(self) -> Any:
        return self.ec2.run_instances(ImageId=self.image, InstanceType="t3.micro", MinCount=1, MaxCount=1)

    def seen(self) -> list[str]:
        """All that a call may change, as the admin page tells it."""
        state = self.cloud.state()
        machines = [each["id"] for each in state["instances"]["aws"]]
        ended = [each["id"] for each in state["instances"]["aws"] if each["state"] not in ("pending", "running")]
        return [*machines, *ended, *state["key_pairs"], *state["firewalls"]]

    def calls(self) -> dict[str, Callable[[], Any]]:
        key = generate_private_key("ssh-ed25519").export_public_key()
        return {
            "RunInstances": self.launch,
            "DescribeInstances": lambda: self.ec2.describe_instances(InstanceIds=[self.machine]),
            "StopInstances": lambda: self.ec2.stop_instances(InstanceIds=[self.machine]),
            "TerminateInstances": lambda: self.ec2.terminate_instances(InstanceIds=[self.machine]),
            "ImportKeyPair": lambda: self.ec2.import_key_pair(KeyName=self.word, PublicKeyMaterial=key),
            "CreateSecurityGroup": lambda: self.ec2.create_security_group(GroupName=self.word, Description="x"),
            "DescribeImages": lambda: self.ec2.describe_images(ImageIds=[self.image]),
            "DescribeSubnets": lambda: self.ec2.describe_subnets(),
        }


CHANGES = ("RunInstances", "StopInstances", "TerminateInstances", "ImportKeyPair", "CreateSecurityGroup")


def answer(call: Callable[[], Any]) -> Any:
    """The reply's members, the code and status of a refusal, or what went wrong with it."""
    try:
        reply = call()
    except ClientError as error:
        return error.response["Error"]["Code"], error.response["ResponseMetadata"]["HTTPStatusCode"]
    except ConnectionClosedError:
        return "unheard"
    except ResponseParserError:
        return "unreadable"
    return {name: value for name, value in reply.items() if name != "ResponseMetadata"}


def is_right(kind: str, operation: str, heard: Any) -> bool:
    if kind in UNHEARD:
        return heard == "unheard"
    if kind in UNREADABLE:
        return heard == "unreadable"
    if kind in REFUSED:
        return bool(heard == REFUSED[kind])
    if kind == "missing":
        return bool(heard == (MISSING[operation], 400))
    if kind == "other-kind":
        return bool(heard == {})
    if kind == "empty":
        return isinstance(heard, dict) and not any(heard[name] for name in heard if isinstance(heard[name], list))
    if kind == "other-account":
        is_of_ours = operation in ("DescribeInstances", "StopInstances", "TerminateInstances")
        return bool(heard == ("InvalidInstanceID.NotFound", 400)) if is_of_ours else isinstance(heard, dict)
    # The second one of two finds the name taken.
    return isinstance(heard, dict) or heard[0].endswith(".Duplicate")


@pytest.mark.parametrize("kind", sorted(KINDS))
@pytest.mark.parametrize("operation", MISSING)
def test_a_fault_is_heard_and_takes_effect_as_its_word_says(cloud: Cloud, ec2: Any, operation: str, kind: str) -> None:
    world = World(cloud, ec2)
    before = world.seen()
    cloud.plan(f"{operation}={kind}")
    heard = answer(world.calls()[operation])
    assert is_right(kind, operation, heard), heard
    reaches_ours = kind in EFFECTIVE and not (kind == "other-account" and operation.startswith(("Stop", "Term")))
    assert (world.seen() != before) == (operation in CHANGES and reaches_ours)


@pytest.mark.parametrize("kind", sorted(KINDS - {"cut", "lost-reply", "twice"}))
def test_a_lasting_fault_is_heard_until_all_is_well(cloud: Cloud, ec2: Any, kind: str) -> None:
    world = World(cloud, ec2)
    cloud.plan(f"DescribeInstances={kind}:lasting")
    for _ in range(3):
        assert is_right(kind, "DescribeInstances", answer(world.calls()["DescribeInstances"]))
    cloud.plan("DescribeInstances=well")
    assert world.ec2.describe_instances(InstanceIds=[world.machine])["Reservations"]


STS = {
    "unauthenticated": ("InvalidClientTokenId", 403),
    "denied": ("AccessDenied", 403),
    "expired": ("ExpiredToken", 403),
    "throttled": ("Throttling", 400),
    "unavailable": ("ServiceUnavailable", 503),
    "error-before": ("InternalFailure", 500),
}
SSM = {
    "unauthenticated": ("UnrecognizedClientException", 400),
    "denied": ("AccessDeniedException", 400),
    "expired": ("ExpiredTokenException", 400),
    "throttled": ("ThrottlingException", 400),
    "unavailable": ("ServiceUnavailable", 503),
    "error-before": ("InternalServerError", 500),
    "missing": ("ParameterNotFound", 400),
}


@pytest.mark.parametrize("kind", STS)
def test_sts_refuses_in_its_own_words(cloud: Cloud, kind: str) -> None:
    cloud.plan(f"GetCallerIdentity={kind}")
    assert answer(client_of(cloud, "sts").get_caller_identity) == STS[kind]


@pytest.mark.parametrize("kind", SSM)
def test_ssm_refuses_in_its_own_words(cloud: Cloud, kind: str) -> None:
    cloud.plan(f"GetParameters={kind}")
    assert answer(lambda: client_of(cloud, "ssm").get_parameters(Names=["/a"])) == SSM[kind]


@pytest.mark.parametrize("kind", ["html", "html-before", "truncated"])
def test_json_is_spoiled_like_xml(cloud: Cloud, kind: str) -> None:
    ssm = client_of(cloud, "ssm")
    names = ["/aws/service/ami-amazon-linux-latest/al2023-ami-kernel-default-x86_64"]
    cloud.plan(f"GetParameters={kind}")
    assert answer(lambda: ssm.get_parameters(Names=names)) in ("unreadable", {})
    for lie in ("empty", "other-kind"):
        cloud.plan(f"GetParameters={lie}")
        assert not answer(lambda: ssm.get_parameters(Names=names)).get("Parameters")


def test_a_redirect_leads_to_a_login_page(cloud: Cloud) -> None:
    heard: list[tuple[int, str]] = []
    ec2 = client_of(cloud)
    ec2.meta.events.register(
        "before-parse.ec2.*",
        lambda response_dict, **_: heard.append((response_dict["status_code"], response_dict["headers"]["Location"])),
    )
    cloud.plan("DescribeRegions=redirect")
    assert answer(ec2.describe_regions) == "unreadable"
    assert heard == [(302, "/login")]
    page = requests.get(f"{cloud.endpoint}/login", timeout=60)
    assert (page.status_code, page.headers["Content-Type"]) == (200, "text/html; charset=utf-8")


def test_a_truncated_reply_says_its_own_length(cloud: Cloud) -> None:
    world = World(cloud, client_of(cloud))
    bodies: list[tuple[bytes, int]] = []
    world.ec2.meta.events.register(
        "before-parse.ec2.*",
        lambda response_dict, **_: bodies.append(
            (response_dict["body"], int(response_dict["headers"]["Content-Length"]))
        ),
    )
    world.ec2.describe_subnets()
    cloud.plan("DescribeSubnets=truncated")
    answer(world.ec2.describe_subnets)
    (whole, _), (half, said) = bodies
    assert len(half) == said == len(whole) // 2
    assert whole[: said - 100].startswith(half[: said - 100].split(b"<requestId>")[0])


def test_lies_hold_from_the_start() -> None:
    with running_sandbox("--lies", "DescribeRegions=empty", "--lies", "DescribeVpcs=html") as lying:
        ec2 = client_of(lying)
        for _ in range(2):
            assert answer(ec2.describe_regions) == {"Regions": []}
            assert answer(ec2.describe_vpcs) == "unreadable"
        assert lying.state()["faults"]["aws"] == {"empty": 2, "html": 2}


def test_a_lie_stands_in_for_a_refusal_too(cloud: Cloud) -> None:
    ec2 = client_of(cloud)
    cloud.plan("DescribeInstances=empty", "DescribeKeyPairs=html")
    assert answer(lambda: ec2.describe_instances(InstanceIds=["i-00000000000000000"])) == {}
    assert answer(lambda: ec2.describe_key_pairs(KeyNames=["nobody"])) == "unreadable"
