"""A credentials file that can be used, and every way in which one can not."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from ogc_async.errors import MissingCredentials, SettingsError
from ogc_async.providers.google.credentials import read_credentials
from ogc_async.settings import Settings


def settings(path: Path | None, **values: Any) -> Settings:
    return Settings(_env_file=None, google_application_credentials=path, **values)


def written(folder: Path, content: object) -> Path:
    path = folder / "credentials.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


@pytest.fixture(autouse=True)
def _nothing_in_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("GOOGLE_PROJECT", "GOOGLE_APPLICATION_CREDENTIALS"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(scope="module")
def private_key() -> str:
    key = rsa.generate_private_key(65537, 2048)
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


@pytest.mark.parametrize("kind", ["service_account", "authorized_user", "impersonated_service_account"])
def test_each_kind_of_file_is_taken(kind: str, private_key: str, tmp_path: Path) -> None:
    content = {"type": kind, "project_id": "from-file", "client_email": "robot@x", "private_key": private_key}
    content |= {"source_credentials": {"type": "authorized_user"}, "service_account_impersonation_url": "https://x"}
    path = written(tmp_path, content)
    read = read_credentials(settings(path))
    assert read.project == "from-file"
    assert "PRIVATE KEY" not in repr(read)
    assert read_credentials(settings(path, google_project="from-settings")).project == "from-settings"


def test_no_file_names_the_variable() -> None:
    with pytest.raises(MissingCredentials, match="GOOGLE_APPLICATION_CREDENTIALS"):
        read_credentials(settings(None))


def test_a_file_without_a_project_names_the_variable(tmp_path: Path) -> None:
    with pytest.raises(MissingCredentials, match="GOOGLE_PROJECT"):
        read_credentials(settings(written(tmp_path, {"type": "authorized_user"})))


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("not json", "is not JSON"),
        ("[]", "is not a JSON object"),
        ({"type": "gdch_service_account"}, "gdch_service_account"),
        ({}, "None"),
        (
            {"type": "impersonated_service_account", "source_credentials": {"type": "magic"}},
            "impersonates from 'magic'",
        ),
        ({"type": "service_account"}, "has no client_email"),
        ({"type": "service_account", "client_email": "robot@x"}, "has no private_key"),
        ({"type": "service_account", "client_email": "robot@x", "private_key": "hidden"}, "private_key that is none"),
    ],
)
def test_a_file_that_can_not_be_used_is_named_with_the_reason(content: object, says: str, tmp_path: Path) -> None:
    path = written(tmp_path, content)
    with pytest.raises(SettingsError, match=says) as caught:
        read_credentials(settings(path))
    assert str(path) in str(caught.value)
    assert "hidden" not in str(caught.value)


def test_a_file_that_is_not_there_or_is_a_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="does not exist"):
        read_credentials(settings(tmp_path / "none.json"))
    with pytest.raises(SettingsError, match="can not be read"):
        read_credentials(settings(tmp_path))
