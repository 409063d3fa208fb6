"""What ``ogc init`` and ``ogc spec`` do."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from ogc_async import actions, db
from ogc_async.actions.context import connected_engine, default_app
from ogc_async.actions.preflight import check_end
from ogc_async.cli.schema import OUTPUT_SCHEMA
from ogc_async.cli.starter import write_starter
from ogc_async.cli.voice import answer, complain, line
from ogc_async.deploy.scripts import read_scripts
from ogc_async.errors import OgcError, SpecError
from ogc_async.spec import Layout, Spec, SpecLoader
from ogc_async.ssh.keys import load_private_key, load_public_key


def init(name: str | None, folder: Path) -> int:
    """Database, user, starter spec."""
    db.migrate(connected_engine(default_app()))
    user, is_new = actions.create_user(name)
    files = list(write_starter(folder))

    def shown() -> None:
        line(f"user {user.name} ({user.slug}): {'created' if is_new else 'exists, nothing to do'}")
        for path, was_written in files:
            line(f"{path}: {'written' if was_written else 'exists, left alone'}")

    body = {
        "user": {"name": user.name, "slug": user.slug, "is_new": is_new},
        "files": [{"path": str(path), "written": was_written} for path, was_written in files],
    }
    return answer(body, shown)


def check(files: Sequence[Path]) -> int:
    """Everything about a spec that can be known without a cloud."""
    spec = SpecLoader.load(list(files))
    problems = [problem for layout in spec.layouts for problem in _problems_of(layout)]

    def shown() -> None:
        for problem in problems:
            complain(problem)
        line(_summary(spec) + (f"; {len(problems)} problems" if problems else "; all well"))

    body = {
        "files": [str(path) for path in spec.files],
        "layouts": [{"layout": each.name, "scale": each.scale, "states": {}} for each in spec.layouts],
        "problems": problems,
    }
    return answer(body, shown, ok=not problems)


def schema(of: str) -> int:
    """Print a JSON Schema."""
    print(json.dumps(Spec.json_schema() if of == "spec" else OUTPUT_SCHEMA, indent=2))  # noqa: T201  # the document
    return 0


def _problems_of(layout: Layout) -> list[str]:
    """What a launch would find wrong with the files that the layout names, and with the end that it asks for."""
    found: list[str] = []
    for look in (_look_at_keys, _look_at_scripts, check_end):
        try:
            look(layout)
        except SpecError as error:
            found.extend(map(str, error.problems))
        except OgcError as error:
            found.append(f"layouts.{layout.name}: {error}")
    return found


def _look_at_keys(layout: Layout) -> None:
    load_private_key(layout.ssh_keys.private)
    load_public_key(layout.ssh_keys.public)


def _look_at_scripts(layout: Layout) -> None:
    if layout.scripts is not None:
        read_scripts(layout.scripts, base=layout.folder, include=layout.include, exclude=layout.exclude)


def _summary(spec: Spec) -> str:
    nodes = sum(layout.scale for layout in spec.layouts)
    return f"{spec.name}: {len(spec.layouts)} layouts, {nodes} nodes"
