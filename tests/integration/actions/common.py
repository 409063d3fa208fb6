"""What the tests of the verbs share."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import boto3
from anyio.to_thread import run_sync

from ogc_async.db.results import ActionSnapshot, node_actions
from ogc_async.events import Event, OutputArrived
from ogc_async.spec import Layout
from ogc_async.state import App
from tests.cloud import Cloud
from tests.timing import LoopTime


def changed(layout: Layout, **changes: Any) -> dict[str, Any]:
    return layout.as_dict() | {key.replace("_", "-"): value for key, value in changes.items()}


async def recorded(app: App, node_id: int) -> list[ActionSnapshot]:
    """The node's steps on record, oldest first."""
    assert app.engine is not None
    return await node_actions(app.engine, node_id)


@contextmanager
def step_time_over(app: App, seconds: float) -> Iterator[None]:
    """The step's time is over once it has written something."""
    time = LoopTime()

    def watch(event: Event) -> None:
        if isinstance(event, OutputArrived):
            time.forward(seconds)

    with app.events.subscribed(watch):
        yield


@contextmanager
def witness(cloud: Cloud) -> Iterator[Any]:
    """Somebody else's client for EC2."""
    variables = cloud.environment
    client = boto3.client(
        "ec2",
        endpoint_url=cloud.endpoint,
        region_name=variables["AWS_REGION"],
        aws_access_key_id=variables["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=variables["AWS_SECRET_ACCESS_KEY"],
    )
    try:
        yield client
    finally:
        client.close()


async def end_machine(cloud: Cloud, instance_id: str | None) -> None:
    """End a machine behind the product's back."""
    with witness(cloud) as ec2:
        await run_sync(lambda: ec2.terminate_instances(InstanceIds=[instance_id]))


def user_data_of(cloud: Cloud, instance_id: str | None) -> str:
    """What the machine was told at its launch."""
    with witness(cloud) as ec2:
        answer = ec2.describe_instance_attribute(InstanceId=instance_id, Attribute="userData")
    return base64.b64decode(answer["UserData"].get("Value", "")).decode()
