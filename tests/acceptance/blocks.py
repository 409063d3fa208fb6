"""Reads fenced code blocks from a page."""

from __future__ import annotations

import re
import textwrap
from pathlib import Path

FENCE = re.compile(r"^(?P<indent> *)``` ?(?P<language>\w+)\n(?P<code>.*?)^(?P=indent)```$", re.MULTILINE | re.DOTALL)


def blocks(page: Path, language: str) -> list[str]:
    """The page's blocks of one language, in order, without their indentation."""
    found = FENCE.finditer(page.read_text(encoding="utf-8"))
    return [textwrap.dedent(match["code"]) for match in found if match["language"] == language]
