"""The sandbox as a whole: one machine room, the clouds before it, and the address where they are served."""

from __future__ import annotations

import json
import logging
import resource
from contextlib import AsyncExitStack
from email.utils import format_datetime
from types import TracebackType

from aiohttp import web

from ogc_async.sandbox.accounts import Account, draw_accounts, prefixed
from ogc_async.sandbox.clock import Clock
from ogc_async.sandbox.compute.front import Compute
from ogc_async.sandbox.ec2.front import Ec2
from ogc_async.sandbox.enclosure import Enclosure
from ogc_async.sandbox.guard import guard
from ogc_async.sandbox.hosts import Hosts
from ogc_async.sandbox.lies import LOGIN_PATH, login_page
from ogc_async.sandbox.room import MachineRoom
from ogc_async.sandbox.settings import TOKEN_VARIABLE, SandboxSettings

log = logging.getLogger(__name__)

SHUTDOWN_TIMEOUT_S = 2.0
MAX_LINE = 65_536
"""Bytes of a request's first line: a client that names a thousand machines there is not for us to refuse."""
OPEN_FILES = 65536


class Sandbox:
    """A pretend world on loopback: ``async with Sandbox() as sandbox: sandbox.env()``.

    Scripts that are sent to its machines run on this very machine, as this very user; inside bubblewrap, which keeps
    them to their machine's home folder, where ``bwrap`` is installed and may be used. Other users of this computer
    can use neither its APIs nor its machines: what it takes is drawn at every start, and told by :meth:`env` alone.
    """

    def __init__(self, settings: SandboxSettings | None = None) -> None:
        self.settings = settings or SandboxSettings()
        self.accounts = draw_accounts(self.settings)
        self._clock = Clock(self.settings.time_scale)
        self._stack = AsyncExitStack()
        self._port = 0

    async def __aenter__(self) -> Sandbox:
        """Serve. Raises ``OSError`` where the port is taken, ``EnclosureMissing`` where one is needed."""
        _raise_file_limit()
        self.enclosure = await Enclosure.chosen(self.settings.enclosure)
        async with AsyncExitStack() as stack:
            self._hosts = Hosts(self.settings.network, self.settings.ssh_port, self.enclosure)
            stack.callback(self._hosts.remove)
            self._room = MachineRoom(self.settings, self._clock, self._hosts)
            stack.push_async_callback(self._room.aclose)
            self._ec2 = Ec2(self.settings, self._clock, self._room, self.accounts)
            self._compute = Compute(self.settings, self._clock, self._room, self.accounts)
            stack.callback(self._compute.remove)
            runner = web.AppRunner(
                self._web(), access_log=None, shutdown_timeout=SHUTDOWN_TIMEOUT_S, max_line_size=MAX_LINE
            )
            await runner.setup()
            stack.push_async_callback(runner.cleanup)
            await web.TCPSite(runner, self.settings.host, self.settings.port).start()
            self._port = runner.addresses[0][1]
            self._compute.write_keys(self.url)
            self._stack = stack.pop_all()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stack.aclose()

    @property
    def url(self) -> str:
        """Where every API and the admin page are served."""
        return f"http://{self.settings.host}:{self._port}"

    def env(self) -> dict[str, str]:
        """The variables that lead a client here; those of further accounts have a prefix, ``SANDBOX_2_…``."""
        first, *more = self.accounts
        return {
            "AWS_ENDPOINT_URL": self.url,
            **first.aws_variables(),
            "AWS_REGION": self.settings.region,
            TOKEN_VARIABLE: self.settings.admin_token,
            "SANDBOX_GOOGLE_REFRESH_TOKEN": self.settings.google_refresh_token,
            **self._compute.variables(first),
            "GOOGLE_DATACENTER": self.settings.google_zone,
            "OGC_GOOGLE_ENDPOINT": self.url,
            **{name: value for each in more for name, value in prefixed(each, self._variables(each))},
            "OGC_SSH_PORT": str(self.settings.ssh_port),
        }

    def _variables(self, account: Account) -> dict[str, str]:
        """What leads a client to an account that is not the first."""
        more = {"GOOGLE_REFRESH_TOKEN": account.refresh_token}
        return account.aws_variables() | self._compute.variables(account) | more

    def state(self) -> dict[str, object]:
        """What the admin page shows."""
        left = self._ec2.leftovers()
        return {
            "now": self._clock.now(),
            "instances": {"aws": self._ec2.instances(), "google": self._compute.instances()},
            "calls": {"aws": self._ec2.traffic.counts(), "google": self._compute.traffic.counts()},
            "faults": {"aws": self._ec2.traffic.faults(), "google": self._compute.traffic.faults()},
            "key_pairs": left["key_pairs"],
            "volumes": self._ec2.volumes(),
            "firewalls": [*left["firewalls"], *self._compute.firewalls()],
            "disks": self._compute.disks(),
            "homes": self._hosts.homes(),
        }

    def add_faults(self, *faults: str) -> None:
        """Plan faults in every cloud, as the setting ``faults`` has them. Raises ``ValueError``."""
        for whom in (self._room, self._ec2.traffic, self._compute.traffic):
            whom.add_faults(faults)

    def _web(self) -> web.Application:
        check = guard(self.settings.host, self.settings.admin_token)
        app = web.Application(client_max_size=16 * 1024**2, middlewares=[check])
        app.on_response_prepare.append(self._date)
        app.router.add_get("/_sandbox/state", self._show_state)
        app.router.add_post("/_sandbox/faults", self._take_faults)
        app.router.add_route("*", "/", self._ec2.handle)
        app.router.add_get(LOGIN_PATH, self._show_login)
        app.router.add_routes(self._compute.routes())
        return app

    async def _date(self, _: web.Request, response: web.StreamResponse) -> None:
        """Every reply is of the sandbox's own time, as the moments in it are."""
        response.headers["Date"] = format_datetime(self._clock.moment(self._clock.now()), usegmt=True)

    async def _show_state(self, _: web.Request) -> web.Response:
        return web.json_response(self.state())

    async def _show_login(self, _: web.Request) -> web.Response:
        return login_page()

    async def _take_faults(self, request: web.Request) -> web.Response:
        try:
            faults = json.loads(await request.text())
            self.add_faults(*map(str, faults))
        except (ValueError, TypeError) as error:
            raise web.HTTPBadRequest(
                text=f"a JSON list of faults, OPERATION=FAULT each, is needed: {error}\n"
            ) from None
        return web.json_response({"planned": len(faults)})


def _raise_file_limit() -> None:
    """Each machine holds a socket, and each connection and running command a few files."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = OPEN_FILES if hard == resource.RLIM_INFINITY else min(OPEN_FILES, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
