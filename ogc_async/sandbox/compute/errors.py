"""What Compute Engine answers where it refuses; shape and wording as the service gives them.

Sources: https://cloud.google.com/compute/docs/troubleshooting/troubleshooting-rate-quota-errors,
https://cloud.google.com/apis/design/errors,
https://github.com/googleapis/googleapis/blob/master/google/api/error_reason.proto
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

SERVICE = "compute.googleapis.com"
ERROR_INFO = "type.googleapis.com/google.rpc.ErrorInfo"

STATUSES = {
    "required": 400,
    "invalid": 400,
    "resourceNotReady": 400,
    "authError": 401,
    "notFound": 404,
    "alreadyExists": 409,
    "operationInProgress": 409,
    "conditionNotMet": 412,
    "tooManyRequests": 429,
    "internalError": 500,
    "badGateway": 502,
    "backendError": 503,
    "accessNotConfigured": 403,
    "forbidden": 403,
    "quotaExceeded": 403,
    "rateLimitExceeded": 403,
}
"""The HTTP status of a reason."""
LIMITS = frozenset({"accessNotConfigured", "quotaExceeded", "rateLimitExceeded"})


class Refused(Exception):
    """An error reply."""

    def __init__(self, reason: str, message: str, *, status: int = 0, info: Mapping[str, Any] | None = None) -> None:
        super().__init__(f"{reason}: {message}")
        self.reason = reason
        self.message = message
        self.status = status or STATUSES.get(reason, 400)
        self.info = info

    def body(self) -> dict[str, Any]:
        """The reply's JSON."""
        domain = "usageLimits" if self.reason in LIMITS else "global"
        error: dict[str, Any] = {
            "code": self.status,
            "message": self.message,
            "errors": [{"message": self.message, "domain": domain, "reason": self.reason}],
        }
        if self.status == 401:
            error["status"] = "UNAUTHENTICATED"
        if self.info:
            error["details"] = [{"@type": ERROR_INFO, **self.info}]
        return {"error": error}


def not_found(path: str) -> Refused:
    """There is no such thing."""
    return Refused("notFound", f"The resource '{path}' was not found")


def already_exists(path: str) -> Refused:
    """The name is taken."""
    return Refused("alreadyExists", f"The resource '{path}' already exists")


def invalid(field: str, value: object, why: str) -> Refused:
    """A value that the field does not take."""
    return Refused("invalid", f"Invalid value for field '{field}': '{value}'. {why}")


def required(field: str) -> Refused:
    """A field that the method can not do without."""
    return Refused("required", f"Required field '{field}' not specified")


def unknown_field(name: str) -> Refused:
    """A field that the method does not know, or that the sandbox would not heed."""
    message = f'Invalid JSON payload received. Unknown name "{name}": Cannot find field.'
    return Refused("badRequest", message, status=400)


def stale(field: str) -> Refused:
    """Somebody else was faster."""
    return Refused("conditionNotMet", f"{field} fingerprint either invalid or resource labels have changed")


def forbidden(method: str, path: str) -> Refused:
    """The caller lacks the permission, or any right in that project."""
    return Refused("forbidden", f"Required 'compute.{method}' permission for '{path}'")


def unauthenticated(reason: str = "") -> Refused:
    """Nobody that is known; ``reason`` is one of google.api.ErrorReason, where there is one."""
    message = (
        "Request had invalid authentication credentials. Expected OAuth 2 access token, login cookie or other "
        "valid authentication credential."
    )
    info = {"reason": reason, "domain": "googleapis.com", "metadata": {"service": SERVICE}}
    return Refused("authError", message, info=info if reason else None)


def expired() -> Refused:
    """A token that is over, whatever it said of its own time."""
    return unauthenticated("ACCESS_TOKEN_EXPIRED")


def planned(fault: str) -> Refused:
    """A fault of the sandbox's plan: an HTTP status, or a reason."""
    if fault.isdecimal():
        by_status = {status: reason for reason, status in STATUSES.items()}
        return Refused(
            by_status.get(int(fault), "backendError"), "The request was refused, as planned.", status=int(fault)
        )
    return Refused(fault, "The request was refused, as planned.")
