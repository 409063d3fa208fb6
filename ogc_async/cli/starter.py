"""The starter spec that ``ogc init`` writes: a layout in each cloud, their scripts and a key, ready for the sandbox."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from ogc_async.ssh.keys import generate_key_pair

SPEC = """\
name: starter

ssh-keys:
  private: keys/ogc_ed25519

layouts:
  web:
    provider: aws
    runs-on: ubuntu-2404
    instance-size: t3.small
    scripts: scripts/web
    scale: 4
    ports: ["80", "443"]
    tags: [starter]

  worker:
    provider: google          # remove this layout if you have an account with the other cloud only
    runs-on: debian-12
    instance-size: e2-medium
    scripts: scripts/worker
    scale: 3
    tags: [starter]
"""

FILES = {
    "ogc.yml": SPEC,
    "keys/.gitignore": "*\n",
    "scripts/web/1-greet.sh": """\
#!/bin/sh
echo "hello from $OGC_NODE_NAME at $OGC_PUBLIC_IP"
""",
    "scripts/web/2-page.sh.mako": """\
#!/bin/sh
# Rendered before it is pushed: the context holds node, nodes, user, env and layout.
echo "<h1>${node.name}</h1>" > ~/page.html
echo "page.html for ${user.name}, ${len(nodes)} nodes in all"
""",
    "scripts/web/teardown.sh": """\
#!/bin/sh
echo "goodbye from $OGC_NODE_NAME"
""",
    "scripts/worker/1-compute.sh": """\
#!/bin/sh
echo "sum: $(seq 1 1000 | awk '{ sum += $1 } END { print sum }')"
""",
}


def write_starter(folder: Path) -> Iterator[tuple[Path, bool]]:
    """Write each file that is not there yet; yields every path and whether it was written."""
    for name, text in FILES.items():
        path = folder / name
        if path.exists():
            yield path, False
            continue
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        if text.startswith("#!"):
            path.chmod(0o755)
        yield path, True
    key = folder / "keys/ogc_ed25519"
    if key.exists():
        yield key, False
        return
    generate_key_pair(key)
    yield key, True
