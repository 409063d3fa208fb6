"""``ogc`` 2.1.9 after a crash: ``rm-all``, which ends every node that it has a row of."""

from __future__ import annotations

from typing import Any

import ogc_2  # beside this file


def prepare(job: dict[str, Any]) -> Any:
    """The package, on the database that the crash left."""
    return ogc_2.connect(job)


def race(_: dict[str, Any], ogc: Any) -> int:
    """How many nodes it had on record."""
    with ogc.state.app.session as session:
        names = [row.instance_name for row in session.query(ogc.db.Node).all()]
    ogc.state.app.engine.dispose()  # its processes must not share a connection
    return len(list(ogc.actions.teardown_async(names, force=True)))
