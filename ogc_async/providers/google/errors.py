"""What Compute Engine, and the way to it, can answer, in this project's errors: one table, one place.

A refusal comes in two shapes: an HTTP error with a reason (and, in newer methods, an ``ErrorInfo``), or, after HTTP
200, the error of an operation. 403 alone says nothing: it stands for missing rights, a rate, and a hard quota. 412
stands for a policy, which is final, and for a fingerprint, which is not. An HTTP error without Google's error document
is some proxy's, and refuses nothing.

Sources: https://docs.cloud.google.com/compute/docs/troubleshooting/troubleshooting-rate-quota and the enums of the
discovery document.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from http import HTTPStatus
from typing import Any, TypeGuard

import aiohttp

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
    UnreadableReply,
)
from ogc_async.providers.google.credentials import PROVIDER

FOREIGN: tuple[type[Exception], ...] = (aiohttp.ClientError, TimeoutError, ConnectionError)
"""Whatever a call may raise that is not a mistake of this program."""

TOO_MANY_AT_ONCE = "CONCURRENT_OPERATIONS_QUOTA_EXCEEDED"

MIN_COUNT = "VM_MIN_COUNT_NOT_REACHED"
"""Sums up: each machine has an error of its own behind it, which says why."""

_CODES: dict[type[ProviderError], tuple[str, ...]] = {
    Throttled: (
        "rateLimitExceeded",
        "userRateLimitExceeded",
        "RATE_LIMIT_EXCEEDED",
        TOO_MANY_AT_ONCE,
        "RESOURCE_OPERATION_RATE_EXCEEDED",
    ),
    ServiceUnavailable: (
        "backendError",
        "internalError",
        "operationInProgress",
        "resourceNotReady",
        "INTERNAL_ERROR",
        "RESOURCE_NOT_READY",
    ),
    NoCapacity: (
        "ZONE_RESOURCE_POOL_EXHAUSTED",
        "ZONE_RESOURCE_POOL_EXHAUSTED_WITH_DETAILS",
        "REGION_RESOURCE_POOL_EXHAUSTED",
        "REGION_RESOURCE_POOL_EXHAUSTED_WITH_DETAILS",
        "UNSUPPORTED_OPERATION",
        "insufficientCapacity",
        "stockout",
        MIN_COUNT,
    ),
    QuotaExceeded: ("quotaExceeded", "QUOTA_EXCEEDED", "limitExceeded"),
    Unauthorized: (
        "accessNotConfigured",
        "SERVICE_DISABLED",
        "authError",
        "forbidden",
        "insufficientPermissions",
        "required_login",
        "PERMISSIONS_ERROR",
        "CONSUMER_INVALID",
        "BILLING_DISABLED",
    ),
    NotFound: ("notFound", "RESOURCE_NOT_FOUND"),
    TokenSpent: ("alreadyExists", "RESOURCE_ALREADY_EXISTS"),
    ResourceInUse: ("resourceInUseByAnotherResource", "RESOURCE_IN_USE_BY_ANOTHER_RESOURCE"),
}

_CLASS_OF = {code: kind for kind, codes in _CODES.items() for code in codes}

_BY_STATUS: dict[int, type[ProviderError]] = {
    401: Unauthorized,
    403: Unauthorized,
    404: NotFound,
    408: ServiceUnavailable,
    409: TokenSpent,
    429: Throttled,
}

_PER_MINUTE = re.compile(r"quota exceeded for quota metric .* per minute", re.IGNORECASE | re.DOTALL)
"""With or without "per region" behind it."""

_CONDITIONS = ("conditionNotMet", "CONDITION_NOT_MET", "PRECONDITION_FAILED")

_FINGERPRINTED = ("firewalls.patch", "instances.setMetadata", "instances.setLabels")
"""Methods whose condition is that nobody else has changed the resource meanwhile: read it again, and repeat."""

_CONSTRAINT = re.compile(r"\b(?:customC|c)onstraints/[\w.-]*\w")
"""The name of an organization policy's constraint.

Source: https://docs.cloud.google.com/resource-manager/docs/organization-policy/org-policy-constraints.
"""

_MISSING = ("notFound", "RESOURCE_NOT_FOUND")

_HINTS = {
    "accessNotConfigured": "enable the Compute Engine API for the project",
    "SERVICE_DISABLED": "enable the Compute Engine API for the project",
    "BILLING_DISABLED": "enable billing for the project",
}
_RIGHTS_HINT = "check GOOGLE_PROJECT, and that the account of GOOGLE_APPLICATION_CREDENTIALS may do this there"
_POLICY_HINT = "an organization policy forbids it: ask its administrator for an exception, or use another project"
MAX_MESSAGE = 400


def map_reply(status: int, body: object, operation: str) -> ProviderError:
    """An HTTP error reply in this project's terms; ``body`` is its JSON, or its text where it is none."""
    error = body.get("error") if isinstance(body, Mapping) else None
    if not _is_document(error):
        if status >= 500:
            return _make(ServiceUnavailable, _short(str(body)) or f"HTTP {status}", operation, str(status))
        return unreadable(operation, f"HTTP {status} without an error of Compute Engine's: {_short(str(body))}", status)
    message = str(error["message"] or f"HTTP {status}")
    codes = [*_reasons(error, "details"), *_reasons(error, "errors")]
    kind = _class_of(status, codes, message, operation)
    code = next((each for each in codes if _CLASS_OF.get(each) is kind), next(iter(codes), str(status)))
    return _make(kind, _advised(_short(message), kind, code), operation, code)


def unreadable(operation: str, what: str, status: int) -> UnreadableReply:
    """A reply that is none of this operation's: neither yes nor no. Every call may be repeated as it was."""
    message = (
        f"{_short(what)}; this is no reply of Compute Engine's, and says nothing of what became of the call: "
        "check OGC_GOOGLE_ENDPOINT, and whether a proxy or a login page answers instead"
    )
    return UnreadableReply(message, provider=PROVIDER, operation=operation, code=str(status), retryable=True)


def map_failure(error: Exception, operation: str) -> ProviderError:
    """The way to the cloud failed."""
    said = _short(str(error)) or type(error).__name__
    is_cut = isinstance(error, aiohttp.ClientPayloadError)
    message = f"{'half an' if is_cut else 'no'} answer: {said}; check the network and OGC_GOOGLE_ENDPOINT"
    return _make(UnreadableReply if is_cut else ServiceUnavailable, message, operation, type(error).__name__)


def operation_error(operation: Mapping[str, Any], name: str) -> ProviderError | None:
    """Why an operation failed, or ``None`` where it did not. ``name`` is that of the method that began it.

    Of several errors the most particular one is told: one that sums up others comes last.
    """
    errors = [_one_of(operation, each, name) for each in (operation.get("error") or {}).get("errors") or ()]
    return min(errors, key=_generality, default=None)


def insert_error(operation: Mapping[str, Any], name: str) -> ProviderError | None:
    """Why an operation that was to make machines failed, for the machines that are in no list after its end.

    Google's own trouble is one with a lack of room then: nothing more comes of this operation, and another zone may do.
    """
    error = operation_error(operation, name)
    if not isinstance(error, ServiceUnavailable):
        return error
    message = f"{error.message}; the operation has ended and made no machine: Compute Engine's own trouble there"
    return NoCapacity(message, provider=PROVIDER, operation=name, code=error.code)


def is_missing(error: ProviderError, resource: str) -> bool:
    """Compute Engine's own word that this resource is not there, rather than its zone or project.

    ``resource`` is the path's end, such as ``zones/us-central1-a/instances/web-1``.
    """
    return isinstance(error, NotFound) and error.code in _MISSING and f"/{resource}'" in error.message


def is_retryable(error: Exception) -> bool:
    """The same call, with the same parameters, may succeed a little later."""
    return isinstance(error, ProviderError) and error.retryable and not is_overtaken(error)


def is_overtaken(error: Exception) -> bool:
    """Somebody else has changed the resource since it was read: the same change of it as it is now may succeed."""
    return isinstance(error, ProviderError) and error.retryable and error.code in _CONDITIONS


def _class_of(status: int, codes: Collection[str], message: str, operation: str) -> type[ProviderError]:
    """The most particular word counts: details before reasons, reasons before the status."""
    if _PER_MINUTE.search(message):
        return Throttled
    if status < 500 and _CONSTRAINT.search(message):
        return Unauthorized
    for code in codes:
        if code in _CLASS_OF:
            return _CLASS_OF[code]
    if status == HTTPStatus.PRECONDITION_FAILED or not set(codes).isdisjoint(_CONDITIONS):
        return ServiceUnavailable if operation in _FINGERPRINTED else InvalidRequest
    if status in _BY_STATUS:
        return _BY_STATUS[status]
    return ServiceUnavailable if status >= 500 else InvalidRequest


def _one_of(operation: Mapping[str, Any], error: Mapping[str, Any], name: str) -> ProviderError:
    code = str(error.get("code", ""))
    message = str(error.get("message") or operation.get("httpErrorMessage") or code)
    kind = _class_of(int(operation.get("httpErrorStatusCode") or 0), [code], message, name)
    return _make(kind, _advised(_short(message), kind, code), name, code)


def _generality(error: ProviderError) -> int:
    """What no repeat mends is told before what is a matter of time or place, and a sum of others last of all."""
    if error.code == MIN_COUNT:
        return 4
    if error.retryable:
        return 3
    if isinstance(error, NoCapacity):
        return 1
    return 0 if error.code in _CLASS_OF or _CONSTRAINT.search(error.message) else 2


def _is_document(error: object) -> TypeGuard[Mapping[str, Any]]:
    """Google's error document. Source: https://docs.cloud.google.com/compute/docs/reference/rest/v1#errors."""
    if not isinstance(error, Mapping):
        return False
    return isinstance(error.get("code"), int) and isinstance(error.get("message"), str)


def _reasons(error: Mapping[str, Any], key: str) -> list[str]:
    listed = error.get(key)
    many = listed if isinstance(listed, list) else []
    return [str(each["reason"]) for each in many if isinstance(each, Mapping) and "reason" in each]


def _advised(message: str, kind: type[ProviderError], code: str) -> str:
    if kind is Unauthorized and _CONSTRAINT.search(message):
        return f"{message.rstrip('.')}; {_POLICY_HINT}"
    if kind is Unauthorized:
        return f"{message}; {_HINTS.get(code, _RIGHTS_HINT)}"
    return message


def _make(kind: type[ProviderError], message: str, operation: str, code: str) -> ProviderError:
    is_transient = kind in (Throttled, ServiceUnavailable)
    return kind(message, provider=PROVIDER, operation=operation, code=code, retryable=is_transient)


def _short(text: str) -> str:
    line = "".join(each if each.isprintable() else " " for each in text.strip().partition("\n")[0]).strip()
    return line if len(line) <= MAX_MESSAGE else f"{line[:MAX_MESSAGE]}…"
