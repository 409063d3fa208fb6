"""What botocore writes down of a request."""

from __future__ import annotations

import logging

import pytest

from ogc_async.providers.aws.logs import hide_user_data

LOG = logging.getLogger("botocore.endpoint")


def test_user_data_is_redacted_and_the_request_itself_is_left_alone(caplog: pytest.LogCaptureFixture) -> None:
    hide_user_data()
    hide_user_data()
    caplog.set_level(logging.DEBUG)
    request = {"method": "POST", "body": {"Action": "RunInstances", "UserData": "c2VjcmV0"}}
    LOG.debug("Making request for %s with params: %s", "RunInstances", request)
    (line,) = caplog.messages
    assert "'UserData': '[redacted]'" in line
    assert "'method': 'POST'" in line
    assert request["body"] == {"Action": "RunInstances", "UserData": "c2VjcmV0"}


@pytest.mark.parametrize("argument", [{"body": b"{}"}, {"body": {"Action": "DescribeVpcs"}}, {}, 7])
def test_whatever_else_is_logged_stays_as_it_is(caplog: pytest.LogCaptureFixture, argument: object) -> None:
    hide_user_data()
    caplog.set_level(logging.DEBUG)
    LOG.debug("Making request: %s, %s", argument, "and more")
    assert caplog.messages == [f"Making request: {argument}, and more"]
