"""boto3 with a thread pool: a call a machine, botocore's own retries, botocore's own waiter."""

from __future__ import annotations

import random
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError

THREADS = 50
REFUSED = "RequestLimitExceeded"


def race(job: dict[str, Any], _: None) -> list[str]:
    """The machines' addresses."""
    client = connect(job)
    make_firewall_and_key(job, client)
    with ThreadPoolExecutor(min(THREADS, job["count"])) as pool:
        ids = list(pool.map(lambda number: _launch_one(job, client, number), range(job["count"])))
    client.get_waiter("instance_running").wait(InstanceIds=ids)
    return addresses_of(client, ids)


def connect(job: dict[str, Any]) -> Any:
    """A client of the pretend cloud; clients are for many threads at once."""
    environment = job["environment"]
    return boto3.client(
        "ec2",
        endpoint_url=environment["AWS_ENDPOINT_URL"],
        region_name=environment["AWS_REGION"],
        aws_access_key_id=environment["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=environment["AWS_SECRET_ACCESS_KEY"],
        config=Config(max_pool_connections=THREADS, retries={"mode": "standard", "max_attempts": 10}),
    )


def _launch_one(job: dict[str, Any], client: Any, number: int) -> str:
    """Past botocore's retries the call is made again: a machine that is missing is no launch."""
    while True:
        try:
            reply = client.run_instances(**parameters(job, f"{job['name']}-{number}"), MinCount=1, MaxCount=1)
            return str(reply["Instances"][0]["InstanceId"])
        except ClientError as error:
            if error.response["Error"]["Code"] != REFUSED:
                raise
            time.sleep(random.uniform(1, 5))


def parameters(job: dict[str, Any], name: str) -> dict[str, Any]:
    """Everything of ``RunInstances`` but how many."""
    return {
        "ImageId": job["image"],
        "InstanceType": job["size"],
        "KeyName": job["name"],
        "SecurityGroups": [job["name"]],
        "TagSpecifications": [{"ResourceType": "instance", "Tags": [{"Key": "Name", "Value": name}]}],
    }


def make_firewall_and_key(job: dict[str, Any], client: Any) -> None:
    """What a machine needs to be reached."""
    client.create_security_group(GroupName=job["name"], Description="for SSH")
    rule = {"IpProtocol": "tcp", "FromPort": 22, "ToPort": 22, "IpRanges": [{"CidrIp": "0.0.0.0/0"}]}
    client.authorize_security_group_ingress(GroupName=job["name"], IpPermissions=[rule])
    client.import_key_pair(KeyName=job["name"], PublicKeyMaterial=Path(f"{job['key']}.pub").read_bytes())


def addresses_of(client: Any, ids: list[str]) -> list[str]:
    """The machines' public addresses."""
    replies = client.get_paginator("describe_instances").paginate(InstanceIds=ids)
    machines = (each for reply in replies for group in reply["Reservations"] for each in group["Instances"])
    return [each["PublicIpAddress"] for each in machines]
