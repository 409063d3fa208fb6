"""Compute Engine's HTTP front: who calls, whether they may, what is answered, what gets lost."""

from __future__ import annotations

import inspect
import json
import shutil
import tempfile
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

from aiohttp import web

from ogc_async.sandbox.clock import Clock
from ogc_async.sandbox.compute import fields, methods
from ogc_async.sandbox.compute.auth import BadGrant, Desk
from ogc_async.sandbox.compute.call import Call
from ogc_async.sandbox.compute.catalog import REGIONS, region_of
from ogc_async.sandbox.compute.checking import Fields
from ogc_async.sandbox.compute.errors import SERVICE, Refused, not_found, planned, unknown_field
from ogc_async.sandbox.compute.limits import Group
from ogc_async.sandbox.compute.methods import Method
from ogc_async.sandbox.compute.network import default_firewalls
from ogc_async.sandbox.compute.project import Instance, Project
from ogc_async.sandbox.room import ENDED_BY_USER, NO_CAPACITY, MachineRoom
from ogc_async.sandbox.settings import SandboxSettings
from ogc_async.sandbox.traffic import CUT, LOST_REPLY, THROTTLED, TWICE, UNAVAILABLE, Traffic

ROOT = "/compute/v1/"
TOKEN = "token"  # noqa: S105  # the path's name
REASONS = {NO_CAPACITY: "ZONE_RESOURCE_POOL_EXHAUSTED_WITH_DETAILS", ENDED_BY_USER: "compute.instances.delete"}


class Compute:
    """One project, and the key file of the account that may use it."""

    def __init__(self, settings: SandboxSettings, clock: Clock, room: MachineRoom) -> None:
        self._settings = settings
        self._desk = Desk(settings.google_project, settings.google_refresh_token)
        self._project = Project(settings, clock, room, self._desk.email)
        self._project.firewalls = default_firewalls(self._project)
        self._defaults = frozenset(self._project.firewalls)
        self._folder = Path(tempfile.mkdtemp(prefix="ogc-sandbox-"))
        self.traffic = Traffic(settings, clock)

    @property
    def key_path(self) -> Path:
        """The service account's file."""
        return self._folder / "service-account.json"

    def write_key(self, url: str) -> None:
        """Write the key file, once it is known where tokens are handed out."""
        self._desk.token_uri = f"{url}/{TOKEN}"
        self.key_path.touch(mode=0o600)
        self.key_path.write_text(self._desk.key_file(), encoding="utf-8")

    def remove(self) -> None:
        """Remove the key file."""
        shutil.rmtree(self._folder, ignore_errors=True)

    def routes(self) -> list[web.RouteDef]:
        """Where it is served."""
        return [web.post(f"/{TOKEN}", self._hand_out), web.route("*", f"{ROOT}{{tail:.*}}", self._handle)]

    def instances(self) -> list[Fields]:
        """Every machine there ever was, for the admin page."""
        return [_described(self._project, each) for each in self._project.launched]

    def firewalls(self) -> list[str]:
        """Names of the rules that were made and not removed yet."""
        return [name for name in self._project.firewalls if name not in self._defaults]

    def disks(self) -> list[str]:
        """Names of disks that were left behind by machines that are gone."""
        return [each.name for each in self._project.disks() if not each.is_there]

    async def _hand_out(self, request: web.Request) -> web.StreamResponse:
        form = dict(parse_qsl(await request.text(), keep_blank_values=True))
        self.traffic.count(TOKEN)
        fault = self.traffic.next_fault(TOKEN)
        await self.traffic.travel(TOKEN)
        try:
            if fault and fault not in (LOST_REPLY, TWICE, CUT):
                self.traffic.count_refused(TOKEN)
                error = {"error": "internal_failure", "error_description": "Backend Error"}
                return web.json_response(error, status=503)
            granted = self._desk.grant(form)
        except BadGrant as error:
            self.traffic.count_refused(TOKEN)
            return web.json_response({"error": "invalid_grant", "error_description": str(error)}, status=400)
        await self.traffic.travel(TOKEN)
        return _lose(request) if fault in (LOST_REPLY, CUT) else web.json_response(granted)

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        tail = request.path.removeprefix(ROOT)
        found = methods.find(request.method, tail)
        if found is None:
            return _reply(not_found(f"{request.method} {request.path}").body(), 404)
        method, path = found
        self.traffic.count(method.name)
        try:
            reply = await self._serve(request, method, path)
        except Refused as refused:
            self.traffic.count_refused(method.name)
            return _reply(refused.body(), refused.status)
        return _lose(request) if reply is None else _reply(reply)

    async def _serve(self, request: web.Request, method: Method, path: dict[str, str]) -> Fields | None:
        """What the method answers, or ``None`` where its reply gets lost."""
        self._admit(request, method, path)
        query = dict(parse_qsl(request.query_string, keep_blank_values=True))
        if unknown := set(query) - method.takes:
            raise unknown_field(min(unknown))
        if self._settings.has_limits:
            self._project.minutes.take(method.group, _region(method, path))
        fault = self.traffic.next_fault(method.name)
        await self.traffic.travel(method.name)
        if fault == CUT:
            return None
        # A fault in capitals is one of the operation, which is accepted first.
        if fault and fault not in (LOST_REPLY, TWICE) and not fault.isupper():
            raise _refusal(fault)
        body = _body(await request.text())
        tail = request.path.removeprefix(ROOT)
        call = Call(self._project, method.name, tail, path, query, body, fault if fault.isupper() else "")
        if fault == TWICE:
            await _answer(method, call)
        reply = await _answer(method, call)
        reply = fields.select(reply, query.get("fields", ""))
        await self.traffic.travel(method.name)
        return None if fault == LOST_REPLY else reply

    def _admit(self, request: web.Request, method: Method, path: dict[str, str]) -> None:
        self._desk.check(request.headers.get("Authorization", ""))
        if path["project"] not in (self._project.name, self._project.number) and not method.is_vendors:
            raise not_found(f"projects/{path['project']}")
        if not self._settings.has_compute:
            raise _disabled(self._project)
        if method.name in self._settings.denied:
            where = request.path.removeprefix(ROOT)
            raise Refused("forbidden", f"Required 'compute.{method.name}' permission for '{where}'")


async def _answer(method: Method, call: Call) -> Fields:
    answer = method.run(call)
    reply: Fields = await answer if inspect.isawaitable(answer) else answer
    return reply


def _refusal(fault: str) -> Refused:
    if fault == UNAVAILABLE:
        return Refused("backendError", "The service is currently unavailable.")
    if fault == THROTTLED:
        return Refused("rateLimitExceeded", "Rate Limit Exceeded")
    return planned(fault)


def _disabled(project: Project) -> Refused:
    message = (
        f"Compute Engine API has not been used in project {project.number} before or it is disabled. Enable it by "
        f"visiting https://console.developers.google.com/apis/api/{SERVICE}/overview?project={project.number} then "
        "retry."
    )
    metadata = {"service": SERVICE, "consumer": f"projects/{project.number}", "serviceTitle": "Compute Engine API"}
    return Refused(
        "accessNotConfigured",
        message,
        info={"reason": "SERVICE_DISABLED", "domain": "googleapis.com", "metadata": metadata},
    )


def _region(method: Method, path: dict[str, str]) -> str:
    """Whose quota the call takes from: the region's, or "", the whole project's."""
    if method.group in (Group.GLOBAL_READ, Group.GLOBAL_WRITE, Group.GLOBAL_HEAVY_READ):
        return ""
    region = path.get("region") or region_of(path.get("zone", ""))
    return region if region in REGIONS else ""


def _body(text: str) -> Fields:
    if not text.strip():
        return {}
    try:
        body = json.loads(text)
    except ValueError as error:
        raise Refused("parseError", f"Invalid JSON payload received. {error}") from None
    if not isinstance(body, dict):
        raise Refused("parseError", "Invalid JSON payload received. An object is needed.")
    given: Fields = _without_nulls(body)
    return given


def _without_nulls(thing: Any) -> Any:
    """``null`` is as good as absent."""
    if isinstance(thing, dict):
        return {name: _without_nulls(value) for name, value in thing.items() if value is not None}
    return [_without_nulls(each) for each in thing] if isinstance(thing, list) else thing


def _reply(reply: Fields, status: int = 200) -> web.Response:
    return web.Response(status=status, text=json.dumps(reply), content_type="application/json", charset="utf-8")


def _lose(request: web.Request) -> web.Response:
    """Whether or not the call took effect, its caller sees the connection break."""
    if request.transport is not None:
        request.transport.abort()
    return web.Response()


def _described(project: Project, instance: Instance) -> Fields:
    machine = instance.machine
    return {
        "id": f"{machine.zone}/{instance.name}",
        "name": instance.name,
        "state": project.status(instance),
        "region": machine.region,
        "zone": machine.zone,
        "type": machine.type,
        "image": machine.image,
        "public_ip": machine.address if instance.has_public_address else None,
        "private_ip": machine.private_ip,
        "is_ssh_open": machine.host is not None and machine.ssh_open_at is not None,
        "token": instance.request_id,
        "tags": machine.tags,
        "boot_seconds": machine.boot_s,
        "running_at": machine.running_at,
        "reason": REASONS.get(machine.reason, machine.reason[0]) if machine.reason else None,
    }
