"""The page "Managing Nodes Programmatically", run as it is written: every Python block, in order, in one script.

Read from the page at run time. Besides ``ogc`` for ``ogc_async``, the script is given what the page leaves open:

- the path of the spec: the page's example path becomes a file of this test;
- ``name`` and ``session`` of the user block, and ``app`` of the spec block, which the page does not define;
- a function around the user block, which ends in ``return``.
"""

from __future__ import annotations

import json
import re
import sys
import textwrap
from pathlib import Path

import pytest

from tests import programs
from tests.acceptance.blocks import blocks
from tests.cloud import Cloud

PAGE = Path(__file__).with_name("managing-nodes-programmatically.md")
SPEC_PATH = "/Users/adam/specs/ogc.yml"

SUPPLIED = {
    "from slugify import slugify": 'name = "adam"\nsession = state.app.session\n',
    "from ogc_async.spec import SpecLoader": "app = state.app\n",
}

CHECK = """
import json
from ogc_async import db, types

with state.app.session as s:
    nodes = s.select(db.Node).all()
    print(json.dumps({
        "users": [user.slug for user in s.select(db.User).all()],
        "nodes": sorted([node.layout, node.state, node.instance_id] for node in nodes),
        "actions": sorted([action.script, action.exit_code] for action in s.select(db.Action).all()),
    }))
"""

AWAITED = [
    (r"\bactions\.(launch|deploy)_async\(", r"await actions.\1_async("),
    (r"\bactions\.launch\(", "await actions.launch_async("),
    (r"\bdb\.(createtbl|droptbl|migrate)\(", r"await db.\1_async("),
    (r"\bwith session as s\b", "async with session as s"),
    (r"\bs\.select\(([^)]*)\)\.", r"(await s.select(\1))."),
    (r"\bs\.commit\(", "await s.commit("),
]
"""How a page of synchronous calls reads inside a running loop."""


def page_script(spec: Path) -> str:
    """All blocks of the page as one script, with what it leaves open supplied."""
    parts = []
    for block in blocks(PAGE, "python"):
        code = re.sub(r"\bfrom ogc\b", "from ogc_async", block).replace(SPEC_PATH, str(spec))
        supplied = next((text for start, text in SUPPLIED.items() if start in code), "")
        if re.search(r"^\s+return$", code, re.MULTILINE):
            code = "def block():\n" + textwrap.indent(code, "    ") + "block()\n"
        parts.append(supplied + code)
    return "\n".join(parts)


def awaited(script: str) -> str:
    """The same page for an application's own loop."""
    for pattern, replacement in AWAITED:
        script = re.sub(pattern, replacement, script)
    script = script.replace("def block():", "async def block():").replace("\nblock()\n", "\nawait block()\n")
    body = textwrap.indent(script + "\nawait state.app.aclose()\n", "    ")
    return f"import asyncio\n\nasync def main():\n    global state\n{body}\nasyncio.run(main())\n"


@pytest.fixture
def spec(tmp_path: Path, scripts_folder: Path, key_path: Path) -> Path:
    path = tmp_path / "ogc.yml"
    path.write_text(
        textwrap.dedent(f"""\
        name: page
        ssh-keys: {{private: {key_path}}}
        layouts:
          web: {{provider: aws, runs-on: ubuntu-2404, instance-size: t3.small, scripts: {scripts_folder}, scale: 2}}
          db: {{provider: aws, runs-on: debian-12, instance-size: t3.medium, scripts: {scripts_folder}}}
        """)
    )
    return path


@pytest.mark.parametrize("style", ["plain", "awaited"])
def test_the_page_works_as_written(
    style: str, spec: Path, database_environment: dict[str, str], cloud: Cloud, tmp_path: Path
) -> None:
    script = page_script(spec)
    text = (script if style == "plain" else awaited(script)) + CHECK
    path = tmp_path / "page.py"
    path.write_text(text)
    done = programs.run(
        [sys.executable, "-W", "error", str(path)],
        cwd=tmp_path,
        env=cloud.environment | database_environment,
        timeout_s=120,
    )
    assert done.returncode == 0, done.stderr
    *said, record = done.stdout.splitlines()
    assert said == ["Successfully deployed"]
    rows = json.loads(record)
    assert rows["users"] == ["adam"]
    # One of each layout from the synchronous launch, each at its scale from the other.
    assert [[layout, state] for layout, state, _ in rows["nodes"]] == [["db", "running"]] * 2 + [["web", "running"]] * 3
    # Only the second launch's nodes are deployed to.
    assert rows["actions"] == [["1-hello.sh", 0]] * 3 + [["2-page.sh.mako", 0]] * 3
    running = {each["id"] for each in cloud.instances() if each["state"] == "running"}
    assert {instance for _, _, instance in rows["nodes"]} <= running
