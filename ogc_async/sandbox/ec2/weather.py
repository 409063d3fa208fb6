"""What EC2, STS and SSM say where a fault is planned: refusals in EC2's words, and replies with nothing in them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ogc_async.sandbox.ec2.errors import Refused, throttled
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

KIND_BY_OPERATION = {
    "RunInstances": "InvalidAMIID",
    "Images": "InvalidAMIID",
    "Instance": "InvalidInstanceID",
    "ConsoleOutput": "InvalidInstanceID",
    "KeyPair": "InvalidKeyPair",
    "SecurityGroup": "InvalidGroup",
    "Volume": "InvalidVolume",
    "Subnets": "InvalidSubnetID",
    "Vpcs": "InvalidVpcID",
    "Addresses": "InvalidAllocationID",
    "Tags": "InvalidInstanceID",
}
"""By a part of the operation's name, the first that fits."""


def refusal(fault: str, operation: str, service: str, arn: str) -> Refused:
    """The refusal that a fault stands for: a word of the vocabulary, or a code of EC2's."""
    known = {
        UNAVAILABLE: Refused("Unavailable", "The server is overloaded and can't handle the request.", 503),
        THROTTLED: throttled(),
        ERROR_BEFORE: internal_error(),
        ERROR_AFTER: internal_error(),
        UNAUTHENTICATED: unauthenticated(),
        DENIED: denied(operation, service, arn),
        EXPIRED: expired(),
        MISSING: missing_thing(operation),
        PRECONDITION: Refused("PreconditionFailed", "A precondition of the request was not met.", 412),
    }
    planned = Refused(fault, "The request was refused, as planned.", 500 if "Capacity" in fault else 400)
    return known.get(fault, planned)


def unauthenticated() -> Refused:
    """Nobody that is known."""
    return Refused("AuthFailure", "AWS was not able to validate the provided access credentials", 401)


def expired() -> Refused:
    """Keys that are over: EC2 says so of temporary ones as well as of a signature of long ago."""
    return Refused("RequestExpired", "Request has expired.")


def denied(operation: str, service: str, arn: str) -> Refused:
    """A permission that the caller lacks."""
    action = f"{service}:{operation}"
    message = (
        f"You are not authorized to perform this operation. User: {arn} is not authorized to perform: {action} "
        f"because no identity-based policy allows the {action} action"
    )
    return Refused("UnauthorizedOperation", message, 403)


def internal_error() -> Refused:
    """The service's own trouble."""
    return Refused("InternalError", "An internal error has occurred", 500)


def missing_thing(operation: str) -> Refused:
    """There is no such thing, of the kind that the operation is about; EC2's status for it is 400."""
    if operation.startswith("GetParameter"):
        return Refused("ParameterNotFound", "")
    kind = next((kind for part, kind in KIND_BY_OPERATION.items() if part in operation), "InvalidID")
    return Refused(f"{kind}.NotFound", "The resource that the request names does not exist")


def emptied(fields: Mapping[str, Any]) -> dict[str, Any]:
    """The same reply with empty lists, and no page after this one."""
    return {name: [] if isinstance(value, list) else value for name, value in fields.items() if name != "nextToken"}
