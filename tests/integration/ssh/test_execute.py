"""Commands on a node: how they end, what of their output is kept, what becomes of them when nobody waits any more."""

from __future__ import annotations

import asyncio

import anyio
import asyncssh
import pytest

from ogc_async.errors import ConnectionLost
from ogc_async.ssh import execute
from ogc_async.ssh.connection import Session
from ogc_async.ssh.execute import Ended, Execution, run
from tests.integration.ssh.conftest import Server
from tests.timing import HANGS_AFTER_S, LoopTime


async def ended_on_the_node(server: Server, code: int) -> bool:
    """The processes of all commands have ended, and so, where the server tells; fails where one lives on."""
    with anyio.fail_after(HANGS_AFTER_S):
        endings = [await child.wait() for child in server.children]
    assert endings
    return all(each in (code, None) for each in endings)


async def test_a_command_that_succeeds_gives_its_output_and_exit_code_0(session: Session) -> None:
    done = await run(session, "printf hello", timeout_s=60)
    assert (done.ended, done.exit_code, done.signal) == (Ended.EXITED, 0, None)
    assert (done.output, done.output_bytes, done.errors) == (b"hello", 5, b"")
    assert done.seconds > 0


@pytest.mark.parametrize("code", [1, 3, 126, 255])
async def test_a_command_s_own_exit_code_is_reported_and_is_no_error(session: Session, code: int) -> None:
    done = await run(session, f"exit {code}", timeout_s=60)
    assert (done.ended, done.exit_code) == (Ended.EXITED, code)


async def test_a_command_that_does_not_exist_exits_127_and_says_so(session: Session) -> None:
    done = await run(session, "surely-no-such-command", timeout_s=60)
    assert done.exit_code == 127
    assert b"surely-no-such-command" in done.output


async def test_a_command_killed_by_a_signal_names_the_signal_and_has_no_exit_code(session: Session) -> None:
    done = await run(session, "echo before; kill -SEGV $$", timeout_s=60)
    assert (done.ended, done.exit_code, done.signal) == (Ended.KILLED, None, "SEGV")
    assert done.output == b"before\n"


async def test_output_and_errors_come_together_unless_they_are_split(session: Session) -> None:
    together = await run(session, "echo out; echo err >&2", timeout_s=60)
    assert sorted(together.output.splitlines()) == [b"err", b"out"]
    assert together.errors == b""
    split = await run(session, "echo out; echo err >&2", timeout_s=60, is_split=True)
    assert (split.output, split.errors, split.output_bytes) == (b"out\n", b"err\n", 4)


async def test_output_that_is_no_text_arrives_byte_for_byte(session: Session) -> None:
    done = await run(session, r"printf '\377\000\200\r\n\303'", timeout_s=60)
    assert done.output == b"\xff\x00\x80\r\n\xc3"


async def test_ten_megabytes_of_output_are_counted_and_only_both_ends_of_them_kept(session: Session) -> None:
    command = "echo first; head -c 10000000 /dev/zero; echo; echo last"
    done = await run(session, command, timeout_s=60, output_limit=4096)
    assert (done.ended, done.exit_code, done.output_bytes) == (Ended.EXITED, 0, 10_000_012)
    assert done.output.startswith(b"first\n")
    assert done.output.endswith(b"\nlast\n")
    mark = f"\n[… {10_000_012 - 4096} bytes cut …]\n".encode()
    assert mark in done.output
    assert len(done.output) == 4096 + len(mark)


async def test_a_command_that_reads_its_input_meets_the_end_of_it_at_once(session: Session) -> None:
    done = await run(session, "cat; echo over", timeout_s=60)
    assert (done.output, done.exit_code) == (b"over\n", 0)


async def test_input_larger_than_a_window_reaches_the_command_whole(session: Session) -> None:
    done = await run(session, "wc -c", timeout_s=60, stdin=bytes(5_000_000))
    assert done.output.strip() == b"5000000"


async def test_a_command_that_ends_without_reading_its_input_ends_by_its_exit_code(session: Session) -> None:
    done = await run(session, "exit 3", timeout_s=60, stdin=bytes(5_000_000))
    assert (done.ended, done.exit_code) == (Ended.EXITED, 3)


async def test_a_channel_closed_before_its_input_could_be_sent_still_tells_the_exit_code(
    server: Server, session: Session
) -> None:
    server.is_closing_at_once = True
    for _ in range(10):
        done = await run(session, "true", timeout_s=60, stdin=b"too late")
        assert (done.ended, done.exit_code) == (Ended.EXITED, 7)


async def test_the_environment_reaches_the_command_whatever_its_values_hold(session: Session) -> None:
    env = {"PLAIN": "1", "QUOTED": 'it\'s $HOME `id` \\ "x"', "LINES": "a\nb", "EMPTY": "", "TEXT": "héé"}
    done = await run(
        session, 'printf "%s|" "$PLAIN" "$QUOTED" "$LINES" "${EMPTY-unset}" "$TEXT"', timeout_s=60, env=env
    )
    assert done.output.decode() == '1|it\'s $HOME `id` \\ "x"|a\nb||héé|'


async def too_long(session: Session, command: str) -> Execution:
    """Run the command until its time is over, which it is once it has written something."""
    time = LoopTime()
    return await run(session, command, timeout_s=300, heard=lambda _: time.forward(300))


async def test_a_command_that_runs_too_long_is_ended_on_the_node_and_reported_as_timed_out(
    server: Server, session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(execute, "TERM_GRACE_S", HANGS_AFTER_S)
    done = await too_long(session, "echo begun; sleep 600 & wait")
    assert (done.ended, done.exit_code) == (Ended.TIMED_OUT, None)
    assert done.output == b"begun\n"
    assert await ended_on_the_node(server, -15)


async def test_a_command_that_will_not_end_when_asked_is_killed(
    server: Server, session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(execute, "TERM_GRACE_S", 0.2)
    done = await too_long(session, "trap '' TERM; echo deaf; while :; do sleep 1; done")
    assert (done.ended, done.exit_code) == (Ended.TIMED_OUT, None)
    assert done.output.startswith(b"deaf\n")
    assert await ended_on_the_node(server, -9)


async def test_after_a_command_timed_out_the_session_runs_the_next_one(session: Session) -> None:
    assert (await too_long(session, "echo begun; exec sleep 600")).ended is Ended.TIMED_OUT
    assert (await run(session, "echo next", timeout_s=60)).output == b"next\n"


async def test_a_command_whose_caller_is_cancelled_is_ended_on_the_node(server: Server, session: Session) -> None:
    task = asyncio.create_task(run(session, "sleep 600", timeout_s=600))
    await server.running.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await ended_on_the_node(server, -15)


async def test_a_caller_cancelled_before_it_hears_that_the_command_runs_ends_it_all_the_same(
    server: Server, session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = asyncio.Event()
    ask = asyncssh.SSHClientChannel._make_request

    async def ask_and_never_hear(channel: asyncssh.SSHClientChannel[bytes], *args: bytes) -> bool:
        assert await ask(channel, *args)
        asked.set()
        await anyio.sleep_forever()
        raise AssertionError

    monkeypatch.setattr(asyncssh.SSHClientChannel, "_make_request", ask_and_never_hear)
    task = asyncio.create_task(run(session, "sleep 600", timeout_s=600))
    await asked.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await server.idle()


async def test_a_connection_lost_during_a_command_is_told_from_its_end_and_keeps_its_output(
    server: Server, session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(execute, "GROWTH_S", 0.01)
    arrived = anyio.Event()

    async def grew(output: bytes, size: int) -> None:
        assert (output, size) == (b"begun\n", 6)
        arrived.set()

    task = asyncio.create_task(run(session, "echo begun; sleep 600", timeout_s=600, grew=grew))
    await arrived.wait()
    server.break_connections()
    with anyio.fail_after(HANGS_AFTER_S):
        done = await task
    assert (done.ended, done.exit_code, done.signal) == (Ended.INTERRUPTED, None, None)
    assert done.output == b"begun\n"


async def test_a_command_on_a_broken_session_is_a_lost_connection_that_names_the_node(
    server: Server, session: Session
) -> None:
    server.break_connections()
    await server.emptied()
    await session.connection.wait_closed()
    with pytest.raises(ConnectionLost, match=r"^web-1: the session broke before a command could start: \S") as lost:
        await run(session, "true", timeout_s=60)
    assert lost.value.node == "web-1"
    assert server.commands == []


async def test_a_server_that_does_not_answer_for_a_channel_is_a_lost_connection(
    session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(execute, "OPEN_TIMEOUT_S", 0.05)

    async def hang(*args: object) -> None:
        await anyio.sleep_forever()

    monkeypatch.setattr(asyncssh.SSHClientChannel, "_open", hang)
    with pytest.raises(ConnectionLost, match="no answer in time"):
        await run(session, "true", timeout_s=60)


async def test_many_commands_at_once_share_one_connection_and_keep_their_output_apart(
    server: Server, session: Session
) -> None:
    done = await asyncio.gather(*(run(session, f"echo {number}", timeout_s=60) for number in range(8)))
    assert [each.output for each in done] == [f"{number}\n".encode() for number in range(8)]
    assert len(server.connections) == 1
