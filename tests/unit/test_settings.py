"""Settings: every variable of the page under its exact name, from the environment or ``.env``, secrets kept."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from ogc_async.errors import SettingsError
from ogc_async.settings import Settings, known_secrets, load_settings, shared_environment

PAGE = Path(__file__).parents[1] / "acceptance/managing-nodes-programmatically.md"
SECRETS = {"AWS_SECRET_ACCESS_KEY": "s3cret-a", "AWS_SESSION_TOKEN": "s3cret-b", "POSTGRES_PASSWORD": "s3cret-c"}


@pytest.fixture(autouse=True)
def _bare(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Nothing of this machine's, in a folder of the test's own."""
    for field in Settings.model_fields:
        monkeypatch.delenv(field.upper(), raising=False)
    monkeypatch.chdir(tmp_path)


def test_every_variable_of_the_page_is_a_setting() -> None:
    named = set(re.findall(r"\b((?:AWS|GOOGLE|POSTGRES)_[A-Z_]+)\b", PAGE.read_text(encoding="utf-8")))
    assert len(named) >= 10
    assert named <= {field.upper() for field in Settings.model_fields}


def test_the_environment_wins_over_the_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("AWS_REGION=eu-west-1\nOGC_POLL_S=7\nSOMETHING_ELSE=1\n")
    assert (load_settings().aws_region, load_settings().ogc_poll_s) == ("eu-west-1", 7)
    monkeypatch.setenv("AWS_REGION", "us-east-2")
    assert (load_settings().aws_region, load_settings().ogc_poll_s) == ("us-east-2", 7)


def test_an_empty_variable_is_as_good_as_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POSTGRES_HOST", "")
    assert load_settings().database_url().drivername == "sqlite+aiosqlite"


def test_secrets_show_nowhere(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in SECRETS.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("OGC_DATABASE_URL", "postgresql://me:s3cret-d@host/db")
    settings = load_settings()
    shown = f"{settings!r} {settings} {settings.model_dump_json()} {settings.database_url()}"
    assert "s3cret" not in shown


def test_every_wrong_variable_is_named_and_no_value_is_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OGC_POLL_S", "s3cret-soon")
    monkeypatch.setenv("POSTGRES_PORT", "99999")
    with pytest.raises(SettingsError) as caught:
        load_settings()
    text = str(caught.value)
    assert "OGC_POLL_S" in text
    assert "POSTGRES_PORT" in text
    assert "s3cret" not in text


def test_a_file_that_can_not_be_read_is_named(tmp_path: Path) -> None:
    (tmp_path / ".env").write_bytes(b"AWS_REGION=\xff\xfe\n")
    with pytest.raises(SettingsError, match=r"\.env"):
        load_settings()


@pytest.mark.parametrize(
    ("variables", "url"),
    [
        ({"POSTGRES_HOST": "db"}, "postgresql+asyncpg://postgres:***@db:5432/ogc"),
        ({"POSTGRES_DB": "fleet"}, "postgresql+asyncpg://postgres:***@localhost:5432/fleet"),
        ({"POSTGRES_USER": "me", "POSTGRES_PORT": "6543"}, "postgresql+asyncpg://me:***@localhost:6543/ogc"),
        ({"POSTGRES_DB": "x", "OGC_DATABASE_URL": "sqlite:////tmp/x.db"}, "sqlite+aiosqlite:////tmp/x.db"),
        ({"OGC_DATA_DIR": "/var/lib/ogc"}, "sqlite+aiosqlite:////var/lib/ogc/ogc.db"),
    ],
)
def test_the_database_is_chosen_by_what_is_set(
    variables: dict[str, str], url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert str(load_settings().database_url()) == url


def test_scripts_see_our_prefix_and_what_is_named_and_no_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OGC_RELEASE", "APP_VERSION", "OTHER", "AWS_REGION", "OGC_POLL_S"):
        monkeypatch.setenv(name, "1")
    assert set(shared_environment(["APP_VERSION"])) == {"OGC_RELEASE", "APP_VERSION"}


@pytest.mark.parametrize(
    "name", ["AWS_SECRET_ACCESS_KEY", "AWS_SECURITY_TOKEN", "GOOGLE_API_KEY", "OGC_Database_url", "POSTGRES_PASSFILE"]
)
def test_what_may_be_a_credential_is_never_shared(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, "s3cret")
    assert name not in shared_environment()
    with pytest.raises(SettingsError, match=name):
        shared_environment([name])


def test_a_variable_that_is_named_and_not_set_is_told() -> None:
    with pytest.raises(SettingsError, match="NOT_SET_ANYWHERE"):
        shared_environment(["NOT_SET_ANYWHERE"])


def test_secrets_are_known_from_settings_and_by_the_names_of_variables(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    credentials = tmp_path / "google.json"
    credentials.write_text('{"client_email": "a@b", "private_key": "google-key", "refresh_token": "google-token"}')
    secret = {
        "AWS_SECRET_ACCESS_KEY": "aws-secret",
        "AWS_SESSION_TOKEN": "aws-token",
        "OGC_DATABASE_URL": "postgresql://me:in-the-url@host/db",
        "APP_TOKEN": "app-token",
        "MY_DB_PASSWORD": "db-password",
        "SERVICE_API_KEY": "api-key",
    }
    harmless = {"TOKENIZERS": "fine-1", "AWS_ACCESS_KEY_ID": "fine-2", "HOME_PAGE": "fine-3"}
    for name, value in (secret | harmless | {"GOOGLE_APPLICATION_CREDENTIALS": str(credentials)}).items():
        monkeypatch.setenv(name, value)
    known = set(known_secrets(load_settings()))
    assert {*secret.values(), "in-the-url", "google-key", "google-token"} <= known
    assert not known & {*harmless.values(), "a@b", str(credentials)}


@pytest.mark.parametrize("content", [None, "no json", "[1]", '{"source_credentials": 3}'])
def test_a_credentials_file_that_is_none_has_no_secrets(
    content: str | None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    if content is not None:
        (tmp_path / "google.json").write_text(content)
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(tmp_path / "google.json"))
    known_secrets(load_settings())


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://u:hunter2@127.0.0.1:1x/d",
        "postgresql://u:p@host:hunter2/d",
        "postgresql://u:hunter2@host:99999/d",
        "postgresql://u:hunter2@host:0/d",
        "oracle://u:hunter2@host/d",
        "u:hunter2@host",
    ],
)
def test_a_database_url_that_cannot_be_read_is_named_and_its_password_is_not_told(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OGC_DATABASE_URL", url)
    with pytest.raises(SettingsError, match=r"^OGC_DATABASE_URL: .*(write|use) ") as caught:
        load_settings().database_url()
    each: BaseException | None = caught.value
    while each is not None:
        assert "hunter2" not in f"{each} {each!r}"
        each = each.__cause__ or each.__context__
