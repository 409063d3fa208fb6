"""STS: who the caller is."""

from __future__ import annotations

import hashlib

from ogc_async.sandbox.accounts import Account
from ogc_async.sandbox.ec2.region import Fields, Region
from ogc_async.sandbox.ec2.wire import Parameters


def get_caller_identity(region: Region, _: Parameters) -> Fields:
    """The account, its user, and the user's id; it takes no permission."""
    account = region.account
    return {"Arn": arn_of(account), "UserId": _user_id(account), "Account": account.number}


def arn_of(account: Account) -> str:
    """Of the user whose keys these are, or of the session where they are temporary."""
    if account.session_token:
        return f"arn:aws:sts::{account.number}:assumed-role/sandbox/session"
    return f"arn:aws:iam::{account.number}:user/sandbox"


def _user_id(account: Account) -> str:
    digest = hashlib.sha256(account.number.encode()).hexdigest()[:16].upper()
    return f"AROA{digest}0:session" if account.session_token else f"AIDA{digest}0"
