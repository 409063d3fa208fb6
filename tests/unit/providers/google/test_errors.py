"""Every way in which Compute Engine says no, in this project's words."""

from __future__ import annotations

from typing import Any

import pytest

from ogc_async import errors
from ogc_async.providers.google.errors import (
    MIN_COUNT,
    TOO_MANY_AT_ONCE,
    insert_error,
    is_missing,
    map_failure,
    map_reply,
    operation_error,
)
from ogc_async.providers.google.methods import LAUNCH


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
POLICY = "Constraint constraints/compute.requireShieldedVm violated for project projects/p."
CUSTOM_POLICY = 'Operation denied by custom org policies: ["customConstraints/custom.smallOnes": "small ones"].'


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
        (412, refusal(412, "conditionNotMet"), errors.InvalidRequest, False),
        (412, refusal(412, "conditionNotMet", POLICY), errors.Unauthorized, False),
        (403, refusal(403, "forbidden", CUSTOM_POLICY), errors.Unauthorized, False),
        (500, refusal(500, "backendError"), errors.ServiceUnavailable, True),
        (503, refusal(503, "unheardOf"), errors.ServiceUnavailable, True),
        (502, "<html>Bad Gateway</html>", errors.ServiceUnavailable, True),
        (400, "plain words", errors.UnreadableReply, True),
        (403, "<html>Log in</html>", errors.UnreadableReply, True),
        (404, {"error": "not_found"}, errors.UnreadableReply, True),
        (404, {"error": {"code": "404", "message": "no"}}, errors.UnreadableReply, True),
        (429, "", errors.UnreadableReply, True),
        (302, "", errors.UnreadableReply, True),
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


@pytest.mark.parametrize("operation", ["firewalls.patch", "instances.setMetadata", "instances.setLabels"])
def test_a_fingerprint_that_was_overtaken_may_be_tried_again_and_a_policy_may_not(operation: str) -> None:
    overtaken = map_reply(412, refusal(412, "conditionNotMet", "Supplied fingerprint does not match."), operation)
    assert (type(overtaken), overtaken.retryable) == (errors.ServiceUnavailable, True)
    forbidden = map_reply(412, refusal(412, "conditionNotMet", POLICY), operation)
    assert (type(forbidden), forbidden.retryable) == (errors.Unauthorized, False)


@pytest.mark.parametrize("code", ["CONDITION_NOT_MET", "PRECONDITION_FAILED"])
def test_a_policys_refusal_is_final_in_an_operation_too_and_names_the_constraint(code: str) -> None:
    described = failed({"code": code, "message": POLICY}, status=412)
    for error in (operation_error(described, LAUNCH), insert_error(described, LAUNCH)):
        assert isinstance(error, errors.Unauthorized)
        assert not error.retryable
        assert "constraints/compute.requireShieldedVm" in error.message
        assert "administrator" in error.message
    other = operation_error(failed({"code": code, "message": "no"}, status=412), LAUNCH)
    assert (type(other), other and other.retryable) == (errors.InvalidRequest, False)


CAUSES = {
    "QUOTA_EXCEEDED": errors.QuotaExceeded,
    "PERMISSIONS_ERROR": errors.Unauthorized,
    "ZONE_RESOURCE_POOL_EXHAUSTED": errors.NoCapacity,
    "SOMETHING_NEW": errors.InvalidRequest,
    "INTERNAL_ERROR": errors.ServiceUnavailable,
}


@pytest.mark.parametrize("code", CAUSES)
@pytest.mark.parametrize("is_first", [True, False])
def test_an_error_that_sums_up_never_hides_the_one_behind_it(code: str, is_first: bool) -> None:
    listed = [{"code": MIN_COUNT, "message": "too few"}, {"code": code, "message": "why"}]
    error = operation_error(failed(*(listed if is_first else reversed(listed))), LAUNCH)
    assert isinstance(error, CAUSES[code])
    assert (error.code, "why" in error.message) == (code, True)


def test_what_no_other_zone_mends_is_told_before_a_lack_of_room() -> None:
    listed = [{"code": code, "message": code} for code in ("INTERNAL_ERROR", "ZONE_RESOURCE_POOL_EXHAUSTED")]
    assert isinstance(operation_error(failed(*listed), LAUNCH), errors.NoCapacity)
    listed.append({"code": "QUOTA_EXCEEDED", "message": "CPUS"})
    assert isinstance(operation_error(failed(*listed), LAUNCH), errors.QuotaExceeded)


def test_the_clouds_own_trouble_that_has_ended_is_a_matter_of_the_zone() -> None:
    error = insert_error(failed({"code": "INTERNAL_ERROR", "message": "Internal error."}, status=503), LAUNCH)
    assert isinstance(error, errors.NoCapacity)
    assert (error.code, error.retryable) == ("INTERNAL_ERROR", False)
    assert "has ended" in error.message
    assert insert_error({"status": "DONE"}, LAUNCH) is None


@pytest.mark.parametrize(
    ("status", "reason", "resource", "is_its_word"),
    [
        (404, "notFound", "projects/p/zones/z/instances/web-1", True),
        (404, "notFound", "projects/p/zones/z/instances/web-11", False),
        (404, "notFound", "projects/p/zones/z", False),
        (404, "notFound", "projects/p", False),
        (404, "somethingNew", "projects/p/zones/z/instances/web-1", False),
        (403, "forbidden", "projects/p/zones/z/instances/web-1", False),
    ],
)
def test_only_the_very_resource_that_is_missing_is_missing(
    status: int, reason: str, resource: str, is_its_word: bool
) -> None:
    error = map_reply(status, refusal(status, reason, f"The resource '{resource}' was not found"), "instances.get")
    assert is_missing(error, "zones/z/instances/web-1") is is_its_word


def test_what_answers_instead_cannot_write_on_the_terminal() -> None:
    assert "\x1b" not in str(map_reply(403, "\x1b]52;c;x\x07<html>", "projects.get"))


def failed(*listed: dict[str, str], status: int = 400) -> dict[str, Any]:
    """An operation that ended with these errors."""
    return {"status": "DONE", "error": {"errors": list(listed)}, "httpErrorStatusCode": status}
