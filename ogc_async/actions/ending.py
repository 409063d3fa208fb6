"""Machines that no row stands for: terminated, and waited for until the cloud says that they are gone."""

from __future__ import annotations

import asyncio
from collections.abc import Collection

import anyio

from ogc_async.actions.context import Context
from ogc_async.db.nodes import find_standing
from ogc_async.errors import DeadlineExceeded, OgcError, ProviderError
from ogc_async.providers.base import Provider
from ogc_async.types import DescribeRequest, Instance, InstanceState

Verdicts = dict[str, OgcError | None]
"""Why machines are not gone, by id; ``None`` for those that are."""


async def end_machines(instance_ids: Collection[str], provider: Provider, context: Context, *, scope: str) -> Verdicts:
    """End these machines of one database; a verdict an id, and none for those that a row stands for by now.

    Waits for the settings' time at most. Raises ``ProviderError`` where the cloud could not be asked.
    """
    # Another process may have taken one back meanwhile.
    taken = await find_standing(context.engine, instance_ids)
    answers = await provider.terminate([each for each in instance_ids if each not in taken])
    verdicts: Verdicts = {key: each if isinstance(each, ProviderError) else None for key, each in answers.items()}
    waiting = {key for key, each in answers.items() if isinstance(each, Instance) and not _has_ended(each)}
    loop = asyncio.get_running_loop()
    deadline = loop.time() + context.settings.ogc_terminate_timeout_s
    while waiting:
        seen = await _seen(waiting, provider, context, scope)
        verdicts |= {key: each for key, each in seen.items() if isinstance(each, ProviderError)}
        waiting = {key for key, each in seen.items() if isinstance(each, Instance) and not _has_ended(each)}
        if waiting and loop.time() > deadline:
            return verdicts | {key: _too_slow(key, provider) for key in waiting}
        if waiting:
            await anyio.sleep(context.settings.ogc_poll_s)
    return verdicts


async def _seen(
    instance_ids: Collection[str], provider: Provider, context: Context, scope: str
) -> dict[str, Instance | ProviderError]:
    """Each of these machines. One that a description does not show is asked for by its id: silence is no end."""
    wanted = DescribeRequest(owner=context.user.slug, scope=scope, instance_ids=tuple(sorted(instance_ids)))
    shown = {key: each for key, each in (await provider.describe(wanted)).items() if key in instance_ids}
    absent = [each for each in instance_ids if each not in shown]
    return {**shown, **(await provider.look_up(absent) if absent else {})}


def _has_ended(machine: Instance) -> bool:
    return machine.state is InstanceState.TERMINATED


def _too_slow(instance_id: str, provider: Provider) -> DeadlineExceeded:
    return DeadlineExceeded(f"{provider.name} {provider.region}: {instance_id} was told to end, and is not gone yet")
