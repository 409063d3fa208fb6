"""Who calls: service accounts' key files, the desks that hand out tokens for them, and the check of a bearer.

Sources: https://developers.google.com/identity/protocols/oauth2/service-account (its two ways: an access token for a
signed grant, or the signed JWT itself as bearer), https://google.aip.dev/auth/4111
"""

from __future__ import annotations

import base64
import binascii
import json
import secrets
import time
from collections.abc import Mapping, Sequence
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from ogc_async.sandbox.accounts import Account
from ogc_async.sandbox.compute.errors import unauthenticated
from ogc_async.sandbox.compute.project import user_of

JWT_GRANT = "urn:ietf:params:oauth:grant-type:jwt-bearer"
AUDIENCE = "https://compute.googleapis.com/"
TOKEN_AUDIENCE = "https://oauth2.googleapis.com/token"  # noqa: S105  # an address
"""What Google's own library always names, whatever the file's token_uri."""
SCOPES = frozenset(f"https://www.googleapis.com/auth/{scope}" for scope in ("compute", "cloud-platform"))
LIFETIME_S = 3599
MAX_LIFETIME_S = 3600
SKEW_S = 300
KEY_BITS = 2048


class BadGrant(Exception):
    """No token for that."""


class Desks:
    """All accounts' desks, behind one address."""

    def __init__(self, accounts: Sequence[Account]) -> None:
        self._desks = [Desk(each) for each in accounts]

    def of(self, account: Account) -> Desk:
        """The account's."""
        return next(each for each in self._desks if each.account is account)

    def open_at(self, url: str) -> None:
        """Where tokens are handed out."""
        for each in self._desks:
            each.token_uri = url

    def asked_by(self, form: Mapping[str, str]) -> Desk:
        """The desk of whoever asks for a token. Raises :class:`BadGrant`."""
        if form.get("grant_type") != JWT_GRANT:
            return next((each for each in self._desks if each.knows(form)), self._desks[0])
        _, _, rest = form.get("assertion", "").partition(".")
        issuer = _json(rest.partition(".")[0]).get("iss")
        return next((each for each in self._desks if each.email == issuer), self._desks[0])

    def caller(self, authorization: str) -> Account:
        """Whose bearer the header has. Raises :class:`Refused` where it has nobody's."""
        scheme, _, token = authorization.partition(" ")
        if not token.strip():
            raise unauthenticated("CREDENTIALS_MISSING")
        found = (each for each in self._desks if scheme.lower() == "bearer" and each.has_given(token.strip()))
        desk = next(found, None)
        if desk is None:
            raise unauthenticated()
        return desk.account


class Desk:
    """One service account, and the tokens that it and one user were given."""

    def __init__(self, account: Account) -> None:
        self.account = account
        self._key = rsa.generate_private_key(public_exponent=65537, key_size=KEY_BITS)
        self._key_id = secrets.token_hex(20)
        self._tokens: dict[str, float] = {}
        self.email = user_of(account)
        self.token_uri = ""

    def key_file(self) -> str:
        """The service account's file, as the console hands it out."""
        private = self._key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        content = {
            "type": "service_account",
            "project_id": self.account.project,
            "private_key_id": self._key_id,
            "private_key": private.decode(),
            "client_email": self.email,
            "client_id": f"1{self.account.place:020d}",
            "auth_uri": self.token_uri,
            "token_uri": self.token_uri,
            "universe_domain": "googleapis.com",
        }
        return json.dumps(content, indent=2) + "\n"

    def knows(self, form: Mapping[str, str]) -> bool:
        """The form has its user's refresh token."""
        return secrets.compare_digest(form.get("refresh_token", "").encode(), self.account.refresh_token.encode())

    def grant(self, form: Mapping[str, str]) -> dict[str, Any]:
        """A token for a signed assertion or a refresh token. Raises :class:`BadGrant`."""
        kind = form.get("grant_type", "")
        if kind == JWT_GRANT:
            claims = self._claims(form.get("assertion", ""))
            if claims.get("aud") not in (self.token_uri, TOKEN_AUDIENCE):
                raise BadGrant("Invalid JWT: Failed audience check.")
            _check_scope(str(claims.get("scope", "")))
        elif kind == "refresh_token":
            if not self.knows(form):
                raise BadGrant("Bad Request")
        else:
            raise BadGrant(f"Unsupported grant type: {kind}")
        token = f"ya29.{secrets.token_urlsafe(32)}"
        self._tokens[token] = time.monotonic() + LIFETIME_S
        return {"access_token": token, "expires_in": LIFETIME_S, "token_type": "Bearer"}

    def has_given(self, token: str) -> bool:
        """It is one of its tokens, or a JWT that the account signed itself."""
        if token in self._tokens:
            return time.monotonic() < self._tokens[token]
        try:
            claims = self._claims(token)
            if claims.get("aud") != AUDIENCE:
                _check_scope(str(claims.get("scope", "")))
        except BadGrant:
            return False
        return True

    def _claims(self, assertion: str) -> dict[str, Any]:
        """What a JWT says, once its signature is proven."""
        head, _, rest = assertion.partition(".")
        body, _, signature = rest.partition(".")
        header, claims = _json(head), _json(body)
        if header.get("alg") != "RS256":
            raise BadGrant("Invalid JWT: unsupported algorithm")
        try:
            self._key.public_key().verify(
                _decoded(signature), f"{head}.{body}".encode(), padding.PKCS1v15(), hashes.SHA256()
            )
        except InvalidSignature:
            raise BadGrant("Invalid JWT Signature.") from None
        if claims.get("iss") != self.email:
            raise BadGrant("Invalid grant: account not found")
        _check_times(claims)
        return claims


def _check_times(claims: Mapping[str, Any]) -> None:
    now, issued, expires = time.time(), claims.get("iat"), claims.get("exp")
    if not isinstance(issued, int | float) or not isinstance(expires, int | float):
        raise BadGrant("Invalid JWT: iat and exp are needed")
    if not now - MAX_LIFETIME_S - SKEW_S < issued < now + SKEW_S or not now - SKEW_S < expires:
        raise BadGrant("Invalid JWT: Token must be a short-lived token (60 minutes) and in a reasonable timeframe.")
    if expires - issued > MAX_LIFETIME_S:
        raise BadGrant("Invalid JWT: Token must be a short-lived token (60 minutes) and in a reasonable timeframe.")


def _check_scope(scope: str) -> None:
    if not SCOPES.intersection(scope.split()):
        raise BadGrant("Invalid OAuth scope or ID token audience provided.")


def _json(part: str) -> dict[str, Any]:
    try:
        found = json.loads(_decoded(part))
    except ValueError:
        raise BadGrant("Invalid JWT: it can not be read") from None
    if not isinstance(found, dict):
        raise BadGrant("Invalid JWT: it can not be read")
    return found


def _decoded(part: str) -> bytes:
    try:
        return base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))
    except (binascii.Error, ValueError):
        raise BadGrant("Invalid JWT: it can not be read") from None
