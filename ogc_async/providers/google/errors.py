"""What Compute Engine, and the way to it, can answer, in this project's errors: one table, one place.

A refusal comes in two shapes: an HTTP error with a reason (and, in newer methods, an ``ErrorInfo``), or, after HTTP
200, the error of an operation. 403 alone says nothing: it stands for missing rights, a rate, and a hard quota.

Sources: https://docs.cloud.google.com/compute/docs/troubleshooting/troubleshooting-rate-quota and the enums of the
discovery document.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

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
)
from ogc_async.providers.google.credentials import PROVIDER

FOREIGN: tuple[type[Exception], ...] = (aiohttp.ClientError, TimeoutError, ConnectionError)
"""Whatever a call may raise that is not a mistake of this program."""

TOO_MANY_AT_ONCE = "CONCURRENT_OPERATIONS_QUOTA_EXCEEDED"

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
        "PRECONDITION_FAILED",
        "conditionNotMet",
    ),
    NoCapacity: (
        "ZONE_RESOURCE_POOL_EXHAUSTED",
        "ZONE_RESOURCE_POOL_EXHAUSTED_WITH_DETAILS",
        "REGION_RESOURCE_POOL_EXHAUSTED",
        "REGION_RESOURCE_POOL_EXHAUSTED_WITH_DETAILS",
        "UNSUPPORTED_OPERATION",
        "insufficientCapacity",
        "stockout",
        "VM_MIN_COUNT_NOT_REACHED",
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
    412: ServiceUnavailable,
    429: Throttled,
}

_PER_MINUTE = re.compile(r"quota exceeded for quota metric .* per minute", re.IGNORECASE | re.DOTALL)
"""With or without "per region" behind it."""

_HINTS = {
    "accessNotConfigured": "enable the Compute Engine API for the project",
    "SERVICE_DISABLED": "enable the Compute Engine API for the project",
    "BILLING_DISABLED": "enable billing for the project",
}
_RIGHTS_HINT = "check GOOGLE_PROJECT, and that the account of GOOGLE_APPLICATION_CREDENTIALS may do this there"
MAX_MESSAGE = 400


def map_reply(status: int, body: object, operation: str) -> ProviderError:
    """An HTTP error reply in this project's terms; ``body`` is its JSON, or its text where it is none."""
    error = body.get("error") if isinstance(body, Mapping) else None
    if not isinstance(error, Mapping):
        return _make(_class_of(status, [], ""), _short(str(body)) or f"HTTP {status}", operation, str(status))
    message = str(error.get("message") or f"HTTP {status}")
    codes = [*_details(error), *(str(each.get("reason", "")) for each in error.get("errors") or ())]
    kind = _class_of(status, codes, message)
    code = next((each for each in codes if _CLASS_OF.get(each) is kind), next(iter(codes), str(status)))
    return _make(kind, _advised(_short(message), kind, code), operation, code)


def map_failure(error: Exception, operation: str) -> ProviderError:
    """The way to the cloud failed."""
    said = _short(str(error)) or type(error).__name__
    message = f"no answer: {said}; check the network and OGC_GOOGLE_ENDPOINT"
    return _make(ServiceUnavailable, message, operation, type(error).__name__)


def operation_error(operation: Mapping[str, Any], name: str) -> ProviderError | None:
    """Why an operation failed, or ``None`` where it did not. ``name`` is that of the method that began it."""
    errors = (operation.get("error") or {}).get("errors") or ()
    if not errors:
        return None
    first = errors[0]
    code = str(first.get("code", ""))
    message = str(first.get("message") or operation.get("httpErrorMessage") or code)
    kind = _class_of(int(operation.get("httpErrorStatusCode") or 0), [code], message)
    return _make(kind, _advised(_short(message), kind, code), name, code)


def is_retryable(error: Exception) -> bool:
    """The same call, with the same parameters, may succeed a little later."""
    return isinstance(error, ProviderError) and error.retryable


def _class_of(status: int, codes: Iterable[str], message: str) -> type[ProviderError]:
    """The most particular word counts: details before reasons, reasons before the status."""
    if _PER_MINUTE.search(message):
        return Throttled
    for code in codes:
        if code in _CLASS_OF:
            return _CLASS_OF[code]
    if status in _BY_STATUS:
        return _BY_STATUS[status]
    return ServiceUnavailable if status >= 500 else InvalidRequest


def _details(error: Mapping[str, Any]) -> list[str]:
    return [
        str(each["reason"]) for each in error.get("details") or () if isinstance(each, Mapping) and "reason" in each
    ]


def _advised(message: str, kind: type[ProviderError], code: str) -> str:
    if kind is Unauthorized:
        return f"{message}; {_HINTS.get(code, _RIGHTS_HINT)}"
    return message


def _make(kind: type[ProviderError], message: str, operation: str, code: str) -> ProviderError:
    is_transient = kind in (Throttled, ServiceUnavailable)
    return kind(message, provider=PROVIDER, operation=operation, code=code, retryable=is_transient)


def _short(text: str) -> str:
    line = text.strip().partition("\n")[0].strip()
    return line if len(line) <= MAX_MESSAGE else f"{line[:MAX_MESSAGE]}…"
