"""What EC2, SSM and the way to them can answer, in this project's errors: one table of codes, one place.

Codes are those of the EC2 API reference ("Error codes for the Amazon EC2 API") and of botocore's retry tables.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, TypeVar

import aiohttp
from botocore import exceptions as boto
from botocore.parsers import ResponseParserError

from ogc_async.errors import (
    InvalidRequest,
    NoCapacity,
    NotFound,
    ProviderError,
    QuotaExceeded,
    ResourceInUse,
    ServiceUnavailable,
    Throttled,
    TokenSpent,
    Unauthorized,
)

PROVIDER = "aws"

T = TypeVar("T")

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
        "InvalidInstanceID.NotFound",
        "InvalidKeyPair.NotFound",
        "InvalidInstanceType.NotFound",
        "InvalidSubnetID.NotFound",
        "InvalidVpcID.NotFound",
        "ParameterNotFound",
    ),
    TokenSpent: ("IdempotentParameterMismatch", "IdempotentInstanceTerminated"),
    ResourceInUse: ("DependencyViolation", "InvalidGroup.InUse", "ResourceInUseException"),
}

_CLASS_OF = {code: kind for kind, codes in _CODES.items() for code in codes}

_TRANSIENT: tuple[type[Exception], ...] = (
    boto.ConnectionError,
    boto.HTTPClientError,
    boto.ConnectionClosedError,
    boto.IncompleteReadError,
    ResponseParserError,
    aiohttp.ClientError,
    TimeoutError,
    ConnectionError,
)
"""The way to the cloud failed, or what came back was not the cloud speaking."""

_NO_CREDENTIALS: tuple[type[Exception], ...] = (
    boto.NoCredentialsError,
    boto.PartialCredentialsError,
    boto.CredentialRetrievalError,
    boto.SSOError,
    boto.LoginError,
    boto.TokenRetrievalError,
    boto.NoAuthTokenError,
    boto.MetadataRetrievalError,
)

FOREIGN: tuple[type[Exception], ...] = (boto.ClientError, boto.BotoCoreError, *_TRANSIENT)
"""Whatever a call may raise that is not a mistake of this program."""

_KEYS_HINT = "check AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_SESSION_TOKEN"
_KEY_PAIR_HINT = "ssh-keygen -t rsa -b 4096 makes a key for Windows images: name it in ssh-keys"
_HINTS = {
    "RequestExpired": "check this machine's clock",
    "ExpiredToken": "the temporary credentials are over: get new ones",
    "ExpiredTokenException": "the temporary credentials are over: get new ones",
    "OptInRequired": "the account is not subscribed to this: subscribe in the AWS Marketplace or enable the region",
    "PendingVerification": "AWS is still verifying the account: try again later",
    "Blocked": "AWS has blocked the account: contact its support",
}

DUPLICATES = frozenset({"InvalidKeyPair.Duplicate", "InvalidGroup.Duplicate", "InvalidPermission.Duplicate"})
PROPAGATING = frozenset(
    {"InvalidKeyPair.NotFound", "InvalidGroup.NotFound", "InvalidGroupId.NotFound", "InvalidSecurityGroupID.NotFound"}
)
MAX_MESSAGE = 400


def map_error(error: Exception, operation: str, *, service: str = "ec2") -> ProviderError:
    """``error`` in this project's terms. What is unknown can not be retried, and says so in its own words."""
    if isinstance(error, ProviderError):
        return error
    if isinstance(error, boto.ClientError):
        return _from_reply(error, operation, service)
    name = type(error).__name__
    if isinstance(error, _NO_CREDENTIALS):
        return _make(Unauthorized, f"no usable credentials ({_first_line(str(error))}); {_KEYS_HINT}", operation, name)
    if isinstance(error, _TRANSIENT):
        return _make(ServiceUnavailable, _unreachable(error, name), operation, name)
    if isinstance(error, boto.ParamValidationError):
        return _make(InvalidRequest, " ".join(str(error).split()), operation, name)
    return _make(InvalidRequest, _first_line(str(error)) or name, operation, name)


def is_duplicate(error: ProviderError) -> bool:
    """What was to be created exists already: a success, once it is known to be ours."""
    return error.code in DUPLICATES


def is_propagating(error: Exception) -> bool:
    """A key pair or firewall that may be too young to be known everywhere (EC2's eventual consistency)."""
    return isinstance(error, ProviderError) and error.code in PROPAGATING


def is_bad_instance(error: ProviderError) -> bool:
    """One instance of many spoiled the whole call: it is gone, misspelt, or protected from termination."""
    return error.code in ("InvalidInstanceID.NotFound", "InvalidInstanceID.Malformed", "OperationNotPermitted")


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


def _from_reply(error: boto.ClientError, operation: str, service: str) -> ProviderError:
    reply: dict[str, Any] = error.response
    code = str(reply.get("Error", {}).get("Code", ""))
    about = reply.get("ResponseMetadata", {})
    kind = _class_of(code, int(about.get("HTTPStatusCode", 0) or 0))
    text = _first_line(str(reply.get("Error", {}).get("Message") or "")) or "refused without a reason"
    message = _denied(text, code, operation, service) if kind is Unauthorized else text
    if code == "Unsupported" and "key pair" in text.lower():
        # "ED25519 key pairs are not supported with Windows AMIs": no zone and no machine type takes the key.
        kind, message = InvalidRequest, f"{text.rstrip('.')}; {_KEY_PAIR_HINT}"
    return _make(kind, message, operation, code, request_id=str(about.get("RequestId", "")))


def _class_of(code: str, status: int) -> type[ProviderError]:
    """The table first: EC2 sends a lack of capacity with status 500, which only looks like trouble of its own."""
    if code in _CLASS_OF:
        return _CLASS_OF[code]
    if code.startswith(("Throttl", "RequestThrottl")) or status == 429:
        return Throttled
    if status >= 500:
        return ServiceUnavailable
    return NotFound if code.endswith(".NotFound") else InvalidRequest


def _denied(text: str, code: str, operation: str, service: str) -> str:
    if code in ("UnauthorizedOperation", "AccessDenied", "AccessDeniedException"):
        return f"{text}; the credentials lack the permission {service}:{operation}, or one for what it names"
    return f"{text}; {_HINTS.get(code, _KEYS_HINT)}"


def _unreachable(error: Exception, name: str) -> str:
    said = _first_line(str(error)) or name
    return f"no answer: {said}; check the network, AWS_REGION and AWS_ENDPOINT_URL"


def _make(kind: type[ProviderError], message: str, operation: str, code: str, *, request_id: str = "") -> ProviderError:
    is_transient = kind in (Throttled, ServiceUnavailable)
    return kind(
        message, provider=PROVIDER, operation=operation, code=code, request_id=request_id, retryable=is_transient
    )


def _first_line(text: str) -> str:
    """One line of a message: what follows may be pages of encoded policy, or the signed request with its token."""
    line = text.strip().partition("\n")[0].partition("Encoded authorization failure message")[0].strip()
    return line if len(line) <= MAX_MESSAGE else f"{line[:MAX_MESSAGE]}…"
