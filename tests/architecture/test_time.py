"""No test is told by real time how fast something was: a slow machine tells another story than a quick one."""

from __future__ import annotations

import ast
import asyncio
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

from tests import timing

TESTS = Path(__file__).parents[1]
CLOCKS = {"monotonic", "monotonic_ns", "perf_counter", "perf_counter_ns", "time", "time_ns"}
READS_THE_CLOCK = {
    "timing.py": "ends what hangs",
    "terminal.py": "ends what hangs, and says what was on the screen",
    "openssh.py": "ends what hangs, and says what the servers wrote",
    "contract/bodies.py": "HurriedTime: long waits pass in a moment",
    "lies/jumping.py": "the clock of a loop that jumps",
    "lies/test_jumping.py": "asks that clock",
    "lies/world.py": "hands that clock on",
    "crash/test_crash.py": "prints how long it took, and draws its instants from that",
    "integration/db/test_pacing.py": "the database's clock and this machine's are the same day's",
    "unit/ssh/test_transfer.py": "a file's date in the future",
}
"""Files that may ask what time it is, and what for."""

LEAST_S = 30.0
"""What a deadline leaves to a machine with ten times the work that it has cores for."""
GUARDS = {"fail_after": 0, "move_on_after": 0, "timeout": 0, "wait_for": 1, "join": 0}
"""Calls that end what hangs, and the place of their seconds; ``timeout=`` and ``timeout_s=`` say so of any call."""
RUNS_OUT = {
    "test_a_contestant_that_takes_too_long_is_ended": "it sleeps for a minute",
    "test_a_push_that_takes_too_long_is_a_failed_transfer": "it never ends",
    "test_a_push_that_takes_too_long_is_ended_with_what_waits_for_it": "it never ends",
    "test_a_login_that_ran_out_of_time_leaves_no_task_and_no_socket": "nobody answers",
    "test_a_server_that_accepts_and_never_says_a_word_does_not_use_up_the_whole_wait": "a pretended clock's",
    "lies/test_jumping.py": "a clock that stands still while anything is at work",
    "test_something_that_is_not_ssh_is_unreachable": "a pretended clock's",
}
"""Tests of a time that runs out: nothing has to be done within it."""
PAUSES = {"soon": "between two logins, of which there may be any number"}
"""Functions with a pause outside of a loop that looks."""


def files() -> dict[str, ast.Module]:
    return {
        path.relative_to(TESTS).as_posix(): ast.parse(path.read_text(encoding="utf-8")) for path in TESTS.rglob("*.py")
    }


FILES = files()


def clock_reads(tree: ast.Module) -> Iterator[int]:
    """Lines that read, or hand on, a real clock."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and node.attr in CLOCKS:
            is_module = isinstance(node.value, ast.Name) and node.value.id == "time"
            if is_module or (node.attr == "time" and "loop" in ast.unparse(node.value)):
                yield node.lineno
        elif isinstance(node, ast.ImportFrom) and node.module == "time":
            yield node.lineno


def short_deadlines(tree: ast.Module) -> Iterator[int]:
    """Lines with a deadline that a slow machine does not keep."""
    known = numbers_of(tree)
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            place = GUARDS.get(name_of(node))
            given = [] if place is None else node.args[place : place + 1]
            given += [each.value for each in node.keywords if each.arg in ("timeout", "timeout_s")]
            yield from (node.lineno for each in given if (value_of(each, known) or LEAST_S) < LEAST_S)


def pauses(tree: ast.Module) -> Iterator[int]:
    """Lines that give something time, and do not look whether it was enough."""
    looking = {each for loop in ast.walk(tree) if isinstance(loop, ast.While | ast.For) for each in ast.walk(loop)}
    known = numbers_of(tree)
    calls = (each for each in ast.walk(tree) if isinstance(each, ast.Call) and name_of(each) == "sleep")
    for call in calls:
        if call not in looking and any(value_of(each, known) for each in call.args):
            yield call.lineno


def name_of(node: ast.AST) -> str:
    called = node.func if isinstance(node, ast.Call) else None
    return called.attr if isinstance(called, ast.Attribute) else called.id if isinstance(called, ast.Name) else ""


def numbers_of(tree: ast.Module) -> dict[str, float]:
    """The file's own constants, and those that all tests share."""
    own = {
        target.id: float(node.value.value)
        for node in tree.body
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant)
        for target in node.targets
        if isinstance(target, ast.Name) and isinstance(node.value.value, int | float)
    }
    return {"HANGS_AFTER_S": timing.HANGS_AFTER_S} | own


def value_of(node: ast.expr, known: dict[str, float]) -> float | None:
    """A number that is written there, or the constant of that name."""
    if isinstance(node, ast.Constant) and isinstance(node.value, int | float):
        return float(node.value)
    return known.get(node.id) if isinstance(node, ast.Name) else None


def function_at(tree: ast.Module, line: int) -> str:
    """The innermost function there."""
    around = (each for each in ast.walk(tree) if isinstance(each, ast.FunctionDef | ast.AsyncFunctionDef))
    inside = [each for each in around if each.lineno <= line <= (each.end_lineno or 0)]
    return max(inside, key=lambda each: each.lineno).name if inside else ""


Rule = Callable[[ast.Module], Iterator[int]]
RULES: list[tuple[Rule, Mapping[str, str]]] = [
    (clock_reads, READS_THE_CLOCK),
    (short_deadlines, RUNS_OUT),
    (pauses, PAUSES),
]


@pytest.mark.parametrize(("rule", "allowed"), RULES, ids=[rule.__name__ for rule, _ in RULES])
def test_time_is_asked_for_only_where_there_is_a_reason(rule: Rule, allowed: Mapping[str, str]) -> None:
    hits = sorted((name, line, function_at(tree, line)) for name, tree in FILES.items() for line in rule(tree))
    assert [f"{name}:{line}" for name, line, function in hits if not {name, function} & set(allowed)] == []
    assert set(allowed) - {place for name, _, function in hits for place in (name, function)} == set(), "out of date"


@pytest.mark.parametrize(
    ("rule", "text"),
    [
        (clock_reads, "import time\nbegan = time.monotonic()\nassert time.monotonic() - began < 1"),
        (clock_reads, "from time import perf_counter"),
        (clock_reads, "before = asyncio.get_running_loop().time()"),
        (short_deadlines, "with anyio.fail_after(5):\n    work()"),
        (short_deadlines, "WAIT_S = 2\nasyncio.wait_for(work(), WAIT_S)"),
        (short_deadlines, "subprocess.run(words, timeout=10)"),
        (short_deadlines, "run(session, 'echo begun', timeout_s=0.3)"),
        (pauses, "await asyncio.sleep(0.01)\nassert is_done"),
    ],
)
def test_what_races_against_the_clock_is_found(rule: Rule, text: str) -> None:
    assert list(rule(ast.parse(text)))


@pytest.mark.parametrize(
    ("rule", "text"),
    [
        (clock_reads, "clock = Time()\nawait limits.acquire()\nassert clock.now == 100"),
        (short_deadlines, "with anyio.fail_after(HANGS_AFTER_S):\n    work()"),
        (short_deadlines, "done = await run(session, 'true', timeout_s=60)"),
        (pauses, "while not is_done():\n    await asyncio.sleep(0.01)"),
        (pauses, "await asyncio.sleep(0)"),
    ],
)
def test_what_goes_by_order_is_let_pass(rule: Rule, text: str) -> None:
    assert not list(rule(ast.parse(text)))


def test_what_never_comes_ends_a_patient_loop() -> None:
    with pytest.raises(AssertionError, match="in 0 s there was not: snow"):
        for _ in timing.patiently("snow", seconds=0):
            pass


async def test_a_loop_that_is_set_forward_ends_what_waits_on_it() -> None:
    time = timing.LoopTime()
    waiting = asyncio.create_task(asyncio.wait_for(asyncio.Event().wait(), 3600))
    await asyncio.sleep(0)
    time.forward(3600)
    with pytest.raises(TimeoutError):
        await waiting
