"""Windows nodes: PowerShell steps, files by SFTP, by the contract of a stand-in server."""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from ogc_async import actions
from ogc_async.spec import Layout
from ogc_async.ssh.keys import load_private_key
from ogc_async.ssh.shell import POWERSHELL
from ogc_async.state import App
from ogc_async.types import StepState
from tests.contract.windows import START, Windows
from tests.enlist import enlist
from tests.integration.actions.common import changed, recorded
from tests.openssh import Host


@pytest.fixture
async def windows(tmp_path: Path, key_path: Path) -> AsyncIterator[Windows]:
    (tmp_path / "profile").mkdir()
    machine = Windows(tmp_path / "profile", load_private_key(key_path))
    try:
        yield machine
    finally:
        await machine.stop()


@pytest.fixture
async def host(windows: Windows, tmp_path: Path) -> Host:
    return Host("127.0.0.1", await windows.start(), "Administrator", "", tmp_path)


@pytest.fixture
def spec(layout: Layout, tmp_path: Path) -> dict[str, Any]:
    """A layout of PowerShell steps, in a folder of their own."""
    folder = tmp_path / "powershell"
    (folder / "lib").mkdir(parents=True)
    (folder / "1-hello.ps1").write_text("Write-Output hello from $env:OGC_NODE_NAME\nGet-Content lib/note.txt\n")
    (folder / "2-fails.ps1").write_text("Write-Output before\nexit 7\nWrite-Output never\n")
    (folder / "3-never.ps1").write_text("Write-Output never\n")
    (folder / "lib" / "note.txt").write_text("a note\n")
    return changed(layout, platform="windows", scripts=str(folder))


async def test_powershell_steps_run_in_order_until_one_fails_and_are_on_record(
    cloudless: App, host: Host, windows: Windows, spec: dict[str, Any]
) -> None:
    app = cloudless
    assert app.engine is not None
    (node_id,) = await enlist(app.engine, [host], spec)
    result = await actions.deploy_async(node_id, app=app)
    assert [(step.script, step.state, step.exit_code) for step in result.steps] == [
        ("1-hello.ps1", StepState.PASSED, 0),
        ("2-fails.ps1", StepState.FAILED, 7),
    ]
    assert result.steps[0].text == f"hello from {result.name}\r\na note\n"
    assert [row.state for row in await recorded(app, node_id)] == [StepState.PASSED, StepState.FAILED]
    assert all(line.startswith(START) for line in windows.lines)
    assert sorted(path.name for path in (windows.home / "ogc").rglob("*") if path.is_file()) == [
        "1-hello.ps1",
        "2-fails.ps1",
        "3-never.ps1",
        "note.txt",
    ]


async def test_a_deploy_again_goes_on_at_the_step_that_failed(cloudless: App, host: Host, spec: dict[str, Any]) -> None:
    app = cloudless
    assert app.engine is not None
    (node_id,) = await enlist(app.engine, [host], spec)
    assert not await actions.deploy_async(node_id, app=app)
    Path(str(spec["scripts"]), "2-fails.ps1").write_text("Write-Output mended\n")
    again = await actions.deploy_async(node_id, app=app)
    assert [(step.ok, step.is_skipped) for step in again.steps] == [(True, True), (True, False), (True, False)]


async def test_a_command_has_the_node_s_environment_whatever_its_values_hold_and_no_line_shows_it(
    cloudless: App, host: Host, windows: Windows, spec: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    app = cloudless
    monkeypatch.setenv("GREETING", 'it\'s "$HOME" `n')
    assert app.engine is not None
    (node_id,) = await enlist(app.engine, [host], spec | {"env": ["GREETING"]})
    result = await actions.exec_async(node_id, "Write-Output $env:GREETING; exit 3", app=app)
    assert (result.output, result.steps[0].exit_code) == ('it\'s "$HOME" `n\r\n', 3)
    assert "HOME" not in base64.b64decode(windows.lines[-1].split()[-1]).decode("utf-16-le")


async def test_files_go_and_come_by_sftp(
    cloudless: App, host: Host, windows: Windows, spec: dict[str, Any], tmp_path: Path
) -> None:
    app = cloudless
    assert app.engine is not None
    (node_id,) = await enlist(app.engine, [host], spec)
    (tmp_path / "to.txt").write_bytes(b"\r\n\x00")
    assert await actions.push_files_async(node_id, tmp_path / "to.txt", app=app)
    assert (windows.home / "ogc" / "to.txt").read_bytes() == b"\r\n\x00"
    (windows.home / "logs" / "deep").mkdir(parents=True)
    (windows.home / "logs" / "deep" / "a.log").write_bytes(b"\xffa")
    result = await actions.pull_files_async(node_id, ["logs", "ogc/*.txt", "none*"], tmp_path / "got", app=app)
    top = tmp_path / "got" / result.name
    assert sorted(result.files) == [top / "logs/deep/a.log", top / "ogc/to.txt"]
    assert (top / "logs/deep/a.log").read_bytes() == b"\xffa"


@pytest.mark.parametrize("name", ["it's", "a;b", "$x", "`n", "\u2019typographer"])
def test_a_script_s_name_reaches_powershell_whole(name: str) -> None:
    command = POWERSHELL.script(f"{name}.ps1", b"", "my folder")
    quoted = name.replace("'", "''").replace("\u2019", "\u2019\u2019")
    assert command == f"Set-Location 'my folder'; & './{quoted}.ps1'; exit $LASTEXITCODE"
