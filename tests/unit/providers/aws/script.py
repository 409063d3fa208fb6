"""EC2 and SSM as a script: what is to be answered, call by call, with every request judged by botocore's own model."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import botocore.session
from botocore import xform_name
from botocore.exceptions import ClientError
from botocore.validate import ParamValidator

from ogc_async.settings import Settings
from ogc_async.types import LaunchRequest, Prepared

ED25519 = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIIQ9r3rKpJbSIXQhPTsT8Y0pPCqBSfgLMRRSFHUJ5zvs adam@home"

Answer = dict[str, Any] | Exception | Callable[[dict[str, Any]], dict[str, Any]]


class Script:
    """Answers each operation from its own list; the last answer of a list is given again and again."""

    def __init__(self, **answers: Answer | list[Answer]) -> None:
        self.calls: list[tuple[str, dict[str, Any]]] = []
        self._answers = {
            operation: list(given) if isinstance(given, list) else [given] for operation, given in answers.items()
        }

    def operations(self) -> list[str]:
        return [operation for operation, _ in self.calls]

    def of(self, operation: str) -> list[dict[str, Any]]:
        return [parameters for name, parameters in self.calls if name == operation]

    def client(self, service: str) -> ScriptedClient:
        return ScriptedClient(self, service)

    async def answer(self, service: str, operation: str, parameters: dict[str, Any]) -> dict[str, Any]:
        check_parameters(service, operation, parameters)
        self.calls.append((operation, parameters))
        assert operation in self._answers, f"{operation} was not expected"
        given = self._answers[operation]
        answer = given.pop(0) if len(given) > 1 else given[0]
        if isinstance(answer, Exception):
            raise answer
        return answer(parameters) if callable(answer) else answer


class ScriptedClient:
    """Looks like an aiobotocore client."""

    def __init__(self, script: Script, service: str) -> None:
        self._script = script
        self._service = service

    def __getattr__(self, method: str) -> Any:
        operation = operations(self._service)[method]

        async def call(**parameters: Any) -> dict[str, Any]:
            return await self._script.answer(self._service, operation, parameters)

        return call


class Time:
    """A clock that only sleeping moves."""

    def __init__(self) -> None:
        self.now = 0.0

    def clock(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.now += seconds


@functools.cache
def model(service: str) -> Any:
    return botocore.session.Session().get_service_model(service)


@functools.cache
def operations(service: str) -> dict[str, str]:
    return {xform_name(name): name for name in model(service).operation_names}


def check_parameters(service: str, operation: str, parameters: dict[str, Any]) -> None:
    shape = model(service).operation_model(operation).input_shape
    report = ParamValidator().validate(parameters, shape)
    assert not report.has_errors(), f"{operation}: {report.generate_report()}"


def refusal(code: str, message: str = "no", *, status: int = 400, operation: str = "RunInstances") -> ClientError:
    reply: Any = {
        "Error": {"Code": code, "Message": message},
        "ResponseMetadata": {"RequestId": "req-1", "HTTPStatusCode": status},
    }
    return ClientError(reply, operation)


def settings(**values: Any) -> Settings:
    given: dict[str, Any] = {"aws_access_key_id": "k", "aws_secret_access_key": "s", "ogc_api_retry_s": 60}
    return Settings(_env_file=None, **(given | values))


def launch_request(**values: Any) -> LaunchRequest:
    given: dict[str, Any] = {
        "owner": "adam",
        "scope": "0123456789abcdef",
        "layout": "web",
        "names": ("web-1", "web-2", "web-3"),
        "token": "token-1",
        "runs_on": "ubuntu-2404",
        "instance_size": "t3.small",
        "public_key": ED25519,
    }
    return LaunchRequest(**(given | values))


PREPARED = Prepared("ami-1", "ubuntu", "ogc-key", "sg-1", "/dev/sda1")


def described(index: int, *, state: str = "pending", **values: Any) -> dict[str, Any]:
    return {
        "InstanceId": f"i-{index:017x}",
        "AmiLaunchIndex": index,
        "State": {"Name": state},
        "Placement": {"AvailabilityZone": "us-east-2a"},
    } | values
