"""A sandbox in a process of its own, for tests that look at the product from outside."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from ogc_async.db import Engine
from ogc_async.db.users import create_user
from ogc_async.sandbox.isolation import own_environment
from ogc_async.sandbox.process import plan_faults, read_state
from ogc_async.settings import Settings
from ogc_async.spec import Layout
from ogc_async.ssh.keys import generate_key_pair
from ogc_async.state import App
from tests.warm import cool, warm

_enclosure = "auto"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--enclosure", choices=("auto", "on", "off"), default="auto", help="bubblewrap's, where a test does not say"
    )


def pytest_configure(config: pytest.Config) -> None:
    global _enclosure
    _enclosure = config.getoption("--enclosure")


def pytest_unconfigure() -> None:
    cool()


@dataclass(frozen=True)
class Cloud:
    """A running sandbox: the environment that leads to it, and what its admin page says."""

    environment: dict[str, str]
    endpoint: str

    def state(self) -> dict[str, Any]:
        return read_state(self.endpoint)

    def plan(self, *faults: str) -> int:
        """Plan faults, ``OPERATION=FAULT`` each; how many."""
        return plan_faults(self.endpoint, self.environment["SANDBOX_TOKEN"], *faults)

    def instances(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.state()["instances"]["aws"]
        return found

    def living(self, scope: str) -> list[dict[str, Any]]:
        """The machines of one database's user that are not gone or about to be."""
        mine = (each for each in self.instances() if each["tags"].get("ogc:scope") == scope)
        return [each for each in mine if each["state"] not in ("terminated", "shutting-down")]

    def calls(self) -> dict[str, int]:
        return {name: count["calls"] for name, count in self.state()["calls"]["aws"].items()}


def bare_environment(**more: str) -> dict[str, str]:
    """What a program needs to run, and nothing of this account's clouds or databases."""
    return own_environment(HOME=os.environ["HOME"]) | more


@contextmanager
def running_sandbox(*options: str, environment: Mapping[str, str] | None = None) -> Iterator[Cloud]:
    """Start a sandbox in a process of its own, and stop it again."""
    words = ["--enclosure", _enclosure, *options]
    with warm().sandbox(words, env=bare_environment(**(environment or {}))) as variables:
        yield Cloud(bare_environment(**variables), variables["AWS_ENDPOINT_URL"])


@pytest.fixture(scope="session")
def shared_cloud() -> Iterator[Cloud]:
    with running_sandbox("--boot", "0.2:0.5") as cloud:
        yield cloud


@pytest.fixture
def cloud(shared_cloud: Cloud, tmp_path: Path) -> Cloud:
    """The run's sandbox, with a home folder of the test's own."""
    home = tmp_path / "home"
    home.mkdir()
    return Cloud(shared_cloud.environment | {"HOME": str(home)}, shared_cloud.endpoint)


@pytest.fixture(scope="session")
def session_key(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("keys") / "id_ed25519"
    generate_key_pair(path)
    return path


@pytest.fixture
def key_path(session_key: Path) -> Path:
    return session_key


@pytest.fixture
def scripts_folder(tmp_path: Path) -> Path:
    folder = tmp_path / "scripts"
    folder.mkdir()
    (folder / "1-hello.sh").write_text('#!/bin/sh\necho "hello from $OGC_NODE_NAME"\n')
    (folder / "2-page.sh.mako").write_text('#!/bin/sh\necho "${node.name} for ${user.name}"\n')
    return folder


@pytest.fixture
async def app(cloud: Cloud, database: Engine) -> AsyncIterator[App]:
    """An app of the test's own: the run's sandbox, a fresh database, and a user whose scope no other test shares."""
    values = {name.lower(): value for name, value in cloud.environment.items()}
    settings = Settings(_env_file=None, ogc_poll_s=0.1, ogc_api_retry_s=20, ogc_ssh_timeout_s=30, **values)
    async with App(engine=database, settings=settings) as app:
        await create_user(database, "Adam")
        yield app


@pytest.fixture
async def cloudless(database: Engine) -> AsyncIterator[App]:
    """An app on a fresh database, for nodes that no cloud launched."""
    async with App(engine=database, settings=Settings(_env_file=None, ogc_ssh_timeout_s=30)) as app:
        await create_user(database, "Adam")
        yield app


@pytest.fixture
def layout(key_path: Path, scripts_folder: Path, tmp_path: Path) -> Layout:
    """A layout that works."""
    return Layout.from_dict(
        {
            "name": "web",
            "provider": "aws",
            "runs-on": "ubuntu-2404",
            "instance-size": "t3.small",
            "ssh-keys": {"private": str(key_path)},
            "scripts": str(scripts_folder),
            "folder": str(tmp_path),
        }
    )
