"""The floor: one boto3 call for all machines and a quick poll, with no record, no retry and no second thought."""

from __future__ import annotations

from typing import Any

import boto3_threads  # beside this file


def race(job: dict[str, Any], _: None) -> list[str]:
    """The machines' addresses."""
    client = boto3_threads.connect(job)
    count = job["count"]
    boto3_threads.make_firewall_and_key(job, client)
    reply = client.run_instances(**boto3_threads.parameters(job, job["name"]), MinCount=count, MaxCount=count)
    ids = [each["InstanceId"] for each in reply["Instances"]]
    poll = {"Delay": 1, "MaxAttempts": 600}
    client.get_waiter("instance_running").wait(InstanceIds=ids, WaiterConfig=poll)
    return list(boto3_threads.addresses_of(client, ids))
