from __future__ import annotations

import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from ogc_async.lazy import lazy_module


@pytest.fixture
def slow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A module that notes when it runs, and is long halfway."""
    (tmp_path / "slow_to_import.py").write_text("import time\nfirst = 1\ntime.sleep(0.05)\nlast = 2\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "slow_to_import", raising=False)
    return "slow_to_import"


def test_a_lazy_module_is_imported_when_it_is_first_used(slow: str) -> None:
    module = lazy_module(slow)
    assert slow not in sys.modules
    assert module.last == 2
    assert sys.modules[slow].last == 2


def test_threads_that_use_it_at_once_all_find_it_whole(slow: str) -> None:
    module = lazy_module(slow)
    with ThreadPoolExecutor(8) as threads:
        assert list(threads.map(lambda _: module.last, range(8))) == [2] * 8


def test_a_lazy_module_that_does_not_exist_says_so_when_it_is_used() -> None:
    module = lazy_module("ogc_async.nowhere")
    with pytest.raises(ModuleNotFoundError, match="nowhere"):
        _ = module.anything
