"""What EC2, SSM and the way to them can answer, in this project's errors: one table of codes, one place.

Codes are those of the EC2 API reference ("Error codes for the Amazon EC2 API") and of botocore's retry tables.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, TypeVar

import aiohttp
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
from ogc_async.providers.aws.parsing import MISREADINGS

PROVIDER = "aws"

T = TypeVar("T")

_INSTANCE_ID = re.compile(r"\bi-[0-9A-Za-z-]+")


class UnknownInstances(NotFound):
    """EC2 has no such instances; ``instance_ids`` are all that it named, while the message shows the first ones."""

    instance_ids: frozenset[str] = frozenset()


_CODES: dict[type[ProviderError], tuple[str, ...]] = {
    Throttled: (
        "RequestLimitExceeded",
        "Throttling",
        "ThrottlingException",
        "ThrottledException",
        "RequestThrottled",
        "RequestThrottledException",
        "EC2ThrottledException",
        "TooManyRequestsException",
        "PriorRequestNotComplete",
        "BandwidthLimitExceeded",
        "LimitExceededException",
        "SlowDown",
    ),
    ServiceUnavailable: (
        "InternalError",
        "InternalFailure",
        "InternalServerError",
        "ServerInternal",
        "ServiceUnavailable",
        "Unavailable",
        "RequestTimeout",
        "RequestTimeoutException",
    ),
    # A matter of the zone or of the machine type: another one may have room. `Unsupported` is how EC2 says that a
    # zone does not offer the type at all.
    NoCapacity: (
        "InsufficientInstanceCapacity",
        "InsufficientHostCapacity",
        "InsufficientReservedInstanceCapacity",
        "InsufficientCapacity",
        "InsufficientCapacityOnHost",
        "InsufficientFreeAddressesInSubnet",
        "InsufficientAddressCapacity",
        "UnfulfillableCapacity",
        "SpotMaxPriceTooLow",
        "Unsupported",
    ),
    QuotaExceeded: (
        "VcpuLimitExceeded",
        "InstanceLimitExceeded",
        "MaxSpotInstanceCountExceeded",
        "VolumeLimitExceeded",
        "MaxIOPSLimitExceeded",
        "AddressLimitExceeded",
        "NetworkInterfaceLimitExceeded",
        "SecurityGroupLimitExceeded",
        "SecurityGroupsPerInstanceLimitExceeded",
        "RulesPerSecurityGroupLimitExceeded",
        "KeyPairLimitExceeded",
        "ResourceLimitExceeded",
        "TagLimitExceeded",
        "PendingSnapshotLimitExceeded",
    ),
    Unauthorized: (
        "UnauthorizedOperation",
        "AccessDenied",
        "AccessDeniedException",
        "AuthFailure",
        "Blocked",
        "ExpiredToken",
        "ExpiredTokenException",
        "IncompleteSignature",
        "InvalidClientTokenId",
        "InvalidAccessKeyId",
        "InvalidSecurity",
        "InvalidSignatureException",
        "MissingAuthenticationToken",
        "OptInRequired",
        "PendingVerification",
        "RequestExpired",
        "SignatureDoesNotMatch",
        "UnrecognizedClientException",
    ),
    NotFound: (
        "InvalidAMIID.NotFound",
        "InvalidAMIID.Unavailable",
        "InvalidGroup.NotFound",
        "InvalidGroupId.NotFound",
        "InvalidSecurityGroupID.NotFound",
        "InvalidKeyPair.NotFound",
        "InvalidInstanceType.NotFound",
        "InvalidSubnetID.NotFound",
        "InvalidVpcID.NotFound",
        "ParameterNotFound",
    ),
    UnknownInstances: ("InvalidInstanceID.NotFound",),
    TokenSpent: ("IdempotentParameterMismatch", "IdempotentInstanceTerminated"),
    ResourceInUse: ("DependencyViolation", "InvalidGroup.InUse", "ResourceInUseException", "VolumeInUse"),
}

_CLASS_OF = {code: kind for kind, codes in _CODES.items() for code in codes}

_TRANSIENT: tuple[type[Exception], ...] = (
    boto.ConnectionError,
    boto.HTTPClientError,
    boto.ConnectionClosedError,
    boto.IncompleteReadError,
    aiohttp.ClientError,
    TimeoutError,
    ConnectionError,
)
"""The way to the cloud failed."""

_UNREADABLE: tuple[type[Exception], ...] = (ResponseParserError, *MISREADINGS)
"""What came back was not the cloud speaking: a page of a proxy, a document of another kind, half of one."""

_NO_CREDENTIALS: tuple[type[Exception], ...] = (
    boto.NoCredentialsError,
    boto.PartialCredentialsError,
    boto.CredentialRetrievalError,
    boto.SSOError,
    boto.LoginError,
    boto.TokenRetrievalError,
    boto.NoAuthTokenError,
    boto.MetadataRetrievalError,
    boto.InvalidConfigError,
    boto.UnknownCredentialError,
    boto.InfiniteLoopConfigError,
    boto.RefreshWithMFAUnsupportedError,
    boto.MissingDependencyException,
)

_NO_SIGN_IN: tuple[type[Exception], ...] = (boto.SSOError, boto.TokenRetrievalError)
"""The session of IAM Identity Center is over or was never opened."""

FOREIGN: tuple[type[Exception], ...] = (
    boto.ClientError,
    boto.BotoCoreError,
    *_TRANSIENT,
    *_UNREADABLE,
    OSError,  # a `credential_process` that cannot be started
)
"""Whatever botocore may raise in a call or before it."""

_EXPIRED = frozenset({"RequestExpired", "ExpiredToken", "ExpiredTokenException"})
_UNPROVEN = frozenset(
    {
        "AuthFailure",
        "IncompleteSignature",
        "InvalidClientTokenId",
        "InvalidAccessKeyId",
        "InvalidSecurity",
        "InvalidSignatureException",
        "MissingAuthenticationToken",
        "SignatureDoesNotMatch",
        "UnrecognizedClientException",
    }
)
"""EC2 does not believe who is calling. It says so of a wrong clock, too, and of a region that is not enabled."""

_KEY_PAIR_HINT = "ssh-keygen -t rsa -b 4096 makes a key for Windows images: name it in ssh-keys"
_HINTS = {
    "AuthFailure.ServiceLinkedRoleCreationNotPermitted": "an administrator makes the role once: "
    "`aws iam create-service-linked-role --aws-service-name spot.amazonaws.com`",
    "OptInRequired": "the account is not subscribed to this: subscribe in the AWS Marketplace or enable the region",
    "PendingVerification": "AWS is still verifying the account: try again later",
    "Blocked": "AWS has blocked the account: contact its support",
}

DUPLICATES = frozenset({"InvalidKeyPair.Duplicate", "InvalidGroup.Duplicate", "InvalidPermission.Duplicate"})
PROPAGATING = frozenset(
    {"InvalidKeyPair.NotFound", "InvalidGroup.NotFound", "InvalidGroupId.NotFound", "InvalidSecurityGroupID.NotFound"}
)
BEFORE_THE_TOKEN: tuple[type[ProviderError], ...] = (Unauthorized, Throttled)
"""Refusals that EC2 gives before it looks at a launch's idempotency token.

All other refusals of a repeat tell of the first attempt as well: had it launched anything, the repeat would have been
answered with that. Source: "Ensuring idempotency in Amazon EC2 API requests".
"""

MAX_MESSAGE = 400


@dataclass(frozen=True, slots=True)
class Caller:
    """Whose calls they are, so far as advice depends on it; ``profile`` is None where an access key is given."""

    profile: str | None = None
    region: str = ""


NOBODY = Caller()


def map_error(error: Exception, operation: str, *, service: str = "ec2", caller: Caller = NOBODY) -> ProviderError:
    """``error`` in this project's terms. What is in no table can not be retried, and says so in its own words."""
    if isinstance(error, ProviderError):
        return error
    if isinstance(error, boto.ClientError):
        return _from_reply(error, operation, service, caller)
    name = type(error).__name__
    if isinstance(error, _NO_CREDENTIALS):
        advice = _sign_in(caller) if isinstance(error, _NO_SIGN_IN) else _keys(caller)
        return _make(Unauthorized, f"no usable credentials ({_first_line(str(error))}); {advice}", operation, name)
    if isinstance(error, _TRANSIENT):
        return _make(ServiceUnavailable, _unreachable(error, name), operation, name)
    if isinstance(error, _UNREADABLE):
        return unreadable(operation, _first_line(str(error)) or name)
    if isinstance(error, OSError):
        return _make(
            Unauthorized, f"no usable credentials ({_first_line(str(error))}); {_keys(caller)}", operation, name
        )
    if isinstance(error, boto.ParamValidationError):
        return _make(InvalidRequest, " ".join(str(error).split()), operation, name)
    return _make(InvalidRequest, _first_line(str(error)) or name, operation, name)


def unreadable(operation: str, fault: str) -> UnreadableReply:
    """What came back is no answer to the operation, so that nothing follows from it."""
    message = (
        f"what came back is not its reply: {fault}; a proxy or a login page may have answered in the cloud's place: "
        "check the network, AWS_REGION and AWS_ENDPOINT_URL"
    )
    return UnreadableReply(message, provider=PROVIDER, operation=operation, retryable=True)


def after_doubt(refusal: ProviderError, doubt: ProviderError) -> ProviderError:
    """The outcome of a launch whose repeat was refused, after an attempt of which nobody knows what became."""
    if not isinstance(refusal, BEFORE_THE_TOKEN):
        return refusal
    message = f"an earlier attempt may have launched machines ({doubt.message}), and its repeat was refused: "
    return OutcomeUnknown(
        message + refusal.message,
        provider=PROVIDER,
        operation=refusal.operation,
        code=refusal.code,
        request_id=refusal.request_id,
        retryable=True,
    )


def is_duplicate(error: ProviderError) -> bool:
    """What was to be created exists already: a success, once it is known to be ours."""
    return error.code in DUPLICATES


def is_propagating(error: Exception) -> bool:
    """A key pair or firewall that may be too young to be known everywhere (EC2's eventual consistency)."""
    return isinstance(error, ProviderError) and error.code in PROPAGATING


def is_bad_instance(error: ProviderError) -> bool:
    """One instance of many spoiled the whole call: it is gone, misspelt, or protected from termination."""
    return error.code in ("InvalidInstanceID.NotFound", "InvalidInstanceID.Malformed", "OperationNotPermitted")


def named_instances(error: ProviderError) -> frozenset[str]:
    """The instances that a refusal is about."""
    return error.instance_ids if isinstance(error, UnknownInstances) else frozenset(_INSTANCE_ID.findall(error.message))


def is_missing_instance(error: Exception) -> bool:
    """No such instance: gone for a while, or so young that not all of EC2 knows it."""
    return isinstance(error, ProviderError) and error.code == "InvalidInstanceID.NotFound"


def all_or_raise(outcomes: Iterable[T | ProviderError]) -> list[T]:
    """What the calls of one fan-out returned; the first error among them is raised."""
    values: list[T] = []
    for outcome in outcomes:
        if isinstance(outcome, ProviderError):
            raise outcome
        values.append(outcome)
    return values


def is_retryable(error: Exception) -> bool:
    """The same call, with the same parameters, may succeed a little later."""
    return isinstance(error, ProviderError) and error.retryable


def _from_reply(error: boto.ClientError, operation: str, service: str, caller: Caller) -> ProviderError:
    reply: dict[str, Any] = error.response
    code = str(reply.get("Error", {}).get("Code", ""))
    about = reply.get("ResponseMetadata", {})
    status = int(about.get("HTTPStatusCode", 0) or 0)
    text = _first_line(str(reply.get("Error", {}).get("Message") or "")) or "refused without a reason"
    if (not code or code.isdecimal()) and status < 500:
        # botocore puts the status in the place of a code that is not there.
        return unreadable(operation, f"status {status} without a code")
    kind = _class_of(code, status)
    message = _denied(text, code, f"{service}:{operation}", caller) if kind is Unauthorized else text
    if code == "Unsupported" and "key pair" in text.lower():
        # "ED25519 key pairs are not supported with Windows AMIs": no zone and no machine type takes the key.
        kind, message = InvalidRequest, f"{text.rstrip('.')}; {_KEY_PAIR_HINT}"
    mapped = _make(kind, message, operation, code, request_id=str(about.get("RequestId", "")))
    if isinstance(mapped, UnknownInstances):
        mapped.instance_ids = frozenset(_INSTANCE_ID.findall(str(reply["Error"].get("Message"))))
    return mapped


def _class_of(code: str, status: int) -> type[ProviderError]:
    """The table first: EC2 sends a lack of capacity with status 500, which only looks like trouble of its own."""
    if code in _CLASS_OF:
        return _CLASS_OF[code]
    if code.startswith(("Throttl", "RequestThrottl")) or status == 429:
        return Throttled
    if code.startswith("AuthFailure."):
        return Unauthorized
    if status >= 500:
        return ServiceUnavailable
    return NotFound if code.endswith(".NotFound") else InvalidRequest


def _denied(text: str, code: str, permission: str, caller: Caller) -> str:
    if code in ("UnauthorizedOperation", "AccessDenied", "AccessDeniedException"):
        return f"{text}; the credentials lack the permission {permission}, or one for what it names"
    if code in _EXPIRED:
        return f"{text}; {_expired(caller)}"
    if code in _UNPROVEN:
        region = caller.region or "AWS_REGION"
        return f"{text}; {_keys(caller)}, this machine's clock, and whether the account has the region {region} enabled"
    return f"{text}; {_HINTS.get(code, _keys(caller))}"


def _keys(caller: Caller) -> str:
    if caller.profile:
        return f"check what ~/.aws has for the profile {caller.profile!r} (AWS_PROFILE)"
    return "check AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_SESSION_TOKEN"


def _expired(caller: Caller) -> str:
    if caller.profile:
        return f"temporary credentials are over: {_sign_in(caller)}, or get new ones; else check this machine's clock"
    return (
        "temporary credentials are over: get new ones, AWS_SESSION_TOKEN with its keys; else check this machine's clock"
    )


def _sign_in(caller: Caller) -> str:
    return f"run `aws sso login --profile {caller.profile or 'default'}`"


def _unreachable(error: Exception, name: str) -> str:
    said = _first_line(str(error)) or name
    return f"no answer: {said}; check the network, AWS_REGION and AWS_ENDPOINT_URL"


def _make(kind: type[ProviderError], message: str, operation: str, code: str, *, request_id: str = "") -> ProviderError:
    is_transient = issubclass(kind, Throttled | ServiceUnavailable)
    return kind(
        message, provider=PROVIDER, operation=operation, code=code, request_id=request_id, retryable=is_transient
    )


def _first_line(text: str) -> str:
    """One line of a message: what follows may be pages of encoded policy, or the signed request with its token."""
    line = text.strip().partition("\n")[0].partition("Encoded authorization failure message")[0].strip()
    return line if len(line) <= MAX_MESSAGE else f"{line[:MAX_MESSAGE]}…"
