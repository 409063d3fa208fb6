"""From files to a spec: read each, merge, check, and tell everything that is wrong at once."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from pydantic import ValidationError

from ogc_async.errors import Problem, SpecError
from ogc_async.spec.document import NOTE_PREFIX, Spec, SpecFile
from ogc_async.spec.layout import Layout, LayoutKeys
from ogc_async.spec.merge import merge_all
from ogc_async.spec.problems import problems_of
from ogc_async.spec.source import read_file
from ogc_async.spec.tree import Table, mark_of, plain

DEFAULT_FILE = "ogc.yml"


class SpecLoader:
    """Reads specs."""

    @staticmethod
    def load(files: Sequence[str | Path] | str | Path = ()) -> Spec:
        """The spec in ``files``, merged from left to right; ``ogc.yml`` of the working folder where none is named.

        Mappings merge deeply, single values and lists replace, ``{}`` removes what earlier files have. Only the files
        themselves are read: keys and scripts that they name are checked before a launch.

        Raises :class:`~ogc_async.errors.SpecError` with every problem, each at its place.
        """
        named = [files] if isinstance(files, str | Path) else list(files)
        paths = [_path(name) for name in named or [DEFAULT_FILE]]
        if not named and not paths[0].exists():
            message = f"no such file in {Path.cwd()}; write one, or name the spec's files"
            raise SpecError([Problem("", message, DEFAULT_FILE)])
        readings = [read_file(path) for path in paths]
        problems = [problem for reading in readings for problem in reading.problems]
        trees = [reading.tree for reading in readings if reading.tree is not None]
        # What a file lacks can not be told while another one is unreadable.
        spec = _checked(merge_all(trees), paths, problems) if len(trees) == len(paths) else None
        if spec is None or problems:
            raise SpecError(_in_order(problems, paths))
        return spec


def _path(name: str | Path) -> Path:
    try:
        return Path(name).expanduser()
    except RuntimeError:
        return Path(name)  # No such user, and so no such file: reading it will say that.


def _checked(tree: Table, paths: Sequence[Path], problems: list[Problem]) -> Spec | None:
    """The spec that the merged files make; None where they make none, for the reasons added to ``problems``."""
    entries = {key: entry for key, entry in tree.entries.items() if not key.startswith(NOTE_PREFIX)}
    tree = Table(entries, tree.mark)
    given = plain(tree)
    try:
        file = SpecFile.model_validate(given, by_alias=True, by_name=False)
    except ValidationError as error:
        told = {(problem.where, problem.line, problem.column) for problem in problems}
        found = problems_of(error, SpecFile, given, tree=tree)
        problems += [each for each in found if (each.where, each.line, each.column) not in told]
        return None
    return Spec(
        name=file.name,
        ssh_keys=file.ssh_keys,
        layouts=tuple(_layout(file, name, tree) for name in file.layouts),
        files=tuple(path.parent.resolve() / path.name for path in paths),
    )


def _layout(file: SpecFile, name: str, tree: Table) -> Layout:
    entry = file.layouts[name]
    values = {field: getattr(entry, field) for field in LayoutKeys.model_fields}
    folder = mark_of(tree, ("layouts", name)).folder
    return Layout(name=name, ssh_keys=entry.ssh_keys or file.ssh_keys, folder=folder, **values)


def _in_order(problems: Iterable[Problem], paths: Sequence[Path]) -> list[Problem]:
    order = {str(path): place for place, path in reversed(list(enumerate(paths)))}
    return sorted(problems, key=lambda each: (order.get(each.file, 0), each.line, each.column))
