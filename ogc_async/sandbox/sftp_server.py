"""The program that serves SFTP on a machine: on its standard streams, with the paths that the machine's commands see.

It runs as a file, for one client: ``sftp_server.py PID HOME CLIENT SYS_PATH``, with a process in whose namespaces it
works (0: none), the home folder there, the client's version and this package's module path as JSON.
"""

from __future__ import annotations

import asyncio
import ctypes
import json
import os
import sys
from typing import Any

CLONE_NEWUSER = 0x10000000
CLONE_NEWNS = 0x00020000
CAPABILITY_VERSION_3 = 0x20080522


def main() -> int:
    """Serve until the client has gone."""
    pid, home, client = int(sys.argv[1]), sys.argv[2], sys.argv[3]
    sys.path[:] = json.loads(sys.argv[4])
    # Found now or never: inside the machine this program's own files are not to be seen.
    from asyncssh import sftp
    from asyncssh.logging import logger

    with asyncio.Runner() as runner:
        runner.get_loop()
        if pid:
            _enter(pid)
        os.chdir(home)
        runner.run(_serve(sftp, logger, client))
    return 0


def _enter(pid: int) -> None:
    """Work in the process's user and mount namespaces from now on, without a right beyond its user's."""
    libc = ctypes.CDLL(None, use_errno=True)
    spaces = [
        (os.open(f"/proc/{pid}/ns/{name}", os.O_RDONLY), kind)
        for name, kind in (("user", CLONE_NEWUSER), ("mnt", CLONE_NEWNS))
    ]
    for descriptor, kind in spaces:
        if libc.setns(descriptor, kind):
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
        os.close(descriptor)
    header, none = (ctypes.c_uint32 * 2)(CAPABILITY_VERSION_3, 0), (ctypes.c_uint32 * 6)()
    if libc.capset(header, none):
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


async def _serve(sftp: Any, logger: Any, client: str) -> None:
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin.buffer)
    transport, protocol = await loop.connect_write_pipe(asyncio.streams.FlowControlMixin, sys.stdout.buffer)
    writer = asyncio.StreamWriter(transport, protocol, None, loop)
    channel = Channel(logger, client)
    await sftp.run_sftp_server(sftp.SFTPServer(channel), Input(reader, channel), Output(writer, channel), 3)


class Channel:
    """What the SFTP server asks of an SSH channel."""

    def __init__(self, logger: Any, client: str) -> None:
        self.logger = logger
        self._client = client

    def is_closing(self) -> bool:
        """It closes with this program."""
        return False

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """The client's version: some have their own order of a link's two names."""
        return self._client if name == "client_version" else default


class Input:
    """The client's packets."""

    def __init__(self, reader: asyncio.StreamReader, channel: Channel) -> None:
        self.readexactly = reader.readexactly
        self.logger = channel.logger
        self.get_extra_info = channel.get_extra_info


class Output:
    """Packets for the client."""

    def __init__(self, writer: asyncio.StreamWriter, channel: Channel) -> None:
        self.write = writer.write
        self.close = writer.close
        self.channel = channel


if __name__ == "__main__":
    sys.exit(main())
