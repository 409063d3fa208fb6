"""Every way in which Compute Engine says no, in this project's words."""

from __future__ import annotations

from typing import Any

import pytest

from ogc_async import errors
from ogc_async.providers.google.errors import TOO_MANY_AT_ONCE, map_failure, map_reply, operation_error


def refusal(code: int, reason: str, message: str = "no", info: str = "") -> dict[str, Any]:
    """An error reply as the documentation shows it."""
    body: dict[str, Any] = {
        "code": code,
        "message": message,
        "errors": [{"message": message, "domain": "usageLimits", "reason": reason}],
    }
    if info:
        kind = "type.googleapis.com/google.rpc.ErrorInfo"
        body["details"] = [{"@type": kind, "reason": info, "domain": "compute.googleapis.com", "metadata": {}}]
    return {"error": body}


PER_MINUTE = "Quota exceeded for quota metric 'Queries' and limit 'Queries per minute' of service 'compute'."
PER_REGION = "Quota exceeded for quota metric 'Queries' and limit 'Queries per minute per region' of service 'compute'."


@pytest.mark.parametrize(
    ("status", "body", "kind", "is_retryable"),
    [
        (403, refusal(403, "rateLimitExceeded"), errors.Throttled, True),
        (403, refusal(403, "rateLimitExceeded", PER_REGION), errors.Throttled, True),
        (403, refusal(403, "forbidden", PER_MINUTE), errors.Throttled, True),
        (403, refusal(403, "quotaExceeded", PER_REGION), errors.Throttled, True),
        (429, refusal(429, "unheardOf"), errors.Throttled, True),
        (403, refusal(403, "rateLimitExceeded", info=TOO_MANY_AT_ONCE), errors.Throttled, True),
        (403, refusal(403, "quotaExceeded", "Quota 'CPUS' exceeded. Limit: 8.0"), errors.QuotaExceeded, False),
        (403, refusal(403, "forbidden"), errors.Unauthorized, False),
        (403, refusal(403, "accessNotConfigured", info="SERVICE_DISABLED"), errors.Unauthorized, False),
        (401, refusal(401, "authError"), errors.Unauthorized, False),
        (400, refusal(400, "invalid"), errors.InvalidRequest, False),
        (400, refusal(400, "required"), errors.InvalidRequest, False),
        (400, refusal(400, "resourceNotReady"), errors.ServiceUnavailable, True),
        (400, refusal(400, "resourceInUseByAnotherResource"), errors.ResourceInUse, False),
        (404, refusal(404, "notFound"), errors.NotFound, False),
        (409, refusal(409, "alreadyExists"), errors.TokenSpent, False),
        (409, refusal(409, "operationInProgress"), errors.ServiceUnavailable, True),
        (412, refusal(412, "conditionNotMet"), errors.ServiceUnavailable, True),
        (500, refusal(500, "backendError"), errors.ServiceUnavailable, True),
        (503, refusal(503, "unheardOf"), errors.ServiceUnavailable, True),
        (502, "<html>Bad Gateway</html>", errors.ServiceUnavailable, True),
        (400, "plain words", errors.InvalidRequest, False),
    ],
)
def test_a_reply_is_told_apart(status: int, body: object, kind: type[errors.ProviderError], is_retryable: bool) -> None:
    error = map_reply(status, body, "instances.bulkInsert")
    assert type(error) is kind
    assert error.retryable is is_retryable
    assert (error.provider, error.operation) == ("google", "instances.bulkInsert")


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        ("ZONE_RESOURCE_POOL_EXHAUSTED", errors.NoCapacity),
        ("ZONE_RESOURCE_POOL_EXHAUSTED_WITH_DETAILS", errors.NoCapacity),
        ("REGION_RESOURCE_POOL_EXHAUSTED", errors.NoCapacity),
        ("UNSUPPORTED_OPERATION", errors.NoCapacity),
        ("VM_MIN_COUNT_NOT_REACHED", errors.NoCapacity),
        ("QUOTA_EXCEEDED", errors.QuotaExceeded),
        ("RESOURCE_ALREADY_EXISTS", errors.TokenSpent),
        ("RESOURCE_OPERATION_RATE_EXCEEDED", errors.Throttled),
        ("RESOURCE_NOT_READY", errors.ServiceUnavailable),
        ("PERMISSIONS_ERROR", errors.Unauthorized),
        ("UNHEARD_OF", errors.InvalidRequest),
    ],
)
def test_an_operations_error_is_told_apart(code: str, kind: type[errors.ProviderError]) -> None:
    operation = {"status": "DONE", "error": {"errors": [{"code": code, "message": "why"}]}, "httpErrorStatusCode": 400}
    error = operation_error(operation, "instances.insert")
    assert type(error) is kind
    assert (error.code, "why" in error.message) == (code, True)


def test_an_operation_without_an_error_has_none() -> None:
    assert operation_error({"status": "DONE"}, "instances.insert") is None
    assert operation_error({"status": "RUNNING", "error": {}}, "instances.insert") is None


def test_an_api_that_is_not_enabled_says_what_to_do() -> None:
    error = map_reply(403, refusal(403, "accessNotConfigured", info="SERVICE_DISABLED"), "projects.get")
    assert "enable the Compute Engine API" in str(error)
    assert "GOOGLE_PROJECT" in str(map_reply(403, refusal(403, "forbidden"), "projects.get"))


def test_no_answer_names_where_to_look_and_may_be_tried_again() -> None:
    error = map_failure(TimeoutError(), "projects.get")
    assert error.retryable
    assert "OGC_GOOGLE_ENDPOINT" in str(error)
