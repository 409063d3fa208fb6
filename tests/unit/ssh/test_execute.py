"""The environment as shell text, and output that is bounded while it comes in."""

from __future__ import annotations

import random
import subprocess
import tracemalloc

import pytest

from ogc_async.ssh.output import BoundedBuffer
from ogc_async.ssh.shell import exports


def filled(limit: int, *pieces: bytes) -> BoundedBuffer:
    buffer = BoundedBuffer(limit)
    for piece in pieces:
        buffer.write(piece)
    return buffer


def test_an_empty_environment_adds_nothing_to_a_command() -> None:
    assert exports({}) == ""


def test_a_shell_reads_every_value_back_as_it_was() -> None:
    env = {"B": 'it\'s $HOME `id`\n\\n "x" !', "A": "", "C": "-n; exit 1"}
    command = exports(env) + 'printf "%s\\0" "$A" "$B" "$C"'
    done = subprocess.run(["/bin/sh", "-c", command], capture_output=True, check=True)
    assert done.stdout.decode().split("\0")[:-1] == [env["A"], env["B"], env["C"]]


def test_the_environment_s_order_does_not_matter() -> None:
    assert exports({"B": "2", "A": "1"}) == exports({"A": "1", "B": "2"}) == "export A=1 B=2; "


@pytest.mark.parametrize("size", [0, 1, 4, 5, 9, 10])
def test_output_up_to_the_limit_is_kept_whole(size: int) -> None:
    data = bytes(range(size))
    for buffer in (filled(10, data), filled(10, *(data[n : n + 1] for n in range(size)))):
        assert (buffer.value(), buffer.size) == (data, size)


def test_of_more_output_the_beginning_and_the_end_are_kept_with_a_mark_between_them() -> None:
    buffer = filled(10, b"abcde" + 80 * b"-" + b"vwxyz")
    assert buffer.value().decode() == "abcde\n[… 80 bytes cut …]\nvwxyz"
    assert buffer.size == 90


def test_what_is_kept_does_not_depend_on_the_pieces_in_which_output_comes() -> None:
    rng = random.Random(7)
    data = rng.randbytes(5000)
    whole = filled(100, data).value()
    for _ in range(50):
        cuts = sorted(rng.sample(range(5000), 30))
        pieces = [data[start:end] for start, end in zip([0, *cuts], [*cuts, 5000], strict=True)]
        assert filled(100, *pieces).value() == whole


def test_ten_megabytes_pass_through_the_memory_of_a_few_limits() -> None:
    piece = bytes(32_768)
    tracemalloc.start()
    try:
        buffer = BoundedBuffer(65_536)
        for _ in range(320):
            buffer.write(piece)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert buffer.size == 10_485_760
    assert peak < 4 * 65_536


@pytest.mark.parametrize("size", [1023, 1024, 1025, 1088, 1089, 1100, 3000, 10_000])
def test_what_is_kept_is_shorter_than_what_came_exactly_where_something_was_cut(size: int) -> None:
    buffer = BoundedBuffer(1024)
    data = bytes(each % 251 for each in range(size))
    for start in range(0, size, 7):
        buffer.write(data[start : start + 7])
    kept = buffer.value()
    assert (len(kept) < size) is (b"bytes cut" in kept) is (size > 1024 + 64)
    assert kept.startswith(data[:512])
    assert kept.endswith(data[-512:])
