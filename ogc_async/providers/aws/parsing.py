"""Replies read strictly, where botocore takes any well-formed document; long ones are read beside the event loop."""

from __future__ import annotations

import asyncio
from datetime import datetime
from typing import Any

from aiobotocore.parsers import AioEC2QueryParser, AioJSONParser, AioQueryParser, AioResponseParserFactory
from botocore.parsers import ResponseParserError
from botocore.utils import parse_timestamp

LONG_BYTES = 32 * 1024
"""About ten instances; a shorter reply is parsed sooner than a thread takes over."""

EC2_NAMESPACE = "http://ec2.amazonaws.com/doc/"
"""What the namespace of every reply of EC2 begins with; the API's date follows."""

MISREADINGS: tuple[type[Exception], ...] = (LookupError, TypeError, ValueError, AttributeError)
"""What botocore raises in the middle of a document that is not of the shape that its model says."""


class ParserFactory(AioResponseParserFactory):  # type: ignore[misc]  # aiobotocore has no types
    """Makes parsers for a session's clients, also for those that fetch credentials."""

    def create_parser(self, protocol_name: str) -> Any:
        """The parser of one reply; of protocols that are not spoken here, botocore's own."""
        strict = {"ec2": _Ec2Parser, "query": _QueryParser, "json": _JsonParser}.get(protocol_name)
        if strict is None:
            return super().create_parser(protocol_name)
        moments = {"timestamp_parser": moment} if protocol_name == "ec2" else {}
        return strict(**self._defaults | moments)


def moment(text: str) -> datetime:
    """A point in time as EC2 writes it. botocore's own reader guesses the format: half the time of a whole parse."""
    try:
        return datetime.fromisoformat(text)
    except (TypeError, ValueError):
        parsed: datetime = parse_timestamp(text)
        return parsed


def check_root(tag: str, operation: str, namespace: str = "") -> None:
    """Raise ``ResponseParserError`` unless a document with this root element is the operation's reply."""
    space, _, name = tag.rpartition("}")
    if name != f"{operation}Response" or not space.removeprefix("{").startswith(namespace):
        raise ResponseParserError(f"a document <{name}> came instead of <{operation}Response>")


class _QueryParser(AioQueryParser):  # type: ignore[misc]  # aiobotocore has no types
    """XML whose root element is named after the operation (STS)."""

    namespace = ""

    def _do_parse(self, response: Any, shape: Any) -> Any:
        try:
            root = self._parse_xml_string_to_dom(response["body"])
            check_root(root.tag, response["context"]["operation_name"], self.namespace)
            return self._read(root, shape)
        except MISREADINGS as error:
            raise _misread(error) from None

    def _do_error_parse(self, response: Any, shape: Any) -> Any:
        try:
            parsed: dict[str, Any] = super()._do_error_parse(response, shape)
            code = parsed["Error"]["Code"]
        except MISREADINGS as error:
            raise _misread(error) from None
        if not code or not isinstance(code, str):
            raise ResponseParserError("a refusal without a code came")
        return parsed

    def _read(self, root: Any, shape: Any) -> Any:
        parsed: dict[str, Any] = {}
        if shape is not None:
            wrapper = shape.serialization.get("resultWrapper")
            parsed = self._parse_shape(shape, self._find_result_wrapped_shape(wrapper, root) if wrapper else root)
        self._inject_response_metadata(root, parsed)
        return parsed


class _Ec2Parser(_QueryParser, AioEC2QueryParser):  # type: ignore[misc]  # aiobotocore has no types
    """EC2's XML. Only a document ``Response`` with an error and its code is a refusal."""

    namespace = EC2_NAMESPACE

    def _do_parse(self, response: Any, shape: Any) -> Any:
        """What is parsed, or an awaitable of it: aiobotocore takes either."""
        if len(response["body"]) < LONG_BYTES:
            return super()._do_parse(response, shape)
        return asyncio.to_thread(super()._do_parse, response, shape)

    def _do_error_parse(self, response: Any, shape: Any) -> Any:
        root = self._parse_xml_string_to_dom(response["body"])
        if root.tag.rpartition("}")[2] != "Response":
            raise ResponseParserError(f"a document <{root.tag}> came instead of a refusal")
        return super()._do_error_parse(response, shape)


class _JsonParser(AioJSONParser):  # type: ignore[misc]  # aiobotocore has no types
    """SSM's JSON."""

    async def _do_parse(self, response: Any, shape: Any) -> Any:
        try:
            return await super()._do_parse(response, shape)
        except MISREADINGS as error:
            raise _misread(error) from None

    def _do_error_parse(self, response: Any, shape: Any) -> Any:
        try:
            return super()._do_error_parse(response, shape)
        except MISREADINGS as error:
            raise _misread(error) from None


def _misread(error: Exception) -> ResponseParserError:
    return ResponseParserError(f"its content is of another shape ({type(error).__name__}: {error})")
