"""What EC2 answers where it refuses; codes and wording as the API reference gives them.

Source: https://docs.aws.amazon.com/AWSEC2/latest/APIReference/errors-overview.html
"""

from __future__ import annotations


class Refused(Exception):
    """An error reply."""

    def __init__(self, code: str, message: str, status: int = 400) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message
        self.status = status


def missing(parameter: str) -> Refused:
    """A parameter that the operation can not do without."""
    return Refused("MissingParameter", f"The request must contain the parameter {parameter}")


def invalid(parameter: str, value: object, why: str = "") -> Refused:
    """A value that the parameter does not take."""
    return Refused("InvalidParameterValue", f"Invalid value '{value}' for {parameter}.{why and ' ' + why}")


def throttled() -> Refused:
    """No token left in a bucket."""
    return Refused("RequestLimitExceeded", "Request limit exceeded.", 503)


def no_capacity(instance_type: str, zone: str) -> Refused:
    """No room for a machine of that type there."""
    message = (
        f"We currently do not have sufficient {instance_type} capacity in the Availability Zone you requested "
        f"({zone}). Our system will be working on provisioning additional capacity."
    )
    return Refused("InsufficientInstanceCapacity", message, 500)
