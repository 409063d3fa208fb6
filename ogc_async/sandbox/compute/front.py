"""Compute Engine's HTTP front: who calls, whether they may, what is answered, what gets lost."""

from __future__ import annotations

import inspect
import json
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

from aiohttp import web

from ogc_async.sandbox.accounts import Account, draw_stranger
from ogc_async.sandbox.clock import Clock
from ogc_async.sandbox.compute import fields, methods
from ogc_async.sandbox.compute.auth import BadGrant, Desks
from ogc_async.sandbox.compute.call import Call
from ogc_async.sandbox.compute.catalog import REGIONS, region_of
from ogc_async.sandbox.compute.checking import Fields
from ogc_async.sandbox.compute.errors import SERVICE, Refused, expired, forbidden, not_found, unknown_field
from ogc_async.sandbox.compute.limits import Group
from ogc_async.sandbox.compute.methods import Method
from ogc_async.sandbox.compute.network import DEFAULT_FIREWALLS, default_firewalls
from ogc_async.sandbox.compute.project import Instance, Project
from ogc_async.sandbox.compute.weather import emptied, other_kind, refusal, token_refusal
from ogc_async.sandbox.lies import login_page, redirect_to_login, truncated
from ogc_async.sandbox.room import (
    BOOT_ERROR,
    ENDED_BY_USER,
    NO_CAPACITY,
    SHUT_DOWN_INSIDE,
    STOPPED_BY_CLOUD,
    MachineRoom,
)
from ogc_async.sandbox.settings import SandboxSettings
from ogc_async.sandbox.traffic import (
    CUT,
    EFFECTIVE,
    EMPTY,
    ERROR_AFTER,
    EXPIRED,
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

ROOT = "/compute/v1/"
TOKEN = "token"  # noqa: S105  # the path's name
REASONS = {
    BOOT_ERROR: "INTERNAL_ERROR",
    ENDED_BY_USER: "compute.instances.delete",
    NO_CAPACITY: "ZONE_RESOURCE_POOL_EXHAUSTED_WITH_DETAILS",
    SHUT_DOWN_INSIDE: "compute.instances.guestTerminate",
    STOPPED_BY_CLOUD: "compute.instances.hostError",
}
"""The room's reasons, in Compute Engine's words."""


class Compute:
    """Every account's project, and the key file of its service account."""

    def __init__(self, settings: SandboxSettings, clock: Clock, room: MachineRoom, accounts: Sequence[Account]) -> None:
        self._settings = settings
        self._accounts = tuple(accounts)
        self._desks = Desks(accounts)
        self._projects = [_project(settings, clock, room, each) for each in accounts]
        self._stranger = _project(settings, clock, room, draw_stranger(settings))
        self._folder = Path(tempfile.mkdtemp(prefix="ogc-sandbox-"))
        self.traffic = Traffic(settings, clock)

    def variables(self, account: Account) -> dict[str, str]:
        """What a Google client of that account is led by."""
        return {"GOOGLE_APPLICATION_CREDENTIALS": str(self._key_path(account)), "GOOGLE_PROJECT": account.project}

    def write_keys(self, url: str) -> None:
        """Write the key files, once it is known where tokens are handed out."""
        self._desks.open_at(f"{url}/{TOKEN}")
        for each in self._accounts:
            path = self._key_path(each)
            path.touch(mode=0o600)
            path.write_text(self._desks.of(each).key_file(), encoding="utf-8")

    def remove(self) -> None:
        """Remove the key files."""
        shutil.rmtree(self._folder, ignore_errors=True)

    def routes(self) -> list[web.RouteDef]:
        """Where it is served."""
        return [web.post(f"/{TOKEN}", self._hand_out), web.route("*", f"{ROOT}{{tail:.*}}", self._handle)]

    def instances(self) -> list[Fields]:
        """Every machine there ever was, for the admin page."""
        return [_described(project, each) for project in self._known() for each in project.launched]

    def firewalls(self) -> list[str]:
        """Names of the rules that were made and not removed yet."""
        return [name for project in self._known() for name in project.firewalls if name not in DEFAULT_FIREWALLS]

    def disks(self) -> list[str]:
        """Names of disks that were left behind by machines that are gone."""
        return [each.name for project in self._known() for each in project.disks() if not each.is_there]

    async def _hand_out(self, request: web.Request) -> web.StreamResponse:
        form = dict(parse_qsl(await request.text(), keep_blank_values=True))
        self.traffic.count(TOKEN)
        try:
            desk = self._desks.asked_by(form)
            fault = self.traffic.next_fault(TOKEN, desk.account.place)
            if self.traffic.is_expired(desk.account.place):
                fault = EXPIRED
            await self.traffic.travel(TOKEN)
            if fault and fault not in EFFECTIVE:
                return self._refuse_token(request, fault)
            granted = desk.grant(form)
        except BadGrant as error:
            self.traffic.count_refused(TOKEN)
            return _reply({"error": "invalid_grant", "error_description": str(error)}, 400)
        await self.traffic.travel(TOKEN)
        if fault == ERROR_AFTER:
            return self._refuse_token(request, fault)
        if fault in (OTHER_KIND, EMPTY):
            return _reply({"id_token": ""} if fault == OTHER_KIND else {})
        return _spoiled(request, fault, _reply(granted))

    def _refuse_token(self, request: web.Request, fault: str) -> web.Response:
        if (reply := _unheard(request, fault)) is not None:
            return reply
        self.traffic.count_refused(TOKEN)
        return _reply(*token_refusal(fault))

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        tail = request.path.removeprefix(ROOT)
        found = methods.find(request.method, tail)
        if found is None:
            return _reply(not_found(f"{request.method} {request.path}").body(), 404)
        method, path = found
        self.traffic.count(method.name)
        try:
            return await self._serve(request, method, path)
        except Refused as refused:
            return self._refuse(method, refused)

    async def _serve(self, request: web.Request, method: Method, path: dict[str, str]) -> web.Response:
        """What is heard of the call. Raises :class:`Refused` where that is a refusal."""
        project = self._admit(request, method, path)
        query = dict(parse_qsl(request.query_string, keep_blank_values=True))
        if unknown := set(query) - method.takes:
            raise unknown_field(min(unknown))
        if self._settings.has_limits:
            project.minutes.take(method.group, _region(method, path))
        fault = self.traffic.next_fault(method.name, project.account.place)
        await self.traffic.travel(method.name)
        text = await request.text()
        if (unheard := _unheard(request, fault)) is not None:
            return unheard
        asked = self._stranger if fault == OTHER_ACCOUNT else project
        # A fault in capitals is one of the operation, which is accepted first.
        code = fault if fault.isupper() else ""
        call = Call(
            asked,
            method.name,
            request.path.removeprefix(ROOT),
            path,
            query,
            _body(text) if method.has_body else {},
            code,
        )
        if fault and not code and fault not in EFFECTIVE:
            raise refusal(fault, call)
        return await self._answer(request, method, call, fault)

    async def _answer(self, request: web.Request, method: Method, call: Call, fault: str) -> web.Response:
        """What is heard of a call that takes effect. Raises :class:`Refused`."""
        try:
            reply = await _run(method, call, times=2 if fault == TWICE else 1)
        except Refused as refused:
            reply, honest = {}, self._refuse(method, refused)
        else:
            honest = _shown(call, reply)
            await self.traffic.travel(method.name)
            if fault == ERROR_AFTER:
                raise refusal(fault, call)
        if fault == OTHER_KIND:
            return _shown(call, other_kind(call))
        return _shown(call, emptied(reply)) if fault == EMPTY else _spoiled(request, fault, honest)

    def _admit(self, request: web.Request, method: Method, path: dict[str, str]) -> Project:
        """The project that the call is for. Raises :class:`Refused` for whoever may not ask this."""
        account = self._desks.caller(request.headers.get("Authorization", ""))
        if self.traffic.is_expired(account.place):
            raise expired()
        own = next(each for each in self._projects if each.account is account)
        named = next((each for each in self._projects if path["project"] in (each.name, each.number)), None)
        if named is None and not method.is_vendors:
            raise not_found(f"projects/{path['project']}")
        project = named or own
        tail = request.path.removeprefix(ROOT)
        if project is not own:
            raise forbidden(method.name, tail)
        if not self._settings.has_compute:
            raise _disabled(project)
        if not self._settings.denied.isdisjoint(names_of(method.name, account.place)):
            raise forbidden(method.name, tail)
        return project

    def _refuse(self, method: Method, refused: Refused) -> web.Response:
        self.traffic.count_refused(method.name)
        return _reply(refused.body(), refused.status)

    def _known(self) -> Iterator[Project]:
        """Every project, and what others were answered for."""
        yield from (*self._projects, self._stranger)

    def _key_path(self, account: Account) -> Path:
        """The service account's file."""
        suffix = "" if account.place == 1 else f"-{account.place}"
        return self._folder / f"service-account{suffix}.json"


def _project(settings: SandboxSettings, clock: Clock, room: MachineRoom, account: Account) -> Project:
    project = Project(settings, clock, room, account)
    project.firewalls = default_firewalls(project)
    return project


async def _run(method: Method, call: Call, *, times: int) -> Fields:
    reply: Fields = {}
    for _ in range(times):
        answer = method.run(call)
        reply = await answer if inspect.isawaitable(answer) else answer
    return reply


def _shown(call: Call, reply: Fields) -> web.Response:
    """As much of it as the caller wants to hear."""
    return _reply(fields.select(reply, call.query.get("fields", "")))


def _unheard(request: web.Request, fault: str) -> web.Response | None:
    """What is answered to a call that has not reached the service, if this one has not."""
    if fault == CUT:
        return _lose(request)
    if fault == HTML_BEFORE:
        return login_page()
    return redirect_to_login() if fault == REDIRECT else None


def _spoiled(request: web.Request, fault: str, honest: web.Response) -> web.Response:
    """What is heard instead of the honest answer; it stands in for a refusal, too."""
    if fault == LOST_REPLY:
        return _lose(request)
    if fault == HTML:
        return login_page()
    return truncated(honest) if fault == TRUNCATED else honest


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
        "number": machine.id,
        "project": project.name,
        "state": project.status(instance),
        "region": machine.region,
        "zone": machine.zone,
        "type": machine.type,
        "image": machine.image,
        "public_ip": machine.address,
        "private_ip": machine.private_ip,
        "is_ssh_open": machine.host is not None and machine.ssh_open_at is not None,
        "token": instance.request_id,
        "tags": machine.tags,
        "boot_seconds": machine.boot_s,
        "running_at": machine.running_at,
        "stopped_at": machine.stopped_at,
        "ended_at": machine.ended_at,
        "boots": machine.boots,
        "reason": REASONS.get(machine.reason, machine.reason[0]) if machine.reason else None,
    }
