"""An Ansible callback: prints each host's output of the command as a line of JSON."""

from __future__ import annotations

import json
from typing import Any

from ansible.plugins.callback import CallbackBase

DOCUMENTATION = """
name: json_lines
type: stdout
short_description: the command's output, a line of JSON a host
description: Prints nothing else.
"""


class CallbackModule(CallbackBase):
    """Hears of every task's end on every host."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "stdout"
    CALLBACK_NAME = "json_lines"

    def v2_runner_on_ok(self, result: Any) -> None:
        """Only the command has an output."""
        values = result._result
        if "stdout" in values:
            print(json.dumps({"host": result._host.get_name(), "stdout": values["stdout"]}))

    def v2_runner_on_failed(self, result: Any, ignore_errors: bool = False) -> None:  # theirs
        """Said where the harness shows it."""
        self._display.warning(f"{result._host.get_name()}: {result._result}")
