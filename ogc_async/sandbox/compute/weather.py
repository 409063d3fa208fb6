"""What Compute Engine and its desk of tokens say where a fault is planned: refusals, and replies that are no answer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from ogc_async.sandbox.compute import places
from ogc_async.sandbox.compute.call import Call
from ogc_async.sandbox.compute.checking import Fields
from ogc_async.sandbox.compute.errors import Refused, expired, forbidden, not_found, planned, stale, unauthenticated
from ogc_async.sandbox.compute.tracking import constraint
from ogc_async.sandbox.traffic import (
    DENIED,
    ERROR_AFTER,
    ERROR_BEFORE,
    EXPIRED,
    MISSING,
    PRECONDITION,
    THROTTLED,
    UNAUTHENTICATED,
    UNAVAILABLE,
)

LAUNCHES = frozenset({"instances.insert", "instances.bulkInsert", "regionInstances.bulkInsert"})
"""What a policy of the organization may refuse."""
FINGERPRINTED = frozenset({"instances.setLabels", "instances.setMetadata", "firewalls.patch"})
"""What somebody else may have changed since it was read."""
BACKEND_ERROR = (503, "internal_failure", "Backend Error")
TOKEN_REFUSALS: Mapping[str, tuple[int, str, str]] = {
    THROTTLED: (429, "rate_limit_exceeded", "Rate Limit Exceeded"),
    ERROR_BEFORE: (500, "internal_failure", "Internal Error"),
    ERROR_AFTER: (500, "internal_failure", "Internal Error"),
    UNAUTHENTICATED: (401, "invalid_client", "The OAuth client was not found."),
    DENIED: (403, "access_denied", "Account restricted"),
    EXPIRED: (400, "invalid_grant", "Token has been expired or revoked."),
    MISSING: (400, "invalid_grant", "Invalid grant: account not found"),
    PRECONDITION: (400, "invalid_request", "A precondition of the request was not met."),
}
"""By the word of the fault: status, error, description.

Source: https://datatracker.ietf.org/doc/html/rfc6749#section-5.2, for the errors that have a name there.
"""


def refusal(fault: str, call: Call) -> Refused:
    """The refusal that a fault stands for: a word of the vocabulary, an HTTP status, or a reason of the service's."""
    known = {
        UNAVAILABLE: Refused("backendError", "The service is currently unavailable."),
        THROTTLED: Refused("rateLimitExceeded", "Rate Limit Exceeded"),
        ERROR_BEFORE: _internal_error(),
        ERROR_AFTER: _internal_error(),
        UNAUTHENTICATED: unauthenticated(),
        DENIED: forbidden(call.method, call.tail),
        EXPIRED: expired(),
        MISSING: not_found(call.tail),
        PRECONDITION: _precondition(call),
    }
    return known[fault] if fault in known else planned(fault)


def token_refusal(fault: str) -> tuple[Fields, int]:
    """The desk's refusal that a fault stands for, and its status."""
    status, error, description = TOKEN_REFUSALS.get(fault, BACKEND_ERROR)
    return {"error": error, "error_description": description}, status


def other_kind(call: Call) -> Fields:
    """A reply that another method gives, well-formed: of zones, or of regions where zones are asked for."""
    plain = replace(call, query={})
    is_zones = call.method.startswith("zones.")
    if call.method.endswith((".list", ".aggregatedList")):
        return places.list_regions(plain) if is_zones else places.list_zones(plain)
    if is_zones:
        return places.describe_region(call.project, call.region)
    return places.describe_zone(call.project, call.project.settings.google_zone)


def emptied(reply: Fields) -> Fields:
    """A list of the right kind with nothing in it and no page after this one; of anything else, nothing at all."""
    if not str(reply.get("kind", "")).endswith("List"):
        return {}
    return {name: value for name, value in reply.items() if name not in ("items", "nextPageToken")}


def _internal_error() -> Refused:
    return Refused("internalError", "Internal error. Please try again or contact Google Support.")


def _precondition(call: Call) -> Refused:
    """A policy of the organization where something is launched; somebody was faster where something is changed."""
    if call.method in LAUNCHES:
        path = call.project.path(f"{call.scope}/instances/{call.body.get('name', '')}".rstrip("/"))
        return Refused("conditionNotMet", constraint(call.project.number, path))
    if call.method in FINGERPRINTED:
        return stale("Labels")
    return Refused("conditionNotMet", "Precondition Failed")
