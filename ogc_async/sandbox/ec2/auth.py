"""Who calls: AWS Signature Version 4, checked as the service would.

Source: https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from urllib.parse import parse_qsl, quote

from ogc_async.sandbox.accounts import Account
from ogc_async.sandbox.ec2.errors import Refused
from ogc_async.sandbox.ec2.weather import expired, unauthenticated

ALGORITHM = "AWS4-HMAC-SHA256"
MAX_SKEW = timedelta(minutes=15)
_HEADER = re.compile(
    rf"{ALGORITHM}\s+Credential=(?P<id>[^/]+)/(?P<day>\d{{8}})/(?P<region>[^/]+)/(?P<service>[^/]+)/aws4_request,\s*"
    r"SignedHeaders=(?P<headers>[^,]+),\s*Signature=(?P<signature>[0-9a-f]{64})"
)


@dataclass(frozen=True, slots=True)
class Call:
    """What of an HTTP request is signed; header names are in small letters."""

    method: str
    path: str
    query: str
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True, slots=True)
class Caller:
    """Whose call it is, and which service of which region it is for."""

    account: Account
    region: str
    service: str


def authenticate(call: Call, accounts: Mapping[str, Account]) -> Caller:
    """The caller, of these accounts by access key, once the signature is proven. Raises :class:`Refused`."""
    match = _HEADER.match(call.headers.get("authorization", ""))
    if match is None:
        raise Refused("MissingAuthenticationToken", "The request must contain a Signature Version 4 header.", 403)
    account = accounts.get(match["id"])
    if account is None or call.headers.get("x-amz-security-token", "") != account.session_token:
        raise unauthenticated()
    when = call.headers.get("x-amz-date", "")
    _check_time(when)
    if not hmac.compare_digest(_signature(call, match, when, account.secret_key), match["signature"]):
        message = "The request signature we calculated does not match the signature you provided."
        raise Refused("SignatureDoesNotMatch", message, 403)
    return Caller(account, match["region"], match["service"])


def _check_time(when: str) -> None:
    try:
        at = datetime.strptime(when, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
    except ValueError:
        raise Refused("IncompleteSignature", "The header X-Amz-Date must be an ISO 8601 basic date and time.") from None
    if abs(datetime.now(UTC) - at) > MAX_SKEW:
        raise expired()


def _signature(call: Call, match: re.Match[str], when: str, secret_key: str) -> str:
    names = match["headers"].split(";")
    body_hash = call.headers.get("x-amz-content-sha256") or hashlib.sha256(call.body).hexdigest()
    canonical = "\n".join(
        (
            call.method,
            quote(call.path, safe="/~%"),
            _canonical_query(call.query),
            *(f"{name}:{' '.join(call.headers.get(name, '').split())}" for name in names),
            "",
            ";".join(names),
            body_hash,
        )
    )
    scope = (match["day"], match["region"], match["service"], "aws4_request")
    to_sign = "\n".join((ALGORITHM, when, "/".join(scope), hashlib.sha256(canonical.encode()).hexdigest()))
    key = f"AWS4{secret_key}".encode()
    for part in scope:
        key = hmac.digest(key, part.encode(), "sha256")
    return hmac.new(key, to_sign.encode(), "sha256").hexdigest()


def _canonical_query(query: str) -> str:
    pairs = sorted(
        (quote(name, safe="-_.~"), quote(value, safe="-_.~"))
        for name, value in parse_qsl(query, keep_blank_values=True)
    )
    return "&".join(f"{name}={value}" for name, value in pairs)
