"""The languages of the endpoint: EC2's and STS's Query protocols, and SSM's JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Protocol
from xml.sax.saxutils import escape

from aiohttp import web

from ogc_async.sandbox.ec2.errors import Refused
from ogc_async.sandbox.ec2.wire import error_reply, reply, result_reply

SSM_PREFIX = "AmazonSSM."
STS_VERSION = "2011-06-15"
STS_NAMESPACE = f"https://sts.amazonaws.com/doc/{STS_VERSION}/"


class Dialect(Protocol):
    """How a service words its replies."""

    service: str

    def reply(self, operation: str, fields: Mapping[str, Any], request_id: str) -> web.Response:
        """A successful reply."""

    def error(self, refused: Refused, request_id: str) -> web.Response:
        """The reply to a call that was refused; the refusal is in EC2's words."""

    def other_kind(self, operation: str, request_id: str) -> web.Response:
        """A successful reply of another operation than this one."""


class Ec2Query:
    """EC2's."""

    service = "ec2"

    def reply(self, operation: str, fields: Mapping[str, Any], request_id: str) -> web.Response:
        """A successful reply."""
        return _xml(reply(operation, fields, request_id))

    def error(self, refused: Refused, request_id: str) -> web.Response:
        """The reply to a call that was refused."""
        return _xml(error_reply(refused, request_id), refused.status)

    def other_kind(self, operation: str, request_id: str) -> web.Response:
        """An operation's that is not served here."""
        return self.reply("DescribeAccountAttributes", {"accountAttributeSet": []}, request_id)


class StsQuery:
    """STS's.

    Source: https://docs.aws.amazon.com/STS/latest/APIReference/CommonErrors.html
    """

    service = "sts"
    codes: Mapping[str, tuple[str, str, int]] = {
        "AuthFailure": ("InvalidClientTokenId", "The security token included in the request is invalid.", 403),
        "RequestExpired": ("ExpiredToken", "The security token included in the request is expired", 403),
        "UnauthorizedOperation": ("AccessDenied", "", 403),
        "RequestLimitExceeded": ("Throttling", "Rate exceeded", 400),
        "InternalError": ("InternalFailure", "", 500),
        "Unavailable": ("ServiceUnavailable", "", 503),
    }

    def reply(self, operation: str, fields: Mapping[str, Any], request_id: str) -> web.Response:
        """A successful reply."""
        return _xml(result_reply(operation, fields, request_id, STS_NAMESPACE))

    def error(self, refused: Refused, request_id: str) -> web.Response:
        """The reply to a call that was refused."""
        code, message, status = _translated(refused, self.codes)
        kind = "Sender" if status < 500 else "Receiver"
        error = f"<Type>{kind}</Type><Code>{escape(code)}</Code><Message>{escape(message)}</Message>"
        inside = f"<Error>{error}</Error><RequestId>{escape(request_id)}</RequestId>"
        return _xml(f'<ErrorResponse xmlns="{STS_NAMESPACE}">{inside}</ErrorResponse>'.encode(), status)

    def other_kind(self, operation: str, request_id: str) -> web.Response:
        """An operation's that is not served here."""
        return self.reply("DecodeAuthorizationMessage", {"DecodedMessage": ""}, request_id)


class SsmJson:
    """Systems Manager's.

    Source: https://docs.aws.amazon.com/systems-manager/latest/APIReference/CommonErrors.html
    """

    service = "ssm"
    codes: Mapping[str, tuple[str, str, int]] = {
        "AuthFailure": ("UnrecognizedClientException", "The security token included in the request is invalid.", 400),
        "RequestExpired": ("ExpiredTokenException", "The security token included in the request is expired", 400),
        "UnauthorizedOperation": ("AccessDeniedException", "", 400),
        "RequestLimitExceeded": ("ThrottlingException", "Rate exceeded", 400),
        "InternalError": ("InternalServerError", "", 500),
        "Unavailable": ("ServiceUnavailable", "", 503),
    }

    def reply(self, operation: str, fields: Mapping[str, Any], request_id: str) -> web.Response:
        """A successful reply."""
        return _json(fields)

    def error(self, refused: Refused, request_id: str) -> web.Response:
        """The reply to a call that was refused."""
        code, message, status = _translated(refused, self.codes)
        return _json({"__type": code, "message": message}, status)

    def other_kind(self, operation: str, request_id: str) -> web.Response:
        """An operation's that is not served here."""
        return _json({"DocumentIdentifiers": []})


EC2, STS, SSM = Ec2Query(), StsQuery(), SsmJson()


def dialect_of(target: str, version: str) -> Dialect:
    """Of a call, by its header ``X-Amz-Target`` and its parameter ``Version``."""
    if target.startswith(SSM_PREFIX):
        return SSM
    return STS if version == STS_VERSION else EC2


def _translated(refused: Refused, codes: Mapping[str, tuple[str, str, int]]) -> tuple[str, str, int]:
    code, message, status = codes.get(refused.code, (refused.code, "", refused.status))
    return code, message or refused.message, status


def _xml(body: bytes, status: int = 200) -> web.Response:
    return web.Response(status=status, body=body, content_type="text/xml", charset="utf-8")


def _json(answer: Mapping[str, Any], status: int = 200) -> web.Response:
    return web.Response(status=status, text=json.dumps(answer), content_type="application/x-amz-json-1.1")
