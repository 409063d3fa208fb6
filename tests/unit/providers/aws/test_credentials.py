"""Sources of credentials that fail, each in its way: one typed error that says where to look."""

from __future__ import annotations

from pathlib import Path

import pytest

from ogc_async.errors import OgcError, SettingsError, Unauthorized
from ogc_async.providers.aws import client as clients
from ogc_async.providers.aws.client import AwsClient
from tests.unit.providers.aws.test_client import point_aws_at, profile_settings

SSO = (
    "sso_start_url = https://example.awsapps.com/start\nsso_region = us-east-2\nsso_account_id = 123456789012\n"
    "sso_role_name = r\n"
)

PROFILES = {
    "nothing in it": ("region = us-east-2\n", Unauthorized, "no usable credentials"),
    "half a key": ("aws_access_key_id = AKIAEXAMPLE\n", Unauthorized, "'p' (AWS_PROFILE)"),
    "a source profile that is nowhere": (
        "role_arn = arn:aws:iam::123456789012:role/r\nsource_profile = nowhere\n",
        Unauthorized,
        "nowhere",
    ),
    "a role without a source": ("role_arn = arn:aws:iam::123456789012:role/r\n", Unauthorized, "'p' (AWS_PROFILE)"),
    "a role of itself, without keys": (
        "role_arn = arn:aws:iam::123456789012:role/r\nsource_profile = p\n",
        Unauthorized,
        "'p' (AWS_PROFILE)",
    ),
    "a metadata service, which is not asked": (
        "role_arn = arn:aws:iam::123456789012:role/r\ncredential_source = Ec2InstanceMetadata\n",
        Unauthorized,
        "Ec2InstanceMetadata",
    ),
    "a source of no kind": (
        "role_arn = arn:aws:iam::123456789012:role/r\ncredential_source = Nonsense\n",
        Unauthorized,
        "Nonsense",
    ),
    "a program that is nowhere": ("credential_process = /nonexistent/program\n", Unauthorized, "/nonexistent/program"),
    "a program that fails": ("credential_process = false\n", Unauthorized, "'p' (AWS_PROFILE)"),
    "a program that says nothing": ("credential_process = true\n", OgcError, "~/.aws"),
    "a program that says something else": ("credential_process = echo []\n", OgcError, "aws"),
    "a program of another version": (
        "credential_process = echo '{\"Version\": 9}'\n",
        Unauthorized,
        "Unsupported version",
    ),
    "a sign-in that never was": (SSO, Unauthorized, "aws sso login --profile p"),
    "half a sign-in": ("sso_session = s\nsso_account_id = 123456789012\n", OgcError, "s"),
    "a token file that is nowhere": (
        "role_arn = arn:aws:iam::123456789012:role/r\nweb_identity_token_file = /nonexistent/token\n",
        Unauthorized,
        "/nonexistent/token",
    ),
}


@pytest.mark.parametrize("name", PROFILES)
async def test_credentials_that_cannot_be_had_are_one_clear_error(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str
) -> None:
    text, kind, said = PROFILES[name]
    monkeypatch.setattr(clients, "_sessions", {})
    monkeypatch.setenv("HOME", str(tmp_path))
    point_aws_at(monkeypatch, tmp_path, f"[profile p]\n{text}")
    client = AwsClient(profile_settings("p"), "us-east-2")
    with pytest.raises(kind) as caught:
        await client.call("DescribeVpcs")
    assert said in str(caught.value)
    assert "Traceback" not in str(caught.value)
    await client.aclose()


async def test_a_file_that_cannot_be_read_as_one_is_one_clear_error(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(clients, "_sessions", {})
    point_aws_at(monkeypatch, tmp_path, "[profile p\nno section\n")
    client = AwsClient(profile_settings("p"), "us-east-2")
    with pytest.raises(SettingsError, match=r"check AWS_ENDPOINT_URL and ~/\.aws"):
        await client.call("DescribeVpcs")
