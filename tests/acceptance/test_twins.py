"""The synchronous verbs in plain scripts: again and again, from threads, and inside a loop by mistake."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests import programs
from tests.cloud import Cloud

START = """
from ogc_async import actions, db, errors, state
from ogc_async.spec import Layout

state.app.engine = db.connect()
db.migrate(state.app.engine)
actions.create_user("Ada")
layout = Layout.from_dict({{
    "name": "web", "provider": "aws", "runs-on": "ubuntu-2404", "instance-size": "t3.small",
    "ssh-keys": {{"private": "{key}"}}, "scripts": "{scripts}",
}})
"""

THREE_IN_A_ROW = """
ids = [actions.launch(layout) for _ in range(3)]
assert len(set(ids)) == 3, ids
assert all(actions.deploy(ids))
assert actions.teardown(ids) == ids
"""

TWO_THREADS = """
from threading import Thread

done = []


def work():
    node = actions.launch(layout)
    done.append((node, bool(actions.deploy(node)), actions.teardown(node)))


threads = [Thread(target=work) for _ in range(2)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
assert len({node for node, _, _ in done}) == 2, done
assert all(is_well and torn_down == node for node, is_well, torn_down in done), done
"""

INSIDE_A_LOOP = """
import asyncio


async def main():
    try:
        actions.launch(layout)
    except errors.InsideEventLoop as error:
        assert "launch_async" in str(error), error
    else:
        raise AssertionError("it went on")
    node = await actions.launch_async(layout)
    await actions.teardown_async(node)
    await state.app.aclose()


asyncio.run(main())
"""


@pytest.mark.parametrize("program", [THREE_IN_A_ROW, TWO_THREADS, INSIDE_A_LOOP], ids=["row", "threads", "loop"])
def test_a_plain_script_ends_well_and_leaves_nothing(
    program: str,
    cloud: Cloud,
    database_environment: dict[str, str],
    key_path: Path,
    scripts_folder: Path,
    tmp_path: Path,
) -> None:
    path = tmp_path / "program.py"
    check = "\nassert not actions.nodes(states={'running', 'launching', 'planned', 'terminating'})\nprint('well')\n"
    path.write_text(START.format(key=key_path, scripts=scripts_folder) + program + check)
    done = programs.run(
        [sys.executable, "-W", "error", str(path)],
        cwd=tmp_path,
        env=cloud.environment | database_environment,
        timeout_s=120,
    )
    assert (done.returncode, done.stdout) == (0, "well\n"), done.stderr
    assert done.stderr == ""
