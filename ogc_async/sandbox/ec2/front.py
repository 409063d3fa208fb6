"""EC2's and SSM's HTTP front: who calls, whether they may, what is answered, what gets lost."""

from __future__ import annotations

import random
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import parse_qsl

from aiohttp import web

from ogc_async.sandbox.accounts import Account, draw_stranger
from ogc_async.sandbox.clock import Clock
from ogc_async.sandbox.ec2 import images
from ogc_async.sandbox.ec2.auth import Call, authenticate
from ogc_async.sandbox.ec2.catalog import REGIONS, is_served
from ogc_async.sandbox.ec2.dialects import SSM, SSM_PREFIX, STS, Dialect, dialect_of
from ogc_async.sandbox.ec2.errors import Refused, throttled
from ogc_async.sandbox.ec2.identity import arn_of
from ogc_async.sandbox.ec2.operations import OPERATIONS, STS_OPERATIONS
from ogc_async.sandbox.ec2.region import Fields, Instance, Region
from ogc_async.sandbox.ec2.volumes import show
from ogc_async.sandbox.ec2.weather import denied, emptied, expired, refusal, unauthenticated
from ogc_async.sandbox.ec2.wire import Parameters
from ogc_async.sandbox.lies import login_page, redirect_to_login, truncated
from ogc_async.sandbox.room import MachineRoom
from ogc_async.sandbox.settings import SandboxSettings
from ogc_async.sandbox.traffic import (
    CUT,
    EFFECTIVE,
    EMPTY,
    ERROR_AFTER,
    HTML,
    HTML_BEFORE,
    LOST_REPLY,
    OTHER_ACCOUNT,
    OTHER_KIND,
    REDIRECT,
    TRUNCATED,
    TWICE,
    Traffic,
    names_of,
)

NARROWING = ("Filter", "MaxResults")


@dataclass(frozen=True, slots=True)
class Asked:
    """One call, as it came."""

    id: str
    dialect: Dialect
    operation: str
    pairs: list[tuple[str, str]]
    body: bytes

    def check(self) -> None:
        """Raises :class:`Refused` for an operation, or a parameter of it, that is not served."""
        operations = STS_OPERATIONS if self.dialect is STS else OPERATIONS
        if self.operation not in operations:
            raise Refused("InvalidAction", f"The action {self.operation} is not valid for this web service.")
        Parameters.of(self.pairs).check_known(operations[self.operation].takes)

    def run(self, region: Region) -> Fields:
        """Carry it out."""
        if self.dialect is SSM:
            return images.ask_parameters(region, self.operation, self.body)
        operations = STS_OPERATIONS if self.dialect is STS else OPERATIONS
        return operations[self.operation].run(region, Parameters.of(self.pairs))


class Ec2:
    """Every account's regions, made as they are called for."""

    def __init__(self, settings: SandboxSettings, clock: Clock, room: MachineRoom, accounts: Sequence[Account]) -> None:
        self._settings = settings
        self._accounts = {each.access_key: each for each in accounts}
        self._stranger = draw_stranger(settings)
        self._clock = clock
        self._room = room
        self._regions: dict[tuple[int, str], Region] = {}
        self._rng = random.Random(f"{settings.seed} requests")  # noqa: S311  # reproducible, not secret
        self.traffic = Traffic(settings, clock)

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Answer one call."""
        asked = await self._read(request)
        self.traffic.count(asked.operation)
        try:
            region = self._admit(request, asked)
        except Refused as refused:
            return self._refuse(asked, refused)
        fault = self.traffic.next_fault(asked.operation, region.account.place)
        await self.traffic.travel(asked.operation)
        if fault and fault not in EFFECTIVE:
            return self._fail(request, asked, region, fault)
        if fault == OTHER_ACCOUNT:
            region = self._region(self._stranger, region.name)
        try:
            fields = _run(region, asked, times=2 if fault == TWICE else 1)
        except Refused as refused:
            fields, honest = {}, self._refuse(asked, refused)
        else:
            honest = asked.dialect.reply(asked.operation, fields, asked.id)
            await self.traffic.travel(asked.operation)
            if fault == LOST_REPLY:
                return _lose(request)
            if fault == ERROR_AFTER:
                return self._refuse(asked, refusal(fault, asked.operation, asked.dialect.service, ""))
        return _spoiled(asked, fault, fields, honest)

    def instances(self) -> list[Fields]:
        """Every machine there ever was, for the admin page."""
        return [_described(region, each) for region in self._regions.values() for each in region.instances.values()]

    def volumes(self) -> list[Fields]:
        """Every disk that is there, for the admin page."""
        return [each for region in self._regions.values() for each in show(region)]

    def leftovers(self) -> dict[str, list[str]]:
        """Names of what was made beside machines, and not removed yet."""
        regions = self._regions.values()
        return {
            "key_pairs": [name for region in regions for name in region.key_pairs],
            "firewalls": [
                group.name
                for region in regions
                for group in region.groups.values()
                if group is not region.default_group
            ],
        }

    async def _read(self, request: web.Request) -> Asked:
        target = request.headers.get("X-Amz-Target", "")
        request_id = str(uuid.UUID(int=self._rng.getrandbits(128)))
        body = await request.read()
        if target.startswith(SSM_PREFIX):
            return Asked(request_id, dialect_of(target, ""), target.removeprefix(SSM_PREFIX), [], body)
        query = parse_qsl(request.query_string, keep_blank_values=True)
        pairs = query + parse_qsl(body.decode(errors="replace"), keep_blank_values=True)
        given = dict(pairs)
        return Asked(request_id, dialect_of("", given.get("Version", "")), given.get("Action", ""), pairs, body)

    def _admit(self, request: web.Request, asked: Asked) -> Region:
        """The region that the call is for. Raises :class:`Refused` for whoever may not ask this, or not so often."""
        path, _, query = request.raw_path.partition("?")
        headers = {name.lower(): value for name, value in request.headers.items()}
        caller = authenticate(Call(request.method, path, query, headers, asked.body), self._accounts)
        account = caller.account
        if self.traffic.is_expired(account.place):
            raise expired()
        if not self._settings.denied.isdisjoint(names_of(asked.operation, account.place)):
            raise denied(asked.operation, asked.dialect.service, arn_of(account))
        if not is_served(caller.region):
            # A region that an account has not opted in to knows none of its keys.
            known = unauthenticated().message if caller.region in REGIONS else f"There is no region {caller.region}"
            raise Refused("AuthFailure", known, 401)
        region = self._region(account, caller.region)
        if asked.dialect is not SSM:
            asked.check()
            is_narrow = any(name.partition(".")[0] in NARROWING for name, _ in asked.pairs)
            if self._settings.has_limits and not region.buckets.take_request(asked.operation, is_filtered=is_narrow):
                raise throttled()
        return region

    def _region(self, account: Account, name: str) -> Region:
        key = account.place, name
        if key not in self._regions:
            self._regions[key] = Region(name, account, self._settings, self._clock, self._room)
        return self._regions[key]

    def _fail(self, request: web.Request, asked: Asked, region: Region, fault: str) -> web.Response:
        """Answer a call that takes no effect."""
        if fault == CUT:
            return _lose(request)
        if fault == HTML_BEFORE:
            return login_page()
        if fault == REDIRECT:
            return redirect_to_login()
        return self._refuse(asked, refusal(fault, asked.operation, asked.dialect.service, arn_of(region.account)))

    def _refuse(self, asked: Asked, refused: Refused) -> web.Response:
        self.traffic.count_refused(asked.operation)
        return asked.dialect.error(refused, asked.id)


def _run(region: Region, asked: Asked, *, times: int) -> Fields:
    fields: Fields = {}
    for _ in range(times):
        fields = asked.run(region)
    return fields


def _spoiled(asked: Asked, fault: str, fields: Fields, honest: web.Response) -> web.Response:
    """What is heard instead of the honest answer; it stands in for a refusal, too."""
    if fault == HTML:
        return login_page()
    if fault == OTHER_KIND:
        return asked.dialect.other_kind(asked.operation, asked.id)
    if fault == EMPTY:
        return asked.dialect.reply(asked.operation, emptied(fields), asked.id)
    return truncated(honest) if fault == TRUNCATED else honest


def _lose(request: web.Request) -> web.Response:
    """Whether or not the call took effect, its caller sees the connection break."""
    if request.transport is not None:
        request.transport.abort()
    return web.Response()


def _described(region: Region, instance: Instance) -> Fields:
    machine = instance.machine
    return {
        "id": machine.id,
        "account": region.account.number,
        "state": instance.state,
        "region": machine.region,
        "zone": machine.zone,
        "type": machine.type,
        "image": machine.image,
        "public_ip": machine.address,
        "private_ip": machine.private_ip,
        "is_ssh_open": machine.host is not None and machine.ssh_open_at is not None,
        "token": instance.token,
        "tags": machine.tags,
        "boot_seconds": machine.boot_s,
        "running_at": machine.running_at,
        "stopped_at": machine.stopped_at,
        "ended_at": machine.ended_at,
        "boots": machine.boots,
        "reason": machine.reason[0] if machine.reason else None,
    }
