"""botocore's log without user data: at DEBUG it writes whole requests down, a machine's host key in them."""

from __future__ import annotations

import logging
from typing import Any

REDACTED = "[redacted]"


def hide_user_data() -> None:
    """From now on; a second call changes nothing."""
    logging.getLogger("botocore.endpoint").addFilter(_filter)


class _WithoutUserData(logging.Filter):
    def filter(self, record: logging.LogRecord) -> bool:
        """Let the record through, redacted."""
        if isinstance(record.args, tuple):
            record.args = tuple(map(_redacted, record.args))
        return True


_filter = _WithoutUserData()


def _redacted(argument: Any) -> Any:
    """A request, which botocore has made a dict of, with other user data; anything else as it is."""
    body = argument.get("body") if isinstance(argument, dict) else None
    if not isinstance(body, dict) or "UserData" not in body:
        return argument
    return {**argument, "body": {**body, "UserData": REDACTED}}
