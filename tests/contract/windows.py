"""A stand-in for a Windows machine with OpenSSH: SFTP, and commands that are PowerShell's or fail.

It knows as much PowerShell as the product writes around a script, and of scripts themselves three cmdlets. What it
takes is what Win32-OpenSSH documents: ``powershell`` started by whatever the default shell is, its command encoded.
"""

from __future__ import annotations

import base64
import os
import re
from pathlib import Path

import asyncssh

START = "powershell -NoProfile -NonInteractive -ExecutionPolicy Bypass -EncodedCommand "
READ = "Invoke-Expression ([Console]::In.ReadToEnd()); "
ASSIGNMENT = re.compile(r"\$\{env:(\w+)\} = '((?:[^']|'')*)'")
SCRIPT = re.compile(r"Set-Location '([^']*)'; & '\./([^']*)'; exit \$LASTEXITCODE")
TAIL = "; $ogcOk = $?; if ($LASTEXITCODE) { exit $LASTEXITCODE }; if (-not $ogcOk) { exit 1 }"


class Windows:
    """One machine; ``lines`` are the commands as they came, before anything was decoded."""

    def __init__(self, home: Path, authorized: asyncssh.SSHKey) -> None:
        self.home = home
        self.lines: list[str] = []
        self.host_key = asyncssh.generate_private_key("ssh-ed25519")
        self._authorized = authorized
        self._acceptor: asyncssh.SSHAcceptor | None = None

    async def start(self) -> int:
        """Listen; the port."""
        self._acceptor = await asyncssh.listen(
            "127.0.0.1",
            0,
            config=None,
            server_factory=lambda: _Door(self._authorized),
            server_host_keys=[self.host_key],
            process_factory=self._serve,
            sftp_factory=lambda channel: asyncssh.SFTPServer(channel, chroot=os.fsencode(self.home)),
            gss_host=None,
            x509_trusted_certs=None,
        )
        return self._acceptor.get_port()

    async def stop(self) -> None:
        if self._acceptor is not None:
            self._acceptor.close()
            await self._acceptor.wait_closed()

    async def _serve(self, process: asyncssh.SSHServerProcess[str]) -> None:
        line = process.command or ""
        self.lines.append(line)
        given = await process.stdin.read()
        try:
            command = base64.b64decode(line.removeprefix(START), validate=True).decode("utf-16-le")
        except ValueError:
            process.stderr.write("'sh' is not recognized as an internal or external command,\r\n")
            process.exit(1)
            return
        env = {}
        if command.startswith(READ):
            command = command.removeprefix(READ)
            env = {name: value.replace("''", "'") for name, value in ASSIGNMENT.findall(given)}
        process.exit(self._run(process, command, env))

    def _run(self, process: asyncssh.SSHServerProcess[str], command: str, env: dict[str, str]) -> int:
        script = SCRIPT.fullmatch(command)
        if script is None:
            return self._cmdlets(process, command.removesuffix(TAIL).split("; "), env)
        path = self.home / script[1] / script[2]
        if not path.exists():
            process.stderr.write(f"The term './{script[2]}' is not recognized as the name of a cmdlet\r\n")
            return 1
        return self._cmdlets(process, path.read_text().splitlines(), env)

    def _cmdlets(self, process: asyncssh.SSHServerProcess[str], lines: list[str], env: dict[str, str]) -> int:
        for line in lines:
            cmdlet, _, argument = line.partition(" ")
            if cmdlet == "exit":
                return int(argument)
            if cmdlet == "Write-Output":
                process.stdout.write(re.sub(r"\$env:(\w+)", lambda found: env.get(found[1], ""), argument) + "\r\n")
            elif cmdlet == "Get-Content":
                process.stdout.write((self.home / "ogc" / argument).read_text())
            else:
                process.stderr.write(f"The term '{cmdlet}' is not recognized as the name of a cmdlet\r\n")
                return 1
        return 0


class _Door(asyncssh.SSHServer):
    """Lets in who holds the key."""

    def __init__(self, authorized: asyncssh.SSHKey) -> None:
        self._authorized = authorized

    def begin_auth(self, username: str) -> bool:
        return True

    def public_key_auth_supported(self) -> bool:
        return True

    def validate_public_key(self, username: str, key: asyncssh.SSHKey) -> bool:
        return key.public_data == self._authorized.public_data
