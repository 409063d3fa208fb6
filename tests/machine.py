"""One running machine of a sandbox in this very process, with an enclosure or without."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import asyncssh

from ogc_async.sandbox import Sandbox, SandboxSettings
from ogc_async.sandbox.enclosure import Enclosure
from tests.cloud import Cloud
from tests.integration.sandbox.conftest import client_of
from tests.not_tried import not_tried

DEADLINE_S = 30
ENCLOSURES = ("on", "off")


@dataclass
class Machine:
    """Where it is, and the key that opens it."""

    sandbox: Sandbox
    id: str
    address: str
    key: asyncssh.SSHKey

    @property
    def cloud(self) -> Cloud:
        return Cloud(self.sandbox.env(), self.sandbox.url)

    def connect(self, **values: object) -> asyncssh.connection._ACMWrapper[asyncssh.SSHClientConnection]:
        given: dict[str, object] = {
            "port": self.sandbox.settings.ssh_port,
            "username": "ubuntu",
            "client_keys": [self.key],
            "known_hosts": None,
            "config": None,
        }
        return asyncssh.connect(self.address, **(given | values))

    def seen(self) -> dict[str, Any]:
        instances: list[dict[str, Any]] = self.sandbox.state()["instances"]["aws"]  # type: ignore[index]
        return next(each for each in instances if each["id"] == self.id)

    async def terminate(self) -> None:
        """End it, and wait until it has ended."""
        await asyncio.to_thread(client_of(self.cloud).terminate_instances, InstanceIds=[self.id])
        async with asyncio.timeout(DEADLINE_S):
            while self.seen()["state"] != "terminated":
                await asyncio.sleep(0.01)


@asynccontextmanager
async def running_machine(tags: dict[str, str] | None = None, **values: Any) -> AsyncIterator[Machine]:
    """A machine whose SSH server answers, where it has one; ``values`` are the sandbox's settings."""
    settings = SandboxSettings(boot=(0.01, 0.01), shutdown=0.01, **values)
    if settings.enclosure == "on":
        await need_enclosure()
    async with Sandbox(settings) as sandbox:
        key = asyncssh.generate_private_key("ssh-ed25519")
        launched = await asyncio.to_thread(launch, Cloud(sandbox.env(), sandbox.url), key, tags or {})
        made = Machine(sandbox, launched, "", key)
        sign = "is_ssh_open" if settings.has_ssh else "public_ip"
        async with asyncio.timeout(DEADLINE_S):
            while not made.seen()[sign]:
                await asyncio.sleep(0.01)
        made.address = str(made.seen()["public_ip"])
        yield made


def launch(cloud: Cloud, key: asyncssh.SSHKey, tags: dict[str, str]) -> str:
    """A machine that this key opens; its id."""
    ec2 = client_of(cloud)
    ec2.import_key_pair(KeyName="key", PublicKeyMaterial=key.export_public_key())
    image = ec2.describe_images(Owners=["amazon"], Filters=[{"Name": "name", "Values": ["al2023-ami-2023*x86_64"]}])
    asked: dict[str, Any] = {"ImageId": image["Images"][0]["ImageId"], "InstanceType": "t3.micro", "KeyName": "key"}
    if tags:
        given = [{"Key": name, "Value": value} for name, value in tags.items()]
        asked["TagSpecifications"] = [{"ResourceType": "instance", "Tags": given}]
    instance_id: str = ec2.run_instances(MinCount=1, MaxCount=1, **asked)["Instances"][0]["InstanceId"]
    return instance_id


async def need_enclosure() -> None:
    """Where this machine makes none, the test is told as not tried."""
    found = await Enclosure.found()
    if found.programs is None:
        not_tried("commands inside bubblewrap", found.reason)
