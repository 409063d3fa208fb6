"""What the commands about the database do: migrate it, hand a fleet over, take one in."""

from __future__ import annotations

import os
import stat
import sys
from pathlib import Path

from ogc_async import actions, db
from ogc_async.actions.context import connected_engine, default_app
from ogc_async.aio.blocking import blocking
from ogc_async.cli import report
from ogc_async.cli.handover import Handover, hand_over, rows_of
from ogc_async.cli.intake import name_of, read_file, take_in
from ogc_async.cli.voice import answer, complain, line
from ogc_async.db.handover import take_over
from ogc_async.db.schema import prepare
from ogc_async.db.users import current_user
from ogc_async.errors import HANDOVER_TOLD, HandoverError, SettingsError, StaleNode, StoreError
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
    document = _readable_again(text)
    if str(file) == "-":
        sys.stdout.write(text)
        return 0
    try:
        _write_for_owner(file, text)
    except OSError as error:
        raise SettingsError(f"{file}: can not be written: {error.strerror}") from None
    needs = list(document.needs)

    def shown() -> None:
        line(f"{file}: {len(nodes)} nodes, and no secret; addresses and names are in it, so only you may read it")
        for need in needs:
            line(f"its next keeper needs {need}")
        complain(WARNING, "yellow")

    return answer({"files": [{"path": str(file), "written": True}], "needs": needs}, shown)


def import_env(file: Path, key: Path | None) -> int:
    """Put a fleet on record here."""
    document = take_in(read_file(file), name_of(file), Path.cwd(), key)
    engine = connected_engine(default_app())
    prepare(engine)
    owner = document.user
    names = blocking(_take_over_async)(UserSnapshot(0, owner.name, owner.slug, owner.scope), document)
    chosen = set(names)
    nodes = [node for node in actions.nodes(states=LIVE) if node.name in chosen]
    needs = [*_settings_that_differ(document), *document.needs, *_shared_variables(document)]

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


def _readable_again(text: str) -> Handover:
    """What was written, as the next keeper will read it. Raises ``StoreError`` where import-env would refuse it."""
    try:
        return take_in(text.encode("utf-8", "surrogatepass"), "", Path.cwd(), None)
    except HandoverError as error:
        told = "\n".join(map(str, error.problems[:HANDOVER_TOLD]))
        raise StoreError(f"import-env would refuse the file, and nothing was written:\n{told}") from None


def _write_for_owner(file: Path, text: str) -> None:
    """Write a file that nobody else on this machine may read, also where an older one could be read by all."""
    made = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    with os.fdopen(made, "w", encoding="utf-8") as to:
        if stat.S_ISREG(os.fstat(to.fileno()).st_mode):
            os.fchmod(to.fileno(), 0o600)
        to.write(text)


def _shared_variables(document: Handover) -> list[str]:
    """What the layouts' scripts will see of the new keeper's environment, told before any of them runs."""
    names = sorted({name for node in document.nodes for name in node.spec.env})
    return [f"{name} in the environment, which is sent to the nodes" for name in names]


def _settings_that_differ(document: Handover) -> list[str]:
    """What has to be set here as it was there."""
    ours = default_app().settings
    return [
        f"{name}={value}"
        for name, value in document.settings.items()
        if str(getattr(ours, name.lower(), None)) != value
    ]
