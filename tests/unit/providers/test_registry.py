from __future__ import annotations

import sys

import pytest

from ogc_async.errors import MissingCredentials, SettingsError
from ogc_async.providers.registry import open_provider
from ogc_async.settings import Settings
from tests import programs


@pytest.fixture(autouse=True)
def no_cloud_in_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in ("ACCESS_KEY_ID", "SECRET_ACCESS_KEY", "SESSION_TOKEN", "PROFILE", "REGION"):
        monkeypatch.delenv(f"AWS_{variable}", raising=False)


def test_an_unknown_cloud_is_told_the_known_ones() -> None:
    with pytest.raises(SettingsError, match=r"'azure' is not known; use one of: .*aws"):
        open_provider("azure", Settings(_env_file=None), "us-east-2")


@pytest.mark.parametrize(
    ("given", "region", "variable"),
    [
        ({}, "us-east-2", "AWS_ACCESS_KEY_ID"),
        ({"aws_secret_access_key": "s"}, "us-east-2", "AWS_ACCESS_KEY_ID"),
        ({"aws_access_key_id": "k"}, "us-east-2", "AWS_SECRET_ACCESS_KEY"),
        ({"aws_access_key_id": "k", "aws_secret_access_key": "s"}, "", "AWS_REGION"),
    ],
)
def test_the_first_missing_variable_is_named(given: dict[str, str], region: str, variable: str) -> None:
    with pytest.raises(MissingCredentials) as caught:
        open_provider("aws", Settings(_env_file=None, **given), region)
    assert caught.value.variable == variable


def test_a_profile_stands_in_for_an_access_key() -> None:
    provider = open_provider("aws", Settings(_env_file=None, aws_profile="work"), "us-east-2")
    assert (provider.name, provider.region) == ("aws", "us-east-2")


def test_no_secret_shows_in_a_repr() -> None:
    settings = Settings(_env_file=None, aws_access_key_id="k", aws_secret_access_key="hush", aws_session_token="hush")
    assert repr(open_provider("aws", settings, "us-east-2")) == "AwsProvider(region='us-east-2')"


def test_importing_the_registry_imports_no_client_library() -> None:
    check = "import sys, ogc_async.providers.registry; assert not {'aiobotocore', 'botocore'} & set(sys.modules)"
    done = programs.run([sys.executable, "-c", check])
    assert done.returncode == 0, done.stderr
