"""Runs the program in processes that die: ``python -m tests.crash.driver SOCKET``.

The driver imports the program once and then forks a child for each connection. A child takes its job, a line of JSON,
and writes its own process id, then the name of every boundary that it comes to, then ``done``; a child that is killed
closes the connection, and that is all that is heard of it. A boundary is the moment before or after a database commit
or a cloud request; the child kills itself at the one that its job names.
"""

from __future__ import annotations

import asyncio
import json
import os
import select
import signal
import socket
import sys
import traceback
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from contextvars import ContextVar
from dataclasses import asdict, dataclass, field
from typing import Any, NoReturn

import sqlalchemy
from sqlalchemy import event

from ogc_async import actions, db
from ogc_async.db import Engine
from ogc_async.errors import OgcError
from ogc_async.providers.aws.client import AwsClient, open_session
from ogc_async.providers.google.client import GoogleClient
from ogc_async.settings import Settings
from ogc_async.spec import Layout, Spec, SpecLoader
from ogc_async.state import App
from tests.kept import SERVICES

DONE = "done"
ERROR = "error: "


@dataclass(frozen=True, kw_only=True)
class Job:
    """What a child is to do, with which settings, on which database, and where it dies."""

    scenario: str
    spec: str
    database: str
    settings: dict[str, Any] = field(default_factory=dict)
    kill_at: str = ""
    is_stormy: bool = False
    """The cloud may have no room, or too much trouble: what fails of that is no mistake of the program."""

    def as_line(self) -> bytes:
        return json.dumps(asdict(self)).encode() + b"\n"

    def open(self) -> App:
        """An app on the job's database and cloud."""
        settings = Settings(_env_file=None, **self.settings)
        return App(engine=db.connect(self.database, settings=settings), settings=settings)


class Boundaries:
    """Tells every boundary that is come to, and dies at one of them. Names end in how often they came before."""

    def __init__(self, tell: Callable[[str], None], kill_at: str) -> None:
        self._tell = tell
        self._kill_at = kill_at
        self._seen: Counter[str] = Counter()
        self._caller: ContextVar[str] = ContextVar("caller", default="?")

    def reach(self, what: str) -> None:
        self._seen[what] += 1
        name = f"{what} #{self._seen[what]}"
        self._tell(name)
        if name == self._kill_at:
            os.kill(os.getpid(), signal.SIGKILL)

    def install(self) -> None:
        self._watch_commits()
        self._watch_requests()

    def _watch_commits(self) -> None:
        transaction = Engine.transaction

        @asynccontextmanager
        async def watched(engine: Engine, *timeout_s: float | None) -> AsyncIterator[Any]:
            # Two frames up, behind the context manager's own: the function that opens the transaction.
            caller = sys._getframe(2).f_code.co_name
            token = self._caller.set(caller)
            try:
                async with transaction(engine, *timeout_s) as connection:
                    yield connection
            finally:
                self._caller.reset(token)
            self.reach(f"after commit of {caller}")

        def before_commit(_: sqlalchemy.Connection) -> None:
            self.reach(f"before commit of {self._caller.get()}")

        event.listen(sqlalchemy.Engine, "commit", before_commit)
        Engine.transaction = watched  # type: ignore[assignment, method-assign]

    def _watch_requests(self) -> None:
        for provider, client in (("aws", AwsClient), ("google", GoogleClient)):
            self._watch_client(provider, client)

    def _watch_client(self, provider: str, client: Any) -> None:
        once = client._once

        async def watched(it: Any, operation: str, *rest: Any) -> Any:
            self.reach(f"before {provider} {operation}")
            try:
                return await once(it, operation, *rest)
            finally:
                self.reach(f"after {provider} {operation}")

        client._once = watched


async def live(job: Job) -> None:
    """The whole life of a fleet: by the verbs, or by ``sync`` alone, which takes one node of each layout down again."""
    spec = SpecLoader.load(job.spec)
    async with job.open() as app:
        with suppress(*((OgcError, ExceptionGroup) if job.is_stormy else ())):
            await (live_by_sync if job.scenario == "sync" else live_by_verbs)(job, app, spec)


async def live_by_sync(job: Job, app: App, spec: Spec) -> None:
    for scale in (2, 1, 0):
        synced = await actions.sync_async(scaled(spec, scale), app=app)
        assert synced.ok or job.is_stormy, synced


async def live_by_verbs(job: Job, app: App, spec: Spec) -> None:
    launched = await actions.launch_async(spec.layouts, app=app)
    assert launched.ok or job.is_stormy, launched.failures
    assert all(await actions.deploy_async(launched, app=app)) or job.is_stormy
    gone = await actions.teardown_async(launched, app=app)
    assert (gone.ok and not gone.leftovers) or job.is_stormy, (gone.failures, gone.leftovers)


def scaled(spec: Spec, scale: int) -> Spec:
    layouts: list[Layout] = [layout.model_copy(update={"scale": scale}) for layout in spec.layouts]
    return spec.model_copy(update={"layouts": tuple(layouts)})


def work(connection: socket.socket) -> NoReturn:
    """A child's life."""

    def tell(text: str) -> None:
        connection.sendall(text.encode() + b"\n")

    try:
        with connection.makefile("rb") as lines:
            job = Job(**json.loads(lines.readline()))
        tell(str(os.getpid()))
        Boundaries(tell, job.kill_at).install()
        asyncio.run(live(job))
        tell(DONE)
    except BaseException:
        tell(ERROR + repr(traceback.format_exc()))
    os._exit(0)


async def warm(settings: Settings) -> None:
    """Read EC2's model once, for all children: it takes 0.1 s."""
    for service in SERVICES:
        async with open_session(settings).create_client(service, region_name="us-east-2"):
            pass


def main(path: str) -> None:
    """Serve until the standard input ends, as it does when whoever has started this does."""
    asyncio.run(warm(Settings(_env_file=None, aws_access_key_id="x", aws_secret_access_key="x")))
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen(64)
        print("ready", flush=True)
        while True:
            ready, _, _ = select.select([listener, sys.stdin], [], [])
            if sys.stdin in ready:
                return
            connection, _ = listener.accept()
            with connection:
                if os.fork() == 0:
                    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                    listener.close()
                    work(connection)


if __name__ == "__main__":
    main(sys.argv[1])
