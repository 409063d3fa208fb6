"""What the commands about key pairs do."""

from __future__ import annotations

from collections.abc import Sequence
from fnmatch import fnmatchcase

from rich.text import Text

from ogc_async.actions import key_pairs
from ogc_async.actions.context import default_app
from ogc_async.actions.key_pairs import FoundKeyPair
from ogc_async.cli.fleet_work import confirm
from ogc_async.cli.mistakes import error_json
from ogc_async.cli.tables import Column, table
from ogc_async.cli.voice import answer, complain, line, out
from ogc_async.errors import NothingMatched, SettingsError


def list_key_pairs() -> int:
    """List them."""
    found = key_pairs.list_key_pairs(app=default_app())
    return answer(_json(found), lambda: _show(found))


def remove_key_pairs(names: Sequence[str], *, is_all: bool, force: bool, yes: bool) -> int:
    """Remove those named, or all; what is in use stays, unless by force."""
    if not names and not is_all:
        raise SettingsError("which key pairs? Name them, or use --all")
    found = key_pairs.list_key_pairs(app=default_app())
    for name in names:
        if not any(fnmatchcase(each.name, name) for each in found):
            raise NothingMatched(f"no key pair of ours is called {name}; `ogc ls-key-pairs` lists them")
    wanted = [each for each in found if is_all or any(fnmatchcase(each.name, name) for name in names)]
    kept = [each for each in wanted if each.is_used and not force]
    doomed = [each for each in wanted if each not in kept]
    if doomed:
        confirm(f"Remove {len(doomed)} key pairs?", [f"  {each.name}  {each.region}" for each in doomed], yes=yes)
    errors = key_pairs.remove_key_pairs(doomed) if doomed else {}
    gone = [each for each in doomed if each.name not in errors]

    def shown() -> None:
        line(f"removed {len(gone)} of {len(wanted)} key pairs")
        for each in kept:
            complain(f"{each.name}: live nodes of {each.layout} use it; --force removes it all the same", "yellow")
        for name, error in errors.items():
            complain(f"{name}: {error}")

    body = _json(gone) | {"leftovers": [error_json(error) for error in errors.values()]}
    return answer(body, shown, ok=not errors and (is_all or not kept))


def _show(found: Sequence[FoundKeyPair]) -> None:
    if not found:
        line("no key pairs of ours")
        return
    columns = [
        Column("name", [Text(each.name) for each in found], 0),
        Column("layout", [each.layout for each in found], 2),
        Column("region", [f"{each.provider} {each.region}" for each in found], 3),
        Column("in use", ["yes" if each.is_used else "no" for each in found], 1),
    ]
    out.print(table(columns, out.width))


def _json(found: Sequence[FoundKeyPair]) -> dict[str, object]:
    pairs = [
        {
            "name": each.name,
            "layout": each.layout,
            "provider": each.provider,
            "region": each.region,
            "in_use": each.is_used,
        }
        for each in found
    ]
    return {"key_pairs": pairs}
