"""Files ending in ``.mako``: compiled once for a fleet, rendered for each node, strict about undefined names."""

from __future__ import annotations

import re
import traceback
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mako.exceptions import MakoException
from mako.lexer import Lexer
from mako.lookup import TemplateLookup
from mako.template import ModuleInfo, Template

from ogc_async.deploy.scripts import ScriptFile
from ogc_async.errors import TemplateError

_UNDEFINED = re.compile(r"'(\w+)' is not defined")
"""What Mako says of a name that is not in the context."""


class Templates:
    """The templates of one script folder; they may include files of the folder and of its parent."""

    def __init__(self, folder: Path) -> None:
        self._lookup = TemplateLookup(
            directories=[str(folder), str(folder.parent)],
            strict_undefined=True,
            input_encoding="utf-8",
            filesystem_checks=False,
        )
        self._compiled: dict[str, Template] = {}

    def render(self, script: ScriptFile, context: Mapping[str, Any]) -> bytes:
        """The script for one node. Raises ``TemplateError`` with the script's own line."""
        try:
            text: str = self._template(script).render_unicode(**context)
            return text.encode()
        except TemplateError:
            raise
        except Exception as error:
            raise _told(script, error) from error

    def _template(self, script: ScriptFile) -> Template:
        if script.path not in self._compiled:
            try:
                self._compiled[script.path] = Template(  # noqa: S702  # shell scripts, not HTML
                    text=script.data.decode("utf-8"),
                    uri=script.path,
                    lookup=self._lookup,
                    strict_undefined=True,
                )
            except UnicodeDecodeError as error:
                raise TemplateError(script.path, script.data[: error.start].count(b"\n") + 1, "is not UTF-8") from None
            except MakoException as error:
                raise TemplateError(script.path, int(getattr(error, "lineno", 0) or 0), _reason(error)) from error
        return self._compiled[script.path]


def _told(script: ScriptFile, error: Exception) -> TemplateError:
    """The error with the script's own line; what happened in an included file tells that file as well."""
    trail = _trail(error)
    own = next((line for uri, line in reversed(trail) if uri == script.path), 0)
    undefined = _UNDEFINED.match(str(error)) if isinstance(error, NameError) else None
    if trail and trail[-1][0] != script.path:
        uri, line = trail[-1]
        return TemplateError(script.path, own, f"in {uri if undefined else f'{uri}:{line}'}: {_reason(error)}")
    if undefined:
        own = _first_use(Lexer(script.data.decode("utf-8")).parse(), undefined[1])
    return TemplateError(script.path, own, _reason(error))


def _trail(error: Exception) -> list[tuple[str, int]]:
    """The places in templates that the error passed, outermost first: URI and line, 0 where there is none.

    Mako's own traceback takes templates of one name for one, and two layouts may well have a script of one name each.
    """
    trail: list[tuple[str, int]] = []
    for frame, line in traceback.walk_tb(error.__traceback__):
        uri = frame.f_globals.get("_template_uri")
        if uri is not None:
            source = frame.f_globals["__loader__"].get_source(uri)
            lines = ModuleInfo.get_module_source_metadata(source, full_line_map=True)["full_line_map"]
            trail.append((uri, lines[line - 1] if line <= len(lines) else 0))
    return trail


def _first_use(node: Any, name: str) -> int:
    """The line of the first expression, statement or tag that needs the name: Mako looks names up ahead of them all."""
    if name in getattr(node, "undeclared_identifiers", tuple)():
        return int(node.lineno)
    return next(filter(None, (_first_use(child, name) for child in node.get_children())), 0)


def _reason(error: Exception) -> str:
    text = str(error).splitlines()[0] if str(error) else type(error).__name__
    if isinstance(error, NameError):
        return f"{text}; the context holds node, nodes, user, env and layout"
    return text
