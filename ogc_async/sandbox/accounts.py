"""Who uses the pretend clouds: accounts of EC2, projects of Compute Engine, each with credentials of its own."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from ogc_async.sandbox.settings import SandboxSettings, draw_access_key, draw_secret

STRANGER = 0
"""The place of the account that a call with another's credentials is answered for; nobody holds its keys."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """One customer of both clouds."""

    place: int
    """1 is the first, whose variables have no prefix."""
    number: str
    """EC2's twelve digits."""
    access_key: str
    secret_key: str = field(repr=False)
    session_token: str = field(repr=False)
    """"" where the keys are for ever; else each signed call must bring it."""
    project: str
    """Compute Engine's."""
    refresh_token: str = field(repr=False)

    def aws_variables(self) -> dict[str, str]:
        """What an AWS client signs with."""
        keys = {"AWS_ACCESS_KEY_ID": self.access_key, "AWS_SECRET_ACCESS_KEY": self.secret_key}
        return keys | ({"AWS_SESSION_TOKEN": self.session_token} if self.session_token else {})


def draw_accounts(settings: SandboxSettings) -> tuple[Account, ...]:
    """As many accounts as the settings say; the first has the settings' own credentials."""
    first = Account(
        place=1,
        number="0" * 12,
        access_key=settings.access_key,
        secret_key=settings.secret_key,
        session_token=_session_token(settings),
        project=settings.google_project,
        refresh_token=settings.google_refresh_token,
    )
    return (first, *(_draw(settings, place, f"{place:012d}") for place in range(2, settings.accounts + 1)))


def draw_stranger(settings: SandboxSettings) -> Account:
    """The account that the fault ``other-account`` shows."""
    return _draw(settings, STRANGER, "9" * 12)


def prefixed(account: Account, variables: dict[str, str]) -> Iterator[tuple[str, str]]:
    """The variables as ``--print-env`` prints them beside the first account's."""
    return ((f"SANDBOX_{account.place}_{name}", value) for name, value in variables.items())


def _draw(settings: SandboxSettings, place: int, number: str) -> Account:
    return Account(
        place=place,
        number=number,
        access_key=draw_access_key(),
        secret_key=draw_secret(),
        session_token=_session_token(settings),
        project=f"{settings.google_project}-{place or 'other'}",
        refresh_token=draw_secret(),
    )


def _session_token(settings: SandboxSettings) -> str:
    return draw_secret() if settings.has_session_tokens else ""
