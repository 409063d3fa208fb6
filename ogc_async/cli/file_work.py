"""What the commands about files do."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Sequence
from pathlib import Path
from typing import Any

from ogc_async import actions
from ogc_async.actions.context import Terms, default_app
from ogc_async.cli import report, show
from ogc_async.cli.running import perform
from ogc_async.cli.select import Selection, select_nodes
from ogc_async.cli.voice import answer, line
from ogc_async.types import DeployResult, NodeState

RUNNING = frozenset({NodeState.RUNNING})
Copy = Callable[[list[int]], Coroutine[Any, Any, list[DeployResult]]]


def push_files(files: Sequence[str], chosen: Selection, to: str | None, terms: Terms) -> int:
    """Send files."""
    return _copy(
        chosen,
        "push",
        lambda ids: actions.push_files_async(
            ids, files, remote_path=to, wait_s=terms.wait_s, take_over=terms.is_taking_over
        ),
    )


def pull_files(patterns: Sequence[str], chosen: Selection, into: Path, terms: Terms) -> int:
    """Fetch files."""
    return _copy(
        chosen,
        "pull",
        lambda ids: actions.pull_files_async(ids, patterns, into, wait_s=terms.wait_s, take_over=terms.is_taking_over),
    )


def pull_artifacts(chosen: Selection, into: Path, terms: Terms) -> int:
    """Fetch artifacts."""
    return _copy(
        chosen,
        "pull",
        lambda ids: actions.pull_artifacts_async(ids, into, wait_s=terms.wait_s, take_over=terms.is_taking_over),
    )


def _copy(chosen: Selection, title: str, copy: Copy) -> int:
    nodes = select_nodes(chosen, RUNNING)
    ids = [node.id for node in nodes]
    results = perform(default_app(), lambda: copy(ids), title=title, expected=len(ids), goal={"finished"})
    layouts = {node.id: node.layout for node in nodes}

    def shown() -> None:
        written = [path for result in results for path in result.files]
        if title == "pull":
            for path in written[: show.SCREEN]:
                line(str(path))
            if len(written) > show.SCREEN:
                line(f"and {len(written) - show.SCREEN} more files")
        else:
            show.outputs([result for result in results if result], layouts, is_diff=False)
        line(f"{'fetched from' if title == 'pull' else 'sent to'} {sum(map(bool, results))} of {len(results)} nodes")
        show.what_failed(results, layouts)

    files = {"files": [str(path) for result in results for path in result.files]}
    return answer(report.results_json(results) | files, shown, ok=all(results))
