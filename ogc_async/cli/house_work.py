"""What the commands about the database do: migrate it, hand a fleet over, take one in."""

from __future__ import annotations

import sys
from pathlib import Path

from ogc_async import actions, db
from ogc_async.actions.context import connected_engine, default_app
from ogc_async.aio.blocking import blocking
from ogc_async.cli import report
from ogc_async.cli.handover import Handover, hand_over, rows_of, take_in
from ogc_async.cli.voice import answer, complain, line
from ogc_async.db.handover import take_over
from ogc_async.db.schema import prepare
from ogc_async.db.users import current_user
from ogc_async.errors import SettingsError, StaleNode
from ogc_async.types import LIVE, UserSnapshot

WARNING = (
    "From now on launch and sync from one of the two only: to either, what the other launches looks like a leak,"
    " which `ogc sync` terminates."
)


def migrate() -> int:
    """Bring the tables up to date."""
    engine = connected_engine(default_app())
    db.migrate(engine)
    return answer({"database": repr(engine)}, lambda: line(f"{engine}: up to date"))


def export_env(file: Path) -> int:
    """Write the fleet to a file, or to stdout."""
    app = default_app()
    nodes = actions.nodes(states=LIVE)
    held = [node for node in nodes if node.is_held()]
    if held:
        raise StaleNode(f"a process works on {len(held)} nodes, {held[0].name} among them; try again when it has ended")
    text = hand_over(_user(), nodes, app.settings, Path.cwd())
    if str(file) == "-":
        sys.stdout.write(text)
        return 0
    try:
        file.write_text(text, encoding="utf-8")
    except OSError as error:
        raise SettingsError(f"{file}: can not be written: {error.strerror}") from None
    needs = list(Handover.model_validate_json(text).needs)

    def shown() -> None:
        line(f"{file}: {len(nodes)} nodes, and no secret")
        for need in needs:
            line(f"its next keeper needs {need}")
        complain(WARNING, "yellow")

    return answer({"files": [{"path": str(file), "written": True}], "needs": needs}, shown)


def import_env(file: Path, key: Path | None) -> int:
    """Put a fleet on record here."""
    try:
        text = sys.stdin.read() if str(file) == "-" else file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"{file}: can not be read: {getattr(error, 'strerror', None) or error}") from None
    document = take_in(text, str(file), Path.cwd(), key)
    engine = connected_engine(default_app())
    prepare(engine)
    owner = document.user
    names = blocking(_take_over_async)(UserSnapshot(0, owner.name, owner.slug, owner.scope), document)
    chosen = set(names)
    nodes = [node for node in actions.nodes(states=LIVE) if node.name in chosen]
    needs = [*_settings_that_differ(document), *document.needs]

    def shown() -> None:
        line(f"{len(names)} of {len(document.nodes)} nodes taken over from {owner.name}; the others were on record")
        for need in needs:
            line(f"needs {need}")
        complain(WARNING, "yellow")

    body = report.nodes_json(nodes) | {"needs": needs}
    return answer(body, shown)


async def _take_over_async(user: UserSnapshot, document: Handover) -> list[str]:
    return await take_over(connected_engine(default_app()), user, rows_of(document))


def _user() -> UserSnapshot:
    async def read_async() -> UserSnapshot:
        return await current_user(connected_engine(default_app()))

    return blocking(read_async)()


def _settings_that_differ(document: Handover) -> list[str]:
    """What has to be set here as it was there."""
    ours = default_app().settings
    return [
        f"{name}={value}"
        for name, value in document.settings.items()
        if str(getattr(ours, name.lower(), None)) != value
    ]
