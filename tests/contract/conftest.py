"""One cloud a body and run, one owner a test."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack

import pytest

from ogc_async.providers.base import Provider
from tests.contract.bodies import Body, Cloud, World


@pytest.fixture(scope="session")
def clouds() -> dict[str, Cloud]:
    """The clouds that run already, by body."""
    return {}


@pytest.fixture(scope="session")
def servers() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


@pytest.fixture
def body(request: pytest.FixtureRequest) -> Body:
    chosen: Body = request.param
    return chosen


@pytest.fixture
def world(body: Body, servers: ExitStack, clouds: dict[str, Cloud]) -> World:
    if body.name not in clouds:
        clouds[body.name] = servers.enter_context(body.start())
    return World(body, clouds[body.name])


@pytest.fixture
def troubled(body: Body) -> Iterator[Callable[..., World]]:
    """Starts clouds of the test's own, which fail as their options say."""
    with ExitStack() as stack:
        yield lambda *options: World(body, stack.enter_context(body.start(*options)))


@pytest.fixture
async def provider(world: World) -> AsyncIterator[Provider]:
    opened = world.cloud.open()
    yield opened
    await opened.aclose()


@pytest.fixture
async def other_process(world: World) -> AsyncIterator[Provider]:
    """A second provider, which knows nothing of what the first one did."""
    opened = world.cloud.open()
    yield opened
    await opened.aclose()
