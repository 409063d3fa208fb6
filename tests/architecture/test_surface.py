"""The public surface: every coroutine verb has its twin, and importing costs nothing but time."""

from __future__ import annotations

import importlib
import inspect
import sys
from pathlib import Path

import pytest

from ogc_async import actions, db
from tests import programs

SURFACES = [actions, db]


@pytest.mark.parametrize("module", SURFACES, ids=lambda module: module.__name__)
def test_every_coroutine_verb_has_a_twin_with_its_signature_and_docstring(module: object) -> None:
    verbs = [name for name in dir(module) if name.endswith("_async") and callable(getattr(module, name))]
    assert verbs
    for name in verbs:
        coroutine, twin = getattr(module, name), getattr(module, name.removesuffix("_async"))
        assert inspect.signature(coroutine) == inspect.signature(twin), name
        assert coroutine.__doc__ == twin.__doc__, name
        assert twin.__doc__, name


@pytest.mark.parametrize(
    "name", ["ogc_async", "ogc_async.actions", "ogc_async.db", "ogc_async.types", "ogc_async.spec", "ogc_async.errors"]
)
def test_all_lists_what_exists(name: str) -> None:
    module = importlib.import_module(name)
    for public in getattr(module, "__all__", []):
        assert hasattr(module, public), f"{name}.{public}"


IMPORT_ALL = """
import importlib, logging, pkgutil, signal, socket, sys

before = {number: signal.getsignal(number) for number in signal.valid_signals()}
def refuse(*_args, **_kwargs):
    raise AssertionError("a connection was made")
socket.socket.connect = refuse
import ogc_async
for found in pkgutil.walk_packages(ogc_async.__path__, "ogc_async."):
    if not found.name.endswith("__main__") and "_migrations" not in found.name:
        importlib.import_module(found.name)
assert {number: signal.getsignal(number) for number in signal.valid_signals()} == before
assert logging.getLogger().handlers == [], logging.getLogger().handlers
ours = [name for name in logging.root.manager.loggerDict if name.startswith("ogc_async")]
assert not [name for name in ours if logging.getLogger(name).handlers]
"""


def test_importing_everything_makes_no_connection_writes_no_file_installs_no_handler(tmp_path: Path) -> None:
    environment = {"HOME": str(tmp_path), "PATH": "/usr/bin:/bin", "PYTHONDONTWRITEBYTECODE": "1"}
    done = programs.run(
        [sys.executable, "-W", "error", "-c", IMPORT_ALL],
        cwd=tmp_path,
        env=environment,
        timeout_s=60,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert list(tmp_path.rglob("*")) == []
