"""The floor: asyncssh with nothing around it but a bound; one connection, one channel, no record, no retry."""

from __future__ import annotations

import asyncio
from typing import Any

import asyncssh
from package import AT_ONCE, UNPACK, archive  # beside this file


def race(job: dict[str, Any], _: None) -> dict[str, str]:
    """Each host's output."""
    return asyncio.run(_run(job))


async def _run(job: dict[str, Any]) -> dict[str, str]:
    data = archive(job["folder_to_push"])
    key = asyncssh.read_private_key(job["key"])
    options = asyncssh.SSHClientConnectionOptions(
        config=None,
        agent_path=None,
        gss_host=None,
        client_keys=[key],
        x509_trusted_certs=None,
        preferred_auth="publickey",
        compression_algs=None,
        username=job["username"],
        known_hosts=None,
        encryption_algs=["aes128-gcm@openssh.com"],
        kex_algs=["curve25519-sha256"],
    )
    bound = asyncio.Semaphore(AT_ONCE)

    async def deploy(host: dict[str, Any]) -> tuple[str, str]:
        known = ([asyncssh.import_public_key(host["host_key"])], [], [])
        async with (
            bound,
            asyncssh.connect(host["address"], host["port"], options=options, known_hosts=known) as connection,
        ):
            done = await connection.run(UNPACK, input=data, encoding=None)
            return host["address"], bytes(done.stdout or b"").decode()

    return dict(await asyncio.gather(*map(deploy, job["hosts"])))
