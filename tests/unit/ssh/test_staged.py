"""The mark between two commands' output, and the word that the second one waits for."""

from __future__ import annotations

import subprocess

import asyncssh
import pytest

from ogc_async.ssh.redaction import Redaction
from ogc_async.ssh.staged import AWAIT_WORD, StagedListener, word_to_go

MARK = b"\x1e0123\x1e"


def after(word: bytes) -> subprocess.CompletedProcess[bytes]:
    command = f'{AWAIT_WORD}; echo "ran $A"'
    return subprocess.run(["/bin/sh", "-c", command], input=word, capture_output=True, timeout=30, check=False)


@pytest.mark.parametrize("size", range(1, 12))
async def test_a_mark_is_found_however_it_is_cut(size: int) -> None:
    listener = StagedListener(1024, Redaction(), mark=MARK)
    data = b"said \x1e0 " + MARK
    for start in range(0, len(data), size):
        assert not listener.is_marked
        listener.data_received(data[start : start + size], None)
    assert listener.through.is_set()
    assert listener.so_far()[0] == b"said \x1e0 "
    heard: list[bytes] = []
    listener.go_on(1024, Redaction(), heard.append)
    listener.data_received(b"ran " + MARK, None)
    assert listener.so_far()[0] == b"".join(heard) == b"ran " + MARK


async def test_without_a_mark_all_of_it_is_what_the_first_one_said() -> None:
    listener = StagedListener(1024, Redaction(), mark=MARK)
    listener.data_received(b"said " + MARK[:-1], None)
    listener.data_received(b"aside", asyncssh.EXTENDED_DATA_STDERR)
    listener.connection_lost(None)
    assert (listener.is_marked, listener.through.is_set()) == (False, True)
    assert sorted(listener.so_far()[0]) == sorted(b"said aside" + MARK[:-1])


async def test_a_secret_is_hidden_on_both_sides_of_the_mark() -> None:
    listener = StagedListener(1024, Redaction(["canary-1"]), mark=MARK)
    listener.data_received(b"canary-1 cana" + MARK, None)
    assert listener.so_far()[0] == b"[redacted] cana"
    listener.go_on(1024, Redaction(["canary-1"]), None)
    listener.data_received(b"canary-1\n", None)
    assert listener.so_far()[0] == b"[redacted]\n"


def test_a_whole_word_lets_the_command_run_with_its_environment() -> None:
    assert after(word_to_go({"A": "1\n2"})).stdout == b"ran 1\n2\n"
    assert after(word_to_go({})).stdout == b"ran \n"


def test_a_word_that_breaks_off_anywhere_lets_nothing_run() -> None:
    word = word_to_go({"A": "1\n2", "B": "3"})
    for size in range(len(word)):
        done = after(word[:size])
        assert (done.returncode != 0, done.stdout) == (True, b"")
