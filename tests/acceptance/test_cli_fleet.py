"""What stands around a fleet: OpenSSH, other tools, a colleague, key pairs, pictures."""

from __future__ import annotations

import json
import os
import re
import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from xml.etree import ElementTree

import pytest

from tests.acceptance.conftest import Ogc
from tests.cloud import Cloud
from tests.integration.actions.common import user_data_of
from tests.programs import run

OGC = [sys.executable, "-m", "ogc_async"]


HOSTILE = {
    "name": "../../../pwned",
    "username": "u\n    ProxyCommand touch pwned",
    "public_ip": "192.0.2.1\n    ProxyCommand touch pwned",
    "host_key": "ssh-ed25519 AAAA\n* ssh-ed25519 AAAA",
}


def change_row(folder: Path, field: str, value: str) -> None:
    """Put it on the first node's record, as nothing of this release would."""
    with closing(sqlite3.connect(folder / "data/ogc.db")) as connection, connection:
        connection.execute(f"UPDATE nodes SET {field} = ? WHERE id = 1", (value,))  # a field of ours


@pytest.fixture
def kind() -> str:
    return "sqlite"


@pytest.fixture(scope="session")
def ssh_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the system's OpenSSH client is; fetched, without root, where it is not installed."""
    installed = shutil.which("ssh")
    if installed:
        return Path(installed).parent
    folder = tmp_path_factory.mktemp("openssh")
    for words in (["apt-get", "download", "openssh-client"], ["sh", "-c", "dpkg -x openssh-client_*.deb ."]):
        subprocess.run(words, cwd=folder, check=True, capture_output=True, timeout=120)
    return folder / "usr/bin"


def test_ssh_logs_in_with_the_pinned_key_and_passes_on_how_it_ended(
    fleet: Ogc, ssh_folder: Path, ogc_environment: dict[str, str], tmp_path: Path
) -> None:
    path = f"{ssh_folder}{os.pathsep}{ogc_environment['PATH']}"
    done = fleet("ssh", "1", "--", "echo here; exit 7", PATH=path)
    assert (done.returncode, done.stdout) == (7, "here\n"), done.stderr
    trusted = tmp_path / "data/known_hosts"
    assert trusted.stat().st_mode & 0o077 == 0
    assert len(trusted.read_text().splitlines()) == 14

    block = fleet("ssh-config", "--write", "config")
    assert (block.returncode, block.stdout) == (0, "config: 7 nodes\n")
    config = (tmp_path / "work/config").read_text()
    names = re.findall(r"^Host (\S+)$", config, re.MULTILINE)
    assert len(names) == 7
    again = fleet("ssh-config", "--layout", "worker", "--write", "config")
    assert again.stdout == "config: 3 nodes\n"
    printed = fleet("ssh-config").stdout
    (tmp_path / "work/config").write_text(printed)
    assert printed == config
    other = [ssh_folder / "ssh", "-F", "config", names[0], "echo by name"]
    said = run(other, env=ogc_environment, cwd=tmp_path / "work")
    assert (said.returncode, said.stdout) == (0, "by name\n"), said.stderr

    # Another key in its place: OpenSSH refuses the node, whatever the user's own configuration says.
    swapped = trusted.read_text().splitlines()
    keys = [line.split(" ", 1)[1] for line in swapped]
    trusted.write_text("\n".join(f"{name} {keys[-1]}" for name in names) + "\n")
    refused = run(other, env=ogc_environment, cwd=tmp_path / "work")
    assert refused.returncode == 255
    assert "HOST IDENTIFICATION HAS CHANGED" in refused.stderr
    assert fleet("rm-all", "--yes", "--force").returncode == 0


def test_a_node_that_nobody_has_met_is_met_before_openssh_is_trusted_with_it(
    ogc: Ogc, ssh_folder: Path, ogc_environment: dict[str, str]
) -> None:
    assert ogc("init").returncode == 0
    assert ogc("launch", "worker", "--no-deploy").returncode == 0
    assert ogc("ssh-config").stdout.count("no host key on record yet") == 3
    path = f"{ssh_folder}{os.pathsep}{ogc_environment['PATH']}"
    done = ogc("ssh", "1", "--", "echo here", PATH=path)
    assert (done.returncode, done.stdout) == (0, "here\n"), done.stderr
    assert ogc("ssh-config").stdout.count("no host key on record yet") == 2
    assert ogc("rm-all", "--yes", "--force").returncode == 0


def test_a_host_key_is_known_before_first_contact_and_its_private_half_is_found_nowhere(
    ogc: Ogc, ssh_folder: Path, ogc_environment: dict[str, str], tmp_path: Path, cloud: Cloud
) -> None:
    assert ogc("init").returncode == 0
    said = [ogc("launch", "web", "--no-deploy", "-vv", "--log-file", "ogc.log")]
    assert said[0].returncode == 0, said[0].stderr
    config = ogc("ssh-config", "--write", "config")
    assert (config.returncode, config.stdout) == (0, "config: 4 nodes\n")
    path = f"{ssh_folder}{os.pathsep}{ogc_environment['PATH']}"
    done = ogc("ssh", "1", "--", "echo here", PATH=path)
    assert (done.returncode, done.stdout) == (0, "here\n"), done.stderr
    said += [config, done, ogc("ls", "--json"), ogc("show", "1"), ogc("export-env", "fleet.json")]
    assert ogc("rm-all", "--yes", "--force").returncode == 0

    told = user_data_of(cloud, json.loads(said[3].stdout)["nodes"][0]["instance_id"])
    private = told.partition("BEGIN OPENSSH PRIVATE KEY-----\n")[2].partition("-----END")[0].split()
    assert len(private) == 5
    written = [path for path in tmp_path.rglob("*") if path.is_file() and "keys" not in path.parts]
    assert {"ogc.log", "fleet.json", "config", "known_hosts"} <= {path.name for path in written}
    texts = [each.stdout + each.stderr for each in said] + [path.read_bytes().decode("latin-1") for path in written]
    # The first line says only of what kind the key is.
    for line in private[1:]:
        assert not [text for text in texts if line in text]


def test_a_colleague_takes_the_fleet_over_from_a_file_without_secrets(
    fleet: Ogc, ogc_environment: dict[str, str], work_folder: Path, tmp_path: Path, cloud: Cloud
) -> None:
    (work_folder / "fleet.json").touch(mode=0o666)
    done = fleet("export-env", "fleet.json")
    assert done.returncode == 0, done.stderr
    assert "fleet.json: 7 nodes, and no secret; addresses and names are in it, so only you may read it" in done.stdout
    assert (work_folder / "fleet.json").stat().st_mode & 0o777 == 0o600
    text = (work_folder / "fleet.json").read_text()
    key = (work_folder / "keys/ogc_ed25519").read_text().splitlines()[1]
    for secret in (cloud.environment["AWS_SECRET_ACCESS_KEY"], cloud.environment["AWS_ACCESS_KEY_ID"], key):
        assert secret not in text
    assert str(work_folder) not in text

    colleague = tmp_path / "colleague"
    shutil.copytree(work_folder, colleague)
    environment = ogc_environment | {"OGC_DATA_DIR": str(tmp_path / "elsewhere")}

    def theirs(*words: str) -> str:
        said = run([*OGC, *words], env=environment, cwd=colleague)
        assert said.returncode == 0, said.stderr
        return said.stdout

    assert "7 of 7 nodes taken over from Ada" in theirs("import-env", "fleet.json")
    assert "0 of 7 nodes taken over" in theirs("import-env", "fleet.json")
    assert theirs("plan") == "cloud, database and spec agree, nothing to do\n"
    assert theirs("exec", "echo $OGC_NODE_NAME", "--all").count("ogc-") == 14
    assert "tore down 7 of 7 nodes" in theirs("rm-all", "--yes")

    other = ogc_environment | {"OGC_DATA_DIR": str(tmp_path / "third")}
    assert run([*OGC, "init", "--name", "Eve"], env=other, cwd=tmp_path).returncode == 0
    refused = run([*OGC, "import-env", str(work_folder / "fleet.json")], env=other, cwd=tmp_path)
    assert refused.returncode == 1
    assert "this database has a user of its own, eve" in refused.stderr


def test_a_hostile_file_changes_nothing_and_a_hostile_row_goes_nowhere(
    ogc: Ogc, work_folder: Path, tmp_path: Path, ssh_folder: Path, ogc_environment: dict[str, str]
) -> None:
    path = f"{ssh_folder}{os.pathsep}{ogc_environment['PATH']}"
    assert ogc("init").returncode == 0
    assert ogc("launch", "web", "--no-deploy").returncode == 0
    assert ogc("export-env", "fleet.json").returncode == 0
    document = json.loads((work_folder / "fleet.json").read_text())
    on_record = ogc("ls", "--json").stdout
    files = sorted(tmp_path.rglob("*"))
    for field, value in HOSTILE.items():
        changed = [node | {"name": f"ogc-new-{place}"} for place, node in enumerate(document["nodes"])]
        changed[-1][field] = value
        (work_folder / "fleet.json").write_text(json.dumps(document | {"nodes": changed}))
        done = ogc("import-env", "fleet.json")
        assert (done.returncode, done.stdout) == (1, ""), done.stderr
        assert f"nodes[{len(changed) - 1}].{field}: must be " in done.stderr
    assert ogc("ls", "--json").stdout == on_record

    # As a release without these rules took it in.
    for field, value in HOSTILE.items():
        change_row(tmp_path, field, value)
        for words in (("ssh", "1", "true"), ("ssh-config",), ("ssh-config", "--write", "config")):
            done = ogc(*words, PATH=path)
            assert (done.returncode, done.stdout) == (1, ""), (words, done.stdout, done.stderr)
            assert f"its {field} on record must be " in done.stderr
        assert ogc("ssh", "2", "true", PATH=path).returncode == 0
        change_row(tmp_path, field, document["nodes"][0][field])
    change_row(tmp_path, "name", HOSTILE["name"])
    for words in (("pull-files", "x", "--all", "--into", "pulled"), ("rm", "1", "--yes")):
        if words[0] == "rm":
            change_row(
                tmp_path, "spec", json.dumps(document["nodes"][0]["spec"] | {"artifacts": ["x"], "scripts": None})
            )
        done = ogc(*words)
        assert done.returncode == 1
        assert "its name on record must be a node's name" in done.stdout + done.stderr
    assert [each for each in sorted(tmp_path.rglob("*")) if each not in files and "data" not in each.parts] == []
    assert ogc("rm-all", "--yes", "--force").returncode == 0


def test_a_secret_in_a_row_is_not_handed_over(ogc: Ogc, work_folder: Path, cloud: Cloud) -> None:
    assert ogc("init").returncode == 0
    spec = work_folder / "ogc.yml"
    secret = cloud.environment["AWS_SECRET_ACCESS_KEY"]
    spec.write_text(spec.read_text().replace("    scale: 4\n", f"    scale: 4\n    labels: {{note: {secret}}}\n"))
    assert ogc("launch", "web", "--no-deploy").returncode == 0
    done = ogc("export-env", "fleet.json")
    assert (done.returncode, done.stdout) == (1, "")
    assert "AWS_SECRET_ACCESS_KEY stands in a node's row" in done.stderr
    assert secret not in done.stderr
    assert not (work_folder / "fleet.json").exists()
    assert ogc("rm-all", "--yes", "--force").returncode == 0


def test_only_our_own_key_pairs_are_listed_and_removed(ogc: Ogc, cloud: Cloud, tmp_path: Path) -> None:
    assert ogc("init", "--name", "Ada").returncode == 0
    elsewhere = str(tmp_path / "elsewhere")
    assert ogc("init", "--name", "Ada", OGC_DATA_DIR=elsewhere).returncode == 0
    for folder in ({}, {"OGC_DATA_DIR": elsewhere}):
        assert ogc("launch", "web", "--no-deploy", **folder).returncode == 0
    (mine,) = re.findall(r"^(ogc-ada-\S+)  web ", ogc("ls-key-pairs").stdout, re.MULTILINE)
    kept = ogc("rm-key-pairs", mine)
    assert (kept.returncode, kept.stdout) == (1, "removed 0 of 1 key pairs\n")
    assert f"{mine}: live nodes of web use it" in kept.stderr
    removed = ogc("rm-key-pairs", "ogc-ada-*", "--force", "--yes")
    assert removed.stdout == "removed 1 of 1 key pairs\n"
    assert ogc("ls-key-pairs").stdout == "no key pairs of ours\n"
    assert ogc("ls-key-pairs", OGC_DATA_DIR=elsewhere).stdout.count("ogc-ada-") == 1
    for folder in ({}, {"OGC_DATA_DIR": elsewhere}):
        assert ogc("rm-all", "--yes", "--force", **folder).returncode == 0


def test_what_is_shown_is_drawn_into_files(fleet: Ogc, work_folder: Path) -> None:
    for words in (("ls",), ("status",), ("inspect", "--all"), ("inspect", "--all", "--timeline")):
        shown = fleet(*words).stdout
        for ending in ("svg", "html"):
            done = fleet(*words, "--export", f"picture.{ending}")
            assert done.returncode == 0, done.stderr
            assert done.stdout.split("\n")[0] == shown.split("\n")[0]
            text = (work_folder / f"picture.{ending}").read_text()
            assert "web" in text
            if ending == "svg":
                assert ElementTree.fromstring(text).tag == "{http://www.w3.org/2000/svg}svg"
            else:
                assert text.startswith("<!DOCTYPE html>")
    listed = json.loads(fleet("ls", "--json", "--export", "listed.svg").stdout)
    assert all(node["name"] in (work_folder / "listed.svg").read_text() for node in listed["nodes"])
    assert fleet("rm-all", "--yes", "--force").returncode == 0
