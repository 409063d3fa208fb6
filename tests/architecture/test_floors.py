"""The house keeps its floors: imports go down only, rooms of one floor do not know each other, no cycles."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import ogc_async

PACKAGE = Path(ogc_async.__file__).parent
FLOORS = {
    "errors": 0,
    "lazy": 0,
    "types": 0,
    "settings": 1,
    "events": 1,
    "aio": 1,
    "db": 2,
    "providers": 2,
    "ssh": 2,
    "spec": 2,
    # App holds the rooms of floor 2 together, so it stands just above them.
    "state": 2.5,
    "testing": 3,
    "plan": 3,
    "deploy": 3,
    "actions": 4,
    "cli": 5,
    "__main__": 6,
}
OUTSIDE = {"sandbox"}


def room_of(module: str) -> str:
    """The room of ``ogc_async.<room>.…``."""
    return module.split(".")[1] if "." in module else module


def modules() -> Iterator[tuple[str, Path]]:
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = ("ogc_async", *path.relative_to(PACKAGE).with_suffix("").parts)
        if "_migrations" in parts:
            continue
        yield ".".join(parts[:-1] if parts[-1] == "__init__" else parts), path


def imports_of(path: Path, known: frozenset[str]) -> Iterator[str]:
    """The modules of ours that a file imports, wherever in the file it does so."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name.startswith("ogc_async"))
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("ogc_async"):
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                yield inner if inner in known else str(node.module)


KNOWN = frozenset(name for name, _ in modules())
IMPORTS = {name: sorted(set(imports_of(path, KNOWN)) - {name}) for name, path in modules()}


def test_every_room_has_its_floor() -> None:
    rooms = {room_of(name) for name in KNOWN} - {"ogc_async"}
    assert rooms == set(FLOORS) | OUTSIDE


@pytest.mark.parametrize("module", sorted(KNOWN))
def test_a_module_imports_only_lower_floors_and_its_own_room(module: str) -> None:
    room = room_of(module)
    if room in OUTSIDE or room == "ogc_async":
        return_outside = [other for other in IMPORTS[module] if room_of(other) != room]
        assert return_outside == []
        return
    for other in IMPORTS[module]:
        there = room_of(other)
        is_allowed = there == room or FLOORS.get(there, 99) < FLOORS[room] or (there, room) == ("sandbox", "cli")
        assert is_allowed or {there, room} <= {"errors", "types"}, f"{module} imports {other}"


def test_no_module_imports_itself_in_a_circle() -> None:
    done: set[str] = set()

    def visit(module: str, trail: tuple[str, ...]) -> None:
        assert module not in trail, " -> ".join((*trail, module))
        if module not in done:
            for other in IMPORTS[module]:
                visit(other, (*trail, module))
            done.add(module)

    for module in KNOWN:
        visit(module, ())


@pytest.mark.parametrize("room", ["plan", "spec"])
def test_deciding_rooms_have_no_coroutines(room: str) -> None:
    for path in (PACKAGE / room).rglob("*.py"):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        assert not [node.name for node in ast.walk(tree) if isinstance(node, ast.AsyncFunctionDef)], path


def test_only_settings_reads_the_environment() -> None:
    readers = {
        name
        for name, path in modules()
        if room_of(name) not in OUTSIDE and ("os.environ" in (text := path.read_text()) or "getenv" in text)
    }
    # The demonstration hands its own environment on to the programs it starts.
    assert readers == {"ogc_async.settings", "ogc_async.cli.demo"}


def test_only_the_context_reads_the_default_app() -> None:
    readers = {name for name, path in modules() if "state.app" in path.read_text() and name != "ogc_async.errors"}
    readers = {name for name in readers if _mentions_state_app(PACKAGE.parent / (name.replace(".", "/") + ".py"))}
    assert readers == {"ogc_async.actions.context"}


def _mentions_state_app(path: Path) -> bool:
    if not path.exists():
        path = path.with_suffix("") / "__init__.py"
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Attribute) and node.attr == "app" and getattr(node.value, "id", "") == "state":
            return True
    return False


def test_no_module_is_named_like_a_public_function_of_its_package() -> None:
    for name, path in modules():
        if path.name != "__init__.py" or name == "ogc_async":
            continue
        siblings = {each.stem for each in path.parent.glob("*.py")} | {
            each.name for each in path.parent.iterdir() if each.is_dir()
        }
        public = {
            alias.asname or alias.name
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
            # What comes from the package itself is the module.
            if isinstance(node, ast.ImportFrom) and node.module != name
            for alias in node.names
            if (alias.asname or alias.name)[0].islower()
        }
        clashes = (siblings & public) - _modules_imported_on_purpose(path)
        assert not clashes, f"{name}: {clashes}"


def _modules_imported_on_purpose(path: Path) -> set[str]:
    return {"main"} if path.parent.name == "cli" else set()
