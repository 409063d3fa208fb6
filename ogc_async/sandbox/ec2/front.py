"""EC2's and SSM's HTTP front: who calls, whether they may, what is answered, what gets lost."""

from __future__ import annotations

import json
import random
import uuid
from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qsl

from aiohttp import web

from ogc_async.sandbox.clock import Clock
from ogc_async.sandbox.ec2 import images
from ogc_async.sandbox.ec2.auth import Call, authenticate
from ogc_async.sandbox.ec2.catalog import is_region
from ogc_async.sandbox.ec2.errors import Refused, throttled
from ogc_async.sandbox.ec2.operations import OPERATIONS
from ogc_async.sandbox.ec2.region import Fields, Instance, Region
from ogc_async.sandbox.ec2.wire import Parameters, error_reply, reply
from ogc_async.sandbox.room import MachineRoom
from ogc_async.sandbox.settings import SandboxSettings
from ogc_async.sandbox.traffic import CUT, LOST_REPLY, THROTTLED, TWICE, UNAVAILABLE, Traffic

SSM_PREFIX = "AmazonSSM."
NARROWING = ("Filter", "MaxResults")


class Ec2:
    """The clouds's regions, made as they are called for."""

    def __init__(self, settings: SandboxSettings, clock: Clock, room: MachineRoom) -> None:
        self._settings = settings
        self._clock = clock
        self._room = room
        self._regions: dict[str, Region] = {}
        self._rng = random.Random(f"{settings.seed} requests")  # noqa: S311  # reproducible, not secret
        self.traffic = Traffic(settings, clock)

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Answer one call."""
        target = request.headers.get("X-Amz-Target", "")
        body = await request.read()
        if target.startswith(SSM_PREFIX):
            return await self._handle_ssm(request, body, target.removeprefix(SSM_PREFIX))
        request_id = str(uuid.UUID(int=self._rng.getrandbits(128)))
        pairs = parse_qsl(request.query_string, keep_blank_values=True) + parse_qsl(
            body.decode(), keep_blank_values=True
        )
        operation = dict(pairs).get("Action", "")
        try:
            fields = await self._serve(request, body, operation, pairs)
        except Refused as refused:
            self.traffic.count_refused(operation)
            return web.Response(
                status=refused.status, body=error_reply(refused, request_id), content_type="text/xml", charset="utf-8"
            )
        if fields is None:
            return _lose(request)
        return web.Response(body=reply(operation, fields, request_id), content_type="text/xml", charset="utf-8")

    def instances(self) -> list[Fields]:
        """Every machine there ever was, for the admin page."""
        return [_described(each) for region in self._regions.values() for each in region.instances.values()]

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

    async def _serve(
        self, request: web.Request, body: bytes, operation: str, pairs: list[tuple[str, str]]
    ) -> Fields | None:
        """What the operation answers, or ``None`` where its reply gets lost."""
        region = self._admit(request, body, operation)
        if operation not in OPERATIONS:
            raise Refused("InvalidAction", f"The action {operation} is not valid for this web service.")
        parameters = Parameters.of(pairs)
        parameters.check_known(OPERATIONS[operation].takes)
        is_narrow = any(name in parameters for name in NARROWING)
        if self._settings.has_limits and not region.buckets.take_request(operation, is_filtered=is_narrow):
            raise throttled()
        return await self._run(operation, lambda: OPERATIONS[operation].run(region, parameters))

    async def _handle_ssm(self, request: web.Request, body: bytes, operation: str) -> web.StreamResponse:
        try:
            region = self._admit(request, body, operation)
            asked = json.loads(body or b"{}")
            answer = await self._run(operation, lambda: images.ask_parameters(region, operation, asked))
        except Refused as refused:
            self.traffic.count_refused(operation)
            return _json({"__type": refused.code, "message": refused.message}, refused.status)
        return _lose(request) if answer is None else _json(answer)

    async def _run(self, operation: str, run: Any) -> Fields | None:
        fault = self.traffic.next_fault(operation)
        await self.traffic.travel(operation)
        if fault == CUT:
            return None
        if fault and fault not in (LOST_REPLY, TWICE):
            raise _refusal(fault)
        if fault == TWICE:
            run()
        fields: Fields = run()
        await self.traffic.travel(operation)
        return None if fault == LOST_REPLY else fields

    def _admit(self, request: web.Request, body: bytes, operation: str) -> Region:
        self.traffic.count(operation)
        path, _, query = request.raw_path.partition("?")
        headers = {name.lower(): value for name, value in request.headers.items()}
        call = Call(request.method, path, query, headers, body)
        caller = authenticate(call, self._settings.access_key, self._settings.secret_key)
        if operation in self._settings.denied:
            message = (
                f"You are not authorized to perform this operation. User is not authorized to perform: ec2:{operation}"
            )
            raise Refused("UnauthorizedOperation", message, 403)
        if not is_region(caller.region):
            raise Refused("AuthFailure", f"There is no region {caller.region}", 401)
        if caller.region not in self._regions:
            self._regions[caller.region] = Region(caller.region, self._settings, self._clock, self._room)
        return self._regions[caller.region]


def _refusal(fault: str) -> Refused:
    if fault == UNAVAILABLE:
        return Refused("Unavailable", "The server is overloaded and can't handle the request.", 503)
    if fault == THROTTLED:
        return throttled()
    return Refused(fault, "The request was refused, as planned.", 500 if "Capacity" in fault else 400)


def _lose(request: web.Request) -> web.Response:
    """Whether or not the call took effect, its caller sees the connection break."""
    if request.transport is not None:
        request.transport.abort()
    return web.Response()


def _json(answer: Mapping[str, Any], status: int = 200) -> web.Response:
    return web.Response(status=status, text=json.dumps(answer), content_type="application/x-amz-json-1.1")


def _described(instance: Instance) -> Fields:
    machine = instance.machine
    return {
        "id": machine.id,
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
        "reason": machine.reason[0] if machine.reason else None,
    }
