"""Every setting, read from the environment or from ``.env`` (the environment wins). The only reader of either."""

from __future__ import annotations

import getpass
import json
import os
import re
from collections.abc import Collection
from pathlib import Path
from typing import Literal

from platformdirs import user_data_path
from pydantic import Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict
from sqlalchemy import URL, make_url
from sqlalchemy.exc import ArgumentError

from ogc_async.errors import SettingsError

_SECRET_NAME = re.compile(
    r"(?:^|_)(?:SECRET|TOKEN|PASSWORD|PASSWD|PASSPHRASE|PRIVATE_KEY|API_?KEY|ACCESS_KEY)(?:$|_(?!ID$))"
)
"""Names of variables whose values are for no eyes."""

_GOOGLE = ("private_key", "private_key_id", "client_secret", "refresh_token")

MAX_PORT = 65535

DRIVERS = {
    "postgresql": "postgresql+asyncpg",
    "postgres": "postgresql+asyncpg",
    "sqlite": "sqlite+aiosqlite",
}


class Settings(BaseSettings):
    """One process's settings; a field's name in capitals is its variable. Times are seconds, sizes bytes."""

    model_config = SettingsConfigDict(
        env_file=".env", env_file_encoding="utf-8", extra="ignore", frozen=True, env_ignore_empty=True
    )

    aws_access_key_id: str | None = Field(None, description="AWS access key")
    aws_secret_access_key: SecretStr | None = Field(None, description="AWS secret key")
    aws_session_token: SecretStr | None = Field(None, description="AWS session token of temporary credentials")
    aws_profile: str | None = Field(None, description="profile of ~/.aws to use where no access key is set")
    aws_region: str | None = Field(None, description="EC2 region of layouts that name none")
    aws_endpoint_url: str | None = Field(None, description="another EC2 and SSM endpoint, such as the sandbox's")

    google_application_credentials: Path | None = Field(None, description="Google credentials file")
    google_application_service_account: str | None = Field(None, description="service account the nodes run as")
    google_project: str | None = Field(None, description="Google project")
    google_datacenter: str | None = Field(None, description="Compute Engine zone of layouts that name none")

    postgres_host: str | None = Field(None, description="PostgreSQL host or socket folder (localhost)")
    postgres_port: int | None = Field(None, ge=1, le=MAX_PORT, description="PostgreSQL port (5432)")
    postgres_db: str | None = Field(None, description="PostgreSQL database (ogc)")
    postgres_user: str | None = Field(None, description="PostgreSQL user (postgres)")
    postgres_password: SecretStr | None = Field(None, description="PostgreSQL password (postgres)")

    ogc_database_url: SecretStr | None = Field(None, description="SQLAlchemy URL; overrides every POSTGRES_*")
    ogc_data_dir: Path | None = Field(None, description="folder of the embedded database (the user's data folder)")
    ogc_database_pool: int = Field(15, ge=1, le=1000, description="PostgreSQL connections at most")
    ogc_database_timeout_s: float = Field(15, gt=0, description="wait for a database connection")

    ogc_launch_batch: int | None = Field(
        None, ge=1, le=1000, description="machines asked for in one launch call at most (the cloud's own best)"
    )
    ogc_google_endpoint: str | None = Field(None, description="another Compute endpoint, such as the sandbox's")
    ogc_max_api_calls: int = Field(16, ge=1, le=1000, description="API calls to one region under way at once")
    ogc_api_timeout_s: float = Field(60, gt=0, description="one API call, connect and reply")
    ogc_api_retry_s: float = Field(120, gt=0, description="retries of one throttled or failed API call, in all")
    ogc_lease_s: float = Field(30, gt=0, description="silence after which a process working on nodes is taken for dead")
    ogc_cancel_s: float = Field(30, gt=0, description="time that a cancelled launch may take to leave things in order")
    ogc_on_cancel: Literal["cleanup", "keep"] = Field(
        "cleanup", description="machines of a cancelled launch: terminate them, or keep them for `sync`"
    )
    ogc_settle_s: float = Field(60, ge=0, description="how long after its launch a machine may not be visible yet")
    ogc_poll_s: float = Field(0.75, gt=0, description="pause between two descriptions of what boots or ends, at least")
    ogc_boot_timeout_s: float = Field(600, gt=0, description="from the launch call until a machine runs")
    ogc_terminate_timeout_s: float = Field(600, gt=0, description="from the terminate call until a machine is gone")

    ogc_ssh_port: int = Field(22, ge=1, le=MAX_PORT, description="SSH port of layouts that name none")
    ogc_ssh_timeout_s: float = Field(180, gt=0, description="from running until the node accepts an SSH session")
    ogc_jump_host: str | None = Field(
        None, description="SSH server to go through, `user@host:port`, of layouts that name none"
    )
    ogc_known_hosts: Path = Field(
        Path("~/.ssh/known_hosts"), description="where the jump host's own host key is looked up"
    )
    ogc_ready_timeout_s: float = Field(
        600, gt=0, description="from the SSH session until the node is ready for its scripts"
    )
    ogc_max_handshakes: int = Field(50, ge=1, le=1000, description="SSH handshakes under way at once")
    ogc_max_nodes: int = Field(200, ge=1, le=10000, description="nodes worked on over SSH at once")
    ogc_step_timeout_s: float = Field(3600, gt=0, description="one script or command, unless the layout says")
    ogc_transfer_timeout_s: float = Field(600, gt=0, description="one node's file transfer")
    ogc_output_limit: int = Field(1_048_576, ge=1024, description="bytes of a step's output kept; the middle is cut")

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """What is given, the environment, and files where there are to be any: each source costs as much as another."""
        files = ((dotenv_settings, "env_file"), (file_secret_settings, "secrets_dir"))
        return (init_settings, env_settings, *(source for source, file in files if getattr(source, file, None)))

    def database_url(self) -> URL:
        """The database to use: ``OGC_DATABASE_URL``, else PostgreSQL if any ``POSTGRES_*`` is set, else embedded."""
        if self.ogc_database_url is not None:
            return supported_url(self.ogc_database_url.get_secret_value(), "OGC_DATABASE_URL")
        named = (self.postgres_host, self.postgres_port, self.postgres_db, self.postgres_user, self.postgres_password)
        if any(value is not None for value in named):
            return self._postgres_url()
        folder = self.ogc_data_dir or user_data_path("ogc", appauthor=False)
        return URL.create("sqlite+aiosqlite", database=str(folder / "ogc.db"))

    def _postgres_url(self) -> URL:
        host = self.postgres_host or "localhost"
        password = self.postgres_password.get_secret_value() if self.postgres_password else "postgres"
        # A path is the folder of a Unix socket, which asyncpg takes from the query.
        by_socket = host.startswith("/")
        return URL.create(
            "postgresql+asyncpg",
            username=self.postgres_user or "postgres",
            password=password,
            host=None if by_socket else host,
            port=None if by_socket else self.postgres_port or 5432,
            database=self.postgres_db or "ogc",
            query={"host": host, "port": str(self.postgres_port or 5432)} if by_socket else {},
        )


def known_secrets(settings: Settings) -> tuple[str, ...]:
    """Values that must not be stored or shown, wherever they come up: of the settings, and of the environment."""
    own = [value.get_secret_value() for _, value in settings if isinstance(value, SecretStr)]
    if settings.ogc_database_url is not None:
        own.append(settings.database_url().password or "")
    if settings.google_application_credentials is not None:
        own += _secrets_in(settings.google_application_credentials)
    named = [value for name, value in os.environ.items() if _SECRET_NAME.search(name.upper())]
    return tuple(dict.fromkeys(filter(None, (*own, *named))))


def _secrets_in(credentials: Path) -> list[str]:
    """The secret values of a Google credentials file; none where it can not be read, which its user will be told."""
    try:
        content = json.loads(credentials.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return []
    source = content.get("source_credentials") or {} if isinstance(content, dict) else {}
    return [str(each[name]) for each in (content, source) if isinstance(each, dict) for name in _GOOGLE if name in each]


def shared_environment(names: Collection[str] = ()) -> dict[str, str]:
    """The part of the environment that scripts and templates may see: ``OGC_*`` and ``names``, but no setting of ours.

    Raises :class:`SettingsError` for a name that is not set, or that names a setting and so may be a credential.
    """
    for name in names:
        if _is_ours(name):
            raise SettingsError(f"env: {name} is a setting of this program and never leaves it; use another variable")
        if name not in os.environ:
            raise SettingsError(f"env: {name} is not set in the environment")
    return {
        name: value
        for name, value in os.environ.items()
        if name in names or (name.startswith("OGC_") and not _is_ours(name))
    }


def _is_ours(name: str) -> bool:
    """A setting, in whatever letters, or a relative of a cloud's or database's credentials."""
    upper = name.upper()
    return upper.lower() in Settings.model_fields or upper.startswith(("AWS_", "GOOGLE_", "POSTGRES_"))


def login_name() -> str:
    """The name this process's user logged in with."""
    try:
        return getpass.getuser()
    except OSError:
        return "ogc"


def load_settings(env_file: Path | str | None = ".env") -> Settings:
    """Read the settings now; ``env_file`` is looked up from the working folder.

    Raises :class:`SettingsError` with one line a wrong variable; values never appear in it.
    """
    try:
        return Settings(_env_file=env_file)
    except ValidationError as error:
        lines = [f"{'.'.join(map(str, each['loc'])).upper()}: {each['msg']}" for each in error.errors()]
        raise SettingsError("settings:\n" + "\n".join(lines)) from None
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"{env_file}: {error}") from None


def supported_url(given: str | URL, name: str = "database URL") -> URL:
    """The URL with the driver that this package uses. Raises :class:`SettingsError` for any other database."""
    url = _parsed(given)
    if url is None:
        raise SettingsError(f"{name}: not a database URL; write postgresql://user@host:5432/name")
    if url.port is not None and not 0 < url.port <= MAX_PORT:
        raise SettingsError(f"{name}: {url.port} is no port; write one from 1 to {MAX_PORT}, or none")
    driver = DRIVERS.get(url.get_backend_name())
    if driver is None:
        raise SettingsError(f"{name}: {url.drivername} is not supported; use postgresql:// or sqlite:///")
    return url.set(drivername=driver)


def _parsed(given: str | URL) -> URL | None:
    """Nothing for what cannot be read: the parser's own errors quote it, and may quote its password."""
    try:
        return make_url(given)
    except (ArgumentError, ValueError):
        return None
