from __future__ import annotations

import aiohttp
import pytest
from botocore import exceptions as boto
from botocore.parsers import ResponseParserError

from ogc_async.errors import (
    InvalidRequest,
    NoCapacity,
    NotFound,
    OutcomeUnknown,
    ProviderError,
    QuotaExceeded,
    ResourceInUse,
    ServiceUnavailable,
    Throttled,
    TokenSpent,
    Unauthorized,
    UnreadableReply,
)
from ogc_async.providers.aws.errors import FOREIGN, Caller, after_doubt, is_retryable, map_error
from tests.unit.providers.aws.script import refusal


@pytest.mark.parametrize(
    ("code", "status", "kind"),
    [
        ("RequestLimitExceeded", 503, Throttled),
        ("Throttling", 400, Throttled),
        ("ThrottlingException", 400, Throttled),
        ("RequestThrottledForAReasonOfItsOwn", 400, Throttled),
        ("InternalError", 500, ServiceUnavailable),
        ("Unavailable", 503, ServiceUnavailable),
        ("SomethingNobodyHasSeen", 502, ServiceUnavailable),
        ("InsufficientInstanceCapacity", 500, NoCapacity),
        ("InsufficientFreeAddressesInSubnet", 400, NoCapacity),
        ("UnfulfillableCapacity", 500, NoCapacity),
        ("Unsupported", 400, NoCapacity),
        ("VcpuLimitExceeded", 400, QuotaExceeded),
        ("InstanceLimitExceeded", 400, QuotaExceeded),
        ("MaxSpotInstanceCountExceeded", 400, QuotaExceeded),
        ("UnauthorizedOperation", 403, Unauthorized),
        ("AuthFailure", 401, Unauthorized),
        ("AuthFailure.ServiceLinkedRoleCreationNotPermitted", 403, Unauthorized),
        ("AuthFailure.SomethingNobodyHasSeen", 403, Unauthorized),
        ("OptInRequired", 401, Unauthorized),
        ("InvalidAMIID.NotFound", 400, NotFound),
        ("InvalidNewThing.NotFound", 400, NotFound),
        ("InvalidAMIID.Malformed", 400, InvalidRequest),
        ("InvalidParameterValue", 400, InvalidRequest),
        ("MissingParameter", 400, InvalidRequest),
        ("OperationNotPermitted", 400, InvalidRequest),
        ("IdempotentParameterMismatch", 400, TokenSpent),
        ("IdempotentInstanceTerminated", 400, TokenSpent),
        ("DependencyViolation", 400, ResourceInUse),
        ("VolumeInUse", 400, ResourceInUse),
    ],
)
def test_a_code_means_one_error(code: str, status: int, kind: type[ProviderError]) -> None:
    error = map_error(refusal(code, status=status), "RunInstances")
    assert type(error) is kind
    assert (error.provider, error.operation, error.code, error.request_id) == ("aws", "RunInstances", code, "req-1")


@pytest.mark.parametrize("code", ["RequestLimitExceeded", "InternalError"])
def test_throttling_and_the_clouds_own_trouble_can_be_retried(code: str) -> None:
    assert is_retryable(map_error(refusal(code, status=503), "RunInstances"))


@pytest.mark.parametrize(
    "code", ["InsufficientInstanceCapacity", "VcpuLimitExceeded", "AuthFailure", "IdempotentParameterMismatch"]
)
def test_what_stays_as_it_is_can_not_be_retried_even_with_status_500(code: str) -> None:
    assert not is_retryable(map_error(refusal(code, status=500), "RunInstances"))


URL = "https://ec2.us-east-2.amazonaws.com/"


@pytest.mark.parametrize(
    "error",
    [
        boto.EndpointConnectionError(endpoint_url=URL),
        boto.ConnectTimeoutError(endpoint_url=URL),
        boto.ReadTimeoutError(endpoint_url=URL),
        boto.ConnectionClosedError(endpoint_url=URL),
        boto.HTTPClientError(error="reset"),
        boto.ProxyConnectionError(proxy_url="http://proxy:1"),
        ResponseParserError("Unable to parse response, invalid XML received"),
        KeyError("GetCallerIdentityResult"),
        aiohttp.ServerDisconnectedError(),
        TimeoutError(),
        ConnectionResetError(),
    ],
    ids=lambda error: type(error).__name__,
)
def test_a_broken_way_to_the_cloud_can_be_retried(error: Exception) -> None:
    assert isinstance(error, FOREIGN)
    mapped = map_error(error, "DescribeInstances")
    assert isinstance(mapped, ServiceUnavailable)
    assert mapped.retryable
    assert "check the network" in str(mapped)


@pytest.mark.parametrize(
    "error",
    [
        boto.NoCredentialsError(),
        boto.PartialCredentialsError(provider="env", cred_var="secret"),
        boto.CredentialRetrievalError(provider="process", error_msg="exit 1"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_missing_credentials_say_which_variables_to_check(error: Exception) -> None:
    mapped = map_error(error, "RunInstances")
    assert isinstance(mapped, Unauthorized)
    assert "AWS_ACCESS_KEY_ID" in str(mapped)


def test_a_denied_call_says_which_permission_is_lacking_and_hides_the_encoded_policy() -> None:
    text = "You are not authorized to perform this operation. Encoded authorization failure message: " + "x" * 5000
    message = str(map_error(refusal("UnauthorizedOperation", text, status=403), "RunInstances"))
    assert "ec2:RunInstances" in message
    assert "xxx" not in message


def test_a_key_pair_that_no_zone_and_no_type_takes_is_no_lack_of_capacity() -> None:
    text = "ED25519 key pairs are not supported with Windows AMIs. Choose a different key pair type and try again."
    error = map_error(refusal("Unsupported", text), "RunInstances")
    assert type(error) is InvalidRequest
    assert not is_retryable(error)
    assert "ED25519" in str(error)
    assert "ssh-keygen -t rsa" in str(error)


def test_the_canonical_request_with_its_token_never_gets_into_a_message() -> None:
    text = "The signature does not match.\n\nThe Canonical String was\nx-amz-security-token:hush"
    message = str(map_error(refusal("SignatureDoesNotMatch", text, status=403), "RunInstances"))
    assert "hush" not in message
    assert "AWS_SECRET_ACCESS_KEY" in message


def test_a_mistake_in_the_parameters_is_told_whole() -> None:
    error = boto.ParamValidationError(report='Missing required parameter in input: "MaxCount"')
    mapped = map_error(error, "RunInstances")
    assert isinstance(mapped, InvalidRequest)
    assert "MaxCount" in str(mapped)


def test_every_exception_of_botocore_is_taken_for_what_it_is() -> None:
    for name in dir(boto):
        kind = getattr(boto, name)
        if isinstance(kind, type) and issubclass(kind, boto.BotoCoreError):
            assert issubclass(kind, FOREIGN), name


@pytest.mark.parametrize("code", ["", "403", "404", "429"])
def test_a_refusal_without_a_code_of_ec2s_is_none(code: str) -> None:
    error = map_error(refusal(code, status=int(code or 403)), "RunInstances")
    assert isinstance(error, UnreadableReply)
    assert error.retryable


def hint(code: str, caller: Caller) -> str:
    return str(map_error(refusal(code, status=401), "RunInstances", caller=caller))


@pytest.mark.parametrize("code", ["RequestExpired", "ExpiredToken", "ExpiredTokenException"])
def test_what_is_over_is_the_session_token_before_it_is_the_clock(code: str) -> None:
    told = hint(code, Caller())
    assert 0 < told.index("AWS_SESSION_TOKEN") < told.index("clock")
    told = hint(code, Caller(profile="work"))
    assert 0 < told.index("aws sso login --profile work") < told.index("clock")


@pytest.mark.parametrize("code", ["AuthFailure", "SignatureDoesNotMatch", "InvalidClientTokenId"])
def test_a_caller_whom_ec2_does_not_believe_is_told_every_likely_cause(code: str) -> None:
    told = hint(code, Caller(region="me-south-1"))
    assert all(each in told for each in ("AWS_ACCESS_KEY_ID", "clock", "me-south-1"))
    told = hint(code, Caller(profile="work", region="me-south-1"))
    assert "'work'" in told
    assert "AWS_ACCESS_KEY_ID" not in told


def test_the_first_spot_machine_of_an_account_names_the_role_that_is_missing() -> None:
    told = hint("AuthFailure.ServiceLinkedRoleCreationNotPermitted", Caller())
    assert "create-service-linked-role --aws-service-name spot.amazonaws.com" in told


def test_a_sign_in_that_is_over_is_told_how_to_renew() -> None:
    error = map_error(boto.UnauthorizedSSOTokenError(), "RunInstances", caller=Caller(profile="work"))
    assert isinstance(error, Unauthorized)
    assert "aws sso login --profile work" in str(error)


CERTAIN = (
    *("InsufficientInstanceCapacity", "Unsupported", "VcpuLimitExceeded", "InvalidParameterValue"),
    *("InvalidAMIID.NotFound", "IdempotentInstanceTerminated"),
)
BEFORE_THE_TOKEN = (
    *("UnauthorizedOperation", "AuthFailure", "RequestExpired", "Blocked", "AuthFailure.Other"),
    *("RequestLimitExceeded", "Throttling"),
)


@pytest.mark.parametrize("code", [*CERTAIN, *BEFORE_THE_TOKEN])
def test_a_refused_repeat_tells_of_the_first_attempt_only_where_ec2_has_looked_at_the_token(code: str) -> None:
    doubt = map_error(boto.ReadTimeoutError(endpoint_url=URL), "RunInstances")
    refused = map_error(refusal(code), "RunInstances")
    outcome = after_doubt(refused, doubt)
    if code in CERTAIN:
        assert outcome is refused
    else:
        assert isinstance(outcome, OutcomeUnknown)
        assert outcome.retryable
        assert "an earlier attempt may have launched machines" in str(outcome)
        assert refused.message in str(outcome)
