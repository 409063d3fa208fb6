"""Long replies of EC2 parsed beside the event loop, which botocore's parser would hold up for 1 ms an instance."""

from __future__ import annotations

import asyncio
from datetime import datetime
from typing import Any

from aiobotocore.parsers import AioEC2QueryParser, AioResponseParserFactory
from botocore.utils import parse_timestamp

LONG_BYTES = 32 * 1024
"""About ten instances; a shorter reply is parsed sooner than a thread takes over."""


class ParserFactory(AioResponseParserFactory):  # type: ignore[misc]  # aiobotocore has no types
    """Makes parsers for a session's clients: EC2's parses long replies on a thread, all others are botocore's own."""

    def create_parser(self, protocol_name: str) -> Any:
        """The parser of one reply."""
        if protocol_name != "ec2":
            return super().create_parser(protocol_name)
        return _Ec2Parser(**self._defaults | {"timestamp_parser": moment})


def moment(text: str) -> datetime:
    """A point in time as EC2 writes it. botocore's own reader guesses the format: half the time of a whole parse."""
    try:
        return datetime.fromisoformat(text)
    except (TypeError, ValueError):
        parsed: datetime = parse_timestamp(text)
        return parsed


class _Ec2Parser(AioEC2QueryParser):  # type: ignore[misc]  # aiobotocore has no types
    def _do_parse(self, response: Any, shape: Any) -> Any:
        """What is parsed, or an awaitable of it: aiobotocore takes either."""
        if len(response["body"]) < LONG_BYTES:
            return super()._do_parse(response, shape)
        return asyncio.to_thread(super()._do_parse, response, shape)
