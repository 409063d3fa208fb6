"""A user's whole environment that is in the way of everything: variables of every kind, a home, and a working folder.

``python -m tests.hostile FOLDER`` makes the files there, and prints the variables for a shell.
"""

from __future__ import annotations

import os
import shlex
import socket
import sys
from collections.abc import Mapping
from pathlib import Path

NOWHERE = "/dev/null/nowhere"
IN_EFFECT = ("python", "pytest", "make")
"""Kinds that are in effect before any line of a program is: ``make`` holds them back."""
SETTINGS = "OGC_POLL_S=hostile\nOGC_DATABASE_URL=mysql://hostile/hostile\nAWS_PROFILE=hostile\nPOSTGRES_PORT=hostile\n"
FILES = {
    "home/.aws/config": "[profile hostile\n",
    "home/.aws/credentials": "[hostile]\naws_access_key_id = hostile\nendpoint_url = http://hostile.invalid\n",
    "home/.config/gcloud/application_default_credentials.json": '{"type": "hostile"',
    "home/.config/gcloud/active_config": "hostile",
    "home/.ssh/config": "Host *\n  ProxyCommand false\n  IdentityFile /dev/null/nowhere\n  Hostile yes\n",
    "home/.ssh/known_hosts": "* ssh-ed25519 hostile\n",
    "home/.ssh/id_ed25519": "hostile\n",
    "home/.pgpass": "*:*:*:*:hostile\n",
    "home/.pg_service.conf": "[hostile]\nhost=hostile.invalid\n",
    "home/.netrc": "default login hostile password hostile\n",
    "home/.ansible.cfg": "[hostile",
    "home/.local/share/ogc/ogc.db": "hostile",
    "modules/asyncssh.py": "raise SystemExit('hostile')\n",
    "modules/sitecustomize.py": "raise SystemExit('hostile')\n",
    "shell": "echo hostile; exit 97\n",
    ".env": SETTINGS,
    "ogc.yml": "hostile: [",
    "alembic.ini": "[hostile",
    "pytest.ini": "[pytest]\naddopts = --hostile\n",
}


def make_files(folder: Path) -> None:
    """The home and the working folder, whose every file is broken or leads astray."""
    for name, text in FILES.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def hostile_variables(folder: Path, *, database: str, proxy: str) -> dict[str, dict[str, str]]:
    """Variables by their kind; ``database`` is the user's, which must stay as it is; ``proxy`` must hear nothing."""
    home = folder / "home"
    proxies = {f"{name}_proxy": proxy for name in ("http", "https", "all", "ftp")} | {"no_proxy": "hostile.invalid"}
    return {
        "aws": {
            "AWS_PROFILE": "hostile",
            "AWS_DEFAULT_PROFILE": "hostile",
            "AWS_ACCESS_KEY_ID": "hostile",
            "AWS_SECRET_ACCESS_KEY": "hostile",
            "AWS_SESSION_TOKEN": "hostile",
            "AWS_REGION": "hostile-1",
            "AWS_DEFAULT_REGION": "hostile-1",
            "AWS_ENDPOINT_URL": proxy,
            "AWS_ENDPOINT_URL_EC2": proxy,
            "AWS_CONFIG_FILE": str(home / ".aws/config"),
            "AWS_SHARED_CREDENTIALS_FILE": str(home / ".aws/credentials"),
            "AWS_CA_BUNDLE": NOWHERE,
            "AWS_CONTAINER_CREDENTIALS_FULL_URI": proxy,
            "AWS_WEB_IDENTITY_TOKEN_FILE": NOWHERE,
            "AWS_DATA_PATH": NOWHERE,
            "AWS_RETRY_MODE": "hostile",
        },
        "google": {
            "GOOGLE_APPLICATION_CREDENTIALS": str(home / ".config/gcloud/application_default_credentials.json"),
            "GOOGLE_APPLICATION_SERVICE_ACCOUNT": "hostile",
            "GOOGLE_PROJECT": "hostile",
            "GOOGLE_CLOUD_PROJECT": "hostile",
            "GOOGLE_DATACENTER": "hostile",
            "GOOGLE_CLOUD_UNIVERSE_DOMAIN": "hostile.invalid",
            "GCE_METADATA_HOST": "hostile.invalid",
            "CLOUDSDK_CONFIG": str(home / ".config/gcloud"),
            "CLOUDSDK_CORE_PROJECT": "hostile",
            "CLOUDSDK_PYTHON": NOWHERE,
        },
        "postgres": {
            "POSTGRES_HOST": "hostile.invalid",
            "POSTGRES_PORT": "hostile",
            "POSTGRES_DB": "hostile",
            "POSTGRES_USER": "hostile",
            "POSTGRES_PASSWORD": "hostile",
            "PGHOST": "hostile.invalid",
            "PGPORT": "1",
            "PGUSER": "hostile",
            "PGDATABASE": "hostile",
            "PGDATA": NOWHERE,
            "PGOPTIONS": "-c hostile=on",
            "PGPASSFILE": str(home / ".pgpass"),
            "PGSERVICE": "hostile",
            "PGSERVICEFILE": str(home / ".pg_service.conf"),
            "PGSSLMODE": "verify-full",
            "PGTZ": "hostile",
        },
        "ours": {
            "OGC_DATABASE_URL": database,
            "OGC_DATA_DIR": NOWHERE,
            "OGC_GOOGLE_ENDPOINT": proxy,
            "OGC_POLL_S": "hostile",
            "OGC_LEASE_S": "0.001",
            "OGC_SSH_PORT": "1",
            "OGC_JUMP_HOST": "hostile@hostile.invalid",
            "OGC_MAX_NODES": "1",
            "OGC_OUTPUT_LIMIT": "hostile",
            "OGC_KNOWN_HOSTS": str(home / ".ssh/known_hosts"),
        },
        "proxies": proxies | {name.upper(): value for name, value in proxies.items()},
        "certificates": {
            **dict.fromkeys(("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "OPENSSL_CONF"), NOWHERE),
            "SSLKEYLOGFILE": NOWHERE,
        },
        "locale": {
            "LANG": "tr_TR.ISO-8859-9",
            "LC_ALL": "C",
            "LC_NUMERIC": "de_DE.UTF-8",
            "LANGUAGE": "tr",
            "TZ": "Pacific/Kiritimati",
        },
        "terminal": {
            "TERM": "hostile",
            "COLORTERM": "truecolor",
            "COLUMNS": "7",
            "LINES": "2",
            "NO_COLOR": "1",
            "FORCE_COLOR": "1",
            "CLICOLOR_FORCE": "1",
            "TTY_COMPATIBLE": "1",
            "TTY_INTERACTIVE": "1",
            "PAGER": "false",
        },
        "python": {
            "PYTHONPATH": str(folder / "modules"),
            "PYTHONWARNINGS": "error",
            "PYTHONOPTIMIZE": "2",
            "PYTHONASYNCIODEBUG": "1",
            "PYTHONDEVMODE": "1",
            "PYTHONIOENCODING": "ascii",
            "PYTHONPYCACHEPREFIX": NOWHERE,
            "VIRTUAL_ENV": NOWHERE,
        },
        "pytest": {
            "PYTEST_ADDOPTS": "--collect-only",
            "PYTEST_PLUGINS": "hostile",
            "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
            "PYTEST_DEBUG_TEMPROOT": NOWHERE,
        },
        "shell": {
            "BASH_ENV": str(folder / "shell"),
            "ENV": str(folder / "shell"),
            "CDPATH": "/",
            "GREP_OPTIONS": "--hostile",
            "SHELL": "/bin/false",
            "IFS": "/",
        },
        "tools": {
            "GIT_DIR": NOWHERE,
            "GIT_WORK_TREE": NOWHERE,
            "GIT_CONFIG_GLOBAL": NOWHERE,
            "SSH_AUTH_SOCK": NOWHERE,
            "SSH_ASKPASS": "/bin/false",
            "ANSIBLE_CONFIG": str(home / ".ansible.cfg"),
            "MPLBACKEND": "hostile",
            "ALEMBIC_CONFIG": str(folder / "alembic.ini"),
            "AIOHTTP_NO_EXTENSIONS": "1",
            "LD_LIBRARY_PATH": NOWHERE,
        },
        "folders": {
            "HOME": str(home),
            "TMPDIR": NOWHERE,
            "TMP": NOWHERE,
            "TEMP": NOWHERE,
            "USER": "hostile",
            "LOGNAME": "hostile",
            **{
                f"XDG_{each}": NOWHERE
                for each in ("CACHE_HOME", "CONFIG_HOME", "DATA_HOME", "STATE_HOME", "RUNTIME_DIR")
            },
        },
        "make": {
            "ARGS": "--hostile",
            "JOBS": "hostile",
            "PYTHON": "/bin/false",
            "TEST_TIMEOUT_S": "1",
            "ALONE": "false",
        },
    }


def flat(kinds: Mapping[str, Mapping[str, str]], *without: str) -> dict[str, str]:
    """All variables but those of some kinds."""
    return {name: value for kind, each in kinds.items() if kind not in without for name, value in each.items()}


class Theirs:
    """A user's surroundings: what is exported, the folder they stand in, their database, and a proxy that listens."""

    def __init__(self, folder: Path, database: str) -> None:
        self.folder = folder
        self._proxy = socket.create_server(("127.0.0.1", 0))
        self._proxy.setblocking(False)
        proxy = f"http://127.0.0.1:{self._proxy.getsockname()[1]}"
        self.kinds = hostile_variables(folder, database=database, proxy=proxy)
        make_files(folder)

    def environment(self, *without: str) -> dict[str, str]:
        return {"PATH": os.environ["PATH"]} | flat(self.kinds, *without)

    def were_left_alone(self) -> bool:
        """Every file as it was, no other beside them, and not one connection to the proxy."""
        files = {
            str(path.relative_to(self.folder)): path.read_text() for path in self.folder.rglob("*") if path.is_file()
        }
        return files == FILES and not self._is_asked()

    def close(self) -> None:
        self._proxy.close()

    def _is_asked(self) -> bool:
        try:
            self._proxy.accept()[0].close()
        except BlockingIOError:
            return False
        return True


if __name__ == "__main__":
    place = Path(sys.argv[1]).resolve()
    make_files(place)
    kinds = hostile_variables(place, database=f"sqlite:///{place}/theirs.db", proxy="http://127.0.0.1:9")
    for each, value in flat(kinds).items():
        print(f"export {each}={shlex.quote(value)}")
