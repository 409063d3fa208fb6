"""A push and the step after it down one channel: whose output is whose, and that nothing runs before its word."""

from __future__ import annotations

import anyio
import pytest

from ogc_async.errors import ConnectionLost, TransferFailed
from ogc_async.ssh import execute
from ogc_async.ssh.archive import PushFile
from ogc_async.ssh.connection import Session
from ogc_async.ssh.execute import Ended
from ogc_async.ssh.staged import Waiting
from ogc_async.ssh.transfer import Pushed, push, push_changed
from tests.integration.ssh.conftest import Server
from tests.integration.ssh.test_transfer import TREE, fake_tar, found_below
from tests.timing import HANGS_AFTER_S, LoopTime

FILES = [PushFile("a", b"1")]
RAN = "touch ~/ran; echo ran"


async def waiting_after(session: Session, ahead: str, *, then: str = "") -> tuple[Pushed, Waiting]:
    pushed = await push(session, FILES, "ogc", timeout_s=60, then=then, ahead=ahead)
    assert pushed.waiting is not None
    return pushed, pushed.waiting


async def test_a_tree_of_files_and_a_command_after_it_take_one_channel(server: Server, session: Session) -> None:
    pushed = await push(session, TREE, "ogc", timeout_s=60, ahead="cd ogc && exec cat conf/app.conf")
    assert found_below(server.home / "ogc") == {each.path: (each.data, each.mode) for each in TREE}
    assert pushed.waiting is not None
    done = await pushed.waiting.run(timeout_s=60, env={}, output_limit=1024)
    assert (done.ended, done.exit_code, done.output) == (Ended.EXITED, 0, b"a = 1\r\n")
    assert len(server.commands) == 1


async def test_nothing_runs_before_its_word_and_no_output_is_taken_for_the_other_s(
    server: Server, session: Session
) -> None:
    pushed, waiting = await waiting_after(session, f"{RAN}; echo aside >&2", then="echo said; echo besides >&2")
    assert pushed.said == "said\nbesides\n"
    assert not (server.home / "ran").exists()
    heard: list[bytes] = []
    done = await waiting.run(timeout_s=60, env={}, output_limit=1024, heard=heard.append)
    assert sorted(done.output.splitlines()) == [b"aside", b"ran"]
    assert b"".join(heard) == done.output
    assert done.output_bytes == len(done.output)


async def test_the_environment_comes_with_the_word_whatever_it_holds(session: Session) -> None:
    env = {"LINES": "a\n\n b \\\n", "QUOTED": "it's $HOME `id`", "NUMBER": "3", "EMPTY": ""}
    _, waiting = await waiting_after(session, 'printf "%s|" "$LINES" "$QUOTED" "$NUMBER" "${EMPTY-unset}"; cat')
    done = await waiting.run(timeout_s=60, env=env, output_limit=1024)
    assert done.output == b"a\n\n b \\\n|it's $HOME `id`|3||"


async def test_how_the_command_ends_is_its_own(session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(execute, "TERM_GRACE_S", 0.2)
    _, fails = await waiting_after(session, "exit 127")
    assert (await fails.run(timeout_s=60, env={}, output_limit=1024)).exit_code == 127
    _, dies = await waiting_after(session, "kill -SEGV $$")
    assert (await dies.run(timeout_s=60, env={}, output_limit=1024)).signal == "SEGV"
    _, lasts = await waiting_after(session, "echo begun; exec sleep 600")
    time = LoopTime()
    done = await lasts.run(timeout_s=300, env={}, output_limit=1024, heard=lambda _: time.forward(300))
    assert (done.ended, done.exit_code, done.output) == (Ended.TIMED_OUT, None, b"begun\n")


async def test_after_a_push_that_fails_nothing_waits_and_nothing_runs(server: Server, session: Session) -> None:
    fake_tar(server, "echo 'tar: write: No space left on device' >&2; exit 2")
    with pytest.raises(TransferFailed, match=r"web-1: .* to ogc: exit code 2: tar: write: No space left on device"):
        await push(session, TREE, "ogc", timeout_s=60, ahead=RAN)
    await server.idle()
    assert not (server.home / "ran").exists()


async def test_a_push_that_takes_too_long_is_ended_with_what_waits_for_it(server: Server, session: Session) -> None:
    fake_tar(server, "sleep 600")
    with pytest.raises(TransferFailed, match=r"web-1: .* took longer than 0.2 s"):
        await push(session, TREE, "ogc", timeout_s=0.2, ahead=RAN)
    await server.idle()
    assert not (server.home / "ran").exists()


async def test_a_node_without_tar_is_given_its_files_by_sftp_and_nothing_waits_there_yet(
    server: Server, session: Session
) -> None:
    (server.home / ".bin").mkdir()
    for name in ("mkdir", "sh", "head"):
        (server.home / ".bin" / name).symlink_to(f"/bin/{name}")
    server.path = str(server.home / ".bin")
    server.has_sftp_next = True
    pushed = await push(session, TREE, "ogc", timeout_s=60, ahead=RAN)
    assert found_below(server.home / "ogc") == {each.path: (each.data, each.mode) for each in TREE}
    assert pushed.waiting is None
    assert not (server.home / "ran").exists()


async def test_where_there_is_nothing_to_push_the_command_waits_all_the_same(server: Server, session: Session) -> None:
    await push_changed(session, FILES, "ogc", timeout_s=60, is_first=True)
    pushed = await push_changed(session, FILES, "ogc", timeout_s=60, then="echo said", ahead=RAN)
    assert (pushed.files, pushed.said) == ((), "said\n")
    assert pushed.waiting is not None
    assert (await pushed.waiting.run(timeout_s=60, env={}, output_limit=1024)).output == b"ran\n"


async def test_a_connection_cut_before_the_word_is_a_lost_one_and_the_command_never_runs(
    server: Server, session: Session
) -> None:
    _, waiting = await waiting_after(session, RAN)
    server.break_connections()
    await session.connection.wait_closed()
    with pytest.raises(ConnectionLost, match=r"^web-1: the session broke before a command could start"):
        await waiting.run(timeout_s=60, env={}, output_limit=1024)
    await server.idle()
    assert not (server.home / "ran").exists()


async def test_a_connection_cut_after_the_word_keeps_what_the_command_wrote(
    server: Server, session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(execute, "GROWTH_S", 0.01)
    _, waiting = await waiting_after(session, "echo begun; sleep 600", then="echo said")

    async def cut(output: bytes, size: int) -> None:
        assert (output, size) == (b"begun\n", 6)
        server.break_connections()

    with anyio.fail_after(HANGS_AFTER_S):
        done = await waiting.run(timeout_s=600, env={}, output_limit=1024, grew=cut)
    assert (done.ended, done.exit_code, done.output) == (Ended.INTERRUPTED, None, b"begun\n")


async def test_a_command_that_is_dismissed_ends_unrun_and_gives_its_channel_back(
    server: Server, session: Session
) -> None:
    _, waiting = await waiting_after(session, RAN)
    await waiting.dismiss()
    await server.idle()
    assert not (server.home / "ran").exists()
    with pytest.raises(ConnectionLost):
        await waiting.run(timeout_s=60, env={}, output_limit=1024)
