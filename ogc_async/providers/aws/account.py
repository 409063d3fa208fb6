"""Whose account the credentials act in: as replies name it, or STS does, or else the owner of the security groups."""

from __future__ import annotations

from contextlib import suppress

import anyio

from ogc_async.aio.singleflight import SingleFlight
from ogc_async.errors import OgcError
from ogc_async.providers.aws.client import AwsClient, profile_of

STS_TIMEOUT_S = 3.0
"""STS answers within a tenth of that; a network without a way to it must not hold up a verb."""

ASK_AGAIN_S = 60.0

Whose = tuple[str, str]
"""Endpoint, and access key or profile."""

_numbers: dict[Whose, str] = {}
"""What this process has learned. Credentials never change their account."""


class Account:
    """The account's number, learned once a process."""

    def __init__(self, client: AwsClient) -> None:
        self._client = client
        self._whose = whose(client)
        self._failed_at: float | None = None
        self._asking: SingleFlight[str, str | None] = SingleFlight()

    def note(self, owner: str) -> None:
        """A reply has named the owner of what these credentials launched or may describe."""
        if owner:
            _numbers[self._whose] = owner

    async def number(self) -> str | None:
        """The number, or None where nobody tells it now. Raises nothing."""
        if self._whose in _numbers:
            return _numbers[self._whose]
        if self._failed_at is not None and self._client.clock() - self._failed_at < ASK_AGAIN_S:
            return None
        return await self._asking.run("", self._ask)

    async def insist(self) -> str | None:
        """The same, with the patience of any other call."""
        if await self.number() is None:
            with suppress(OgcError):
                self.note(await self._from_groups(None))
        return _numbers.get(self._whose)

    async def _ask(self) -> str | None:
        for ask in (self._from_sts, self._from_groups):
            try:
                with anyio.fail_after(STS_TIMEOUT_S):
                    self.note(await ask())
            except (OgcError, TimeoutError):
                continue
            if self._whose in _numbers:
                return _numbers[self._whose]
        self._failed_at = self._client.clock()
        return None

    async def _from_sts(self) -> str:
        return str((await self._client.call("GetCallerIdentity", service="sts", budget_s=0))["Account"])

    async def _from_groups(self, budget_s: float | None = 0) -> str:
        """Many networks lead to EC2 and not to STS. Each VPC has such a group; those of several owners tell nothing."""
        default = [{"Name": "group-name", "Values": ["default"]}]
        reply = await self._client.call("DescribeSecurityGroups", Filters=default, budget_s=budget_s)
        owners = {str(each.get("OwnerId") or "") for each in reply["SecurityGroups"]}
        return owners.pop() if len(owners) == 1 else ""


def whose(client: AwsClient) -> Whose:
    """What tells credentials apart."""
    settings = client.settings
    name = profile_of(settings)
    return settings.aws_endpoint_url or "", f"profile {name}" if name else str(settings.aws_access_key_id)
