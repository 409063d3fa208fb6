"""Each key of a layout: what it takes, what it means, and the sentence that refuses the rest."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from ogc_async.spec import Layout
from ogc_async.spec.layout import Ready
from ogc_async.types import Port, Then, Ttl
from tests.unit.spec.conftest import HEAD, Load, Problems


def _web(load: Load, line: str) -> Layout:
    return load(HEAD + f"    {line}\n").layout("web")


FORMS = "write a port such as 80, '8000-8100' or '53/udp'"


@pytest.mark.parametrize(
    ("written", "ports"),
    [
        ("80", [Port(80, 80)]),
        ("'80'", [Port(80, 80)]),
        ("[]", []),
        ("[80, '443']", [Port(80, 80), Port(443, 443)]),
        ("8000-8100", [Port(8000, 8100)]),
        ("53/udp", [Port(53, 53, "udp")]),
        ("53/UDP", [Port(53, 53, "udp")]),
        ("60000-61000/udp", [Port(60000, 61000, "udp")]),
        ("80/tcp", [Port(80, 80)]),
        ("80:80", [Port(80, 80)]),
        ("53:53/udp", [Port(53, 53, "udp")]),
        ("7000-7001:7000-7001", [Port(7000, 7001)]),
        ("[80, '80:80', 80/tcp, 80/udp]", [Port(80, 80), Port(80, 80, "udp")]),
        ("[1, 65535]", [Port(1, 1), Port(65535, 65535)]),
    ],
)
def test_ports_are_numbers_ranges_and_protocols(load: Load, written: str, ports: list[Port]) -> None:
    assert _web(load, f"ports: {written}").ports == tuple(ports)


@pytest.mark.parametrize(
    ("written", "told"),
    [
        ("0", "'0': a port is a number from 1 to 65535"),
        ("65536", "'65536': a port is a number from 1 to 65535"),
        ("1-70000", "'1-70000': a port is a number from 1 to 65535"),
        ("90-80", "'90-80': the first port of a range is its lower one; write '80-90'"),
        ("80/icmp", f"'80/icmp': the protocol must be tcp or udp; {FORMS}"),
        ("80/", f"'80/': the protocol must be tcp or udp; {FORMS}"),
        ("http", f"must be a port, not 'http'; {FORMS}"),
        ("''", f"must be a port, not ''; {FORMS}"),
        ("-1", f"must be a port, not '-1'; {FORMS}"),
        ("1.5", f"must be a port, not 1.5; {FORMS}"),
        ("true", f"must be a port, not true; {FORMS}"),
        ("٨٠", f"must be a port, not '٨٠'; {FORMS}"),
        (
            "8080:80",
            (
                "'8080:80' maps one port to another, and a machine has no port mapping;"
                " write the port that the program listens on, '80'"
            ),
        ),
    ],
)
def test_what_is_no_port_is_refused_with_the_forms_that_are(problems: Problems, written: str, told: str) -> None:
    quoted = f"'{written}'" if written not in ("1.5", "true", "''") else written
    assert problems(HEAD + f"    ports: [22, {quoted}]\n") == [f"ogc.yml:9:17: layouts.web.ports[1]: {told}"]


@pytest.mark.parametrize(
    ("written", "time"),
    [
        ("90", timedelta(seconds=90)),
        ("'90'", timedelta(seconds=90)),
        ("90.5", timedelta(seconds=90.5)),
        ("45s", timedelta(seconds=45)),
        ("30m", timedelta(minutes=30)),
        ("4h", timedelta(hours=4)),
        ("2d", timedelta(days=2)),
        ("1h30m", timedelta(minutes=90)),
        ("1.5 H", timedelta(minutes=90)),
        ("120d", timedelta(days=120)),
        ("~", None),
    ],
)
def test_a_ttl_is_seconds_or_numbers_with_units(load: Load, written: str, time: timedelta | None) -> None:
    assert _web(load, f"ttl: {written}").ttl == time


@pytest.mark.parametrize(
    ("written", "told"),
    [
        ("soon", "must be a time such as 90 (seconds), 30m, 4h or 2d, not 'soon'"),
        ("4 weeks", "must be a time such as 90 (seconds), 30m, 4h or 2d, not '4 weeks'"),
        ("true", "must be a time such as 90 (seconds), 30m, 4h or 2d, not true"),
        ("[1h]", "must be a time such as 90 (seconds), 30m, 4h or 2d, not a list"),
        (".nan", "must be a time such as 90 (seconds), 30m, 4h or 2d, not .nan"),
        (".inf", "must be a time from 30s to 120d, not .inf"),
        ("0", "must be a time from 30s to 120d, not 0"),
        ("-90", "must be a time from 30s to 120d, not -90"),
        ("29s", "must be a time from 30s to 120d, not '29s'"),
        ("121d", "must be a time from 30s to 120d, not '121d'"),
        ("9" * 400, f"must be a time from 30s to 120d, not {'9' * 60}…"),
    ],
)
def test_what_is_no_ttl_is_refused(problems: Problems, written: str, told: str) -> None:
    assert problems(HEAD + f"    ttl: {written}\n") == [f"ogc.yml:9:10: layouts.web.ttl: {told}"]


@pytest.mark.parametrize(
    ("written", "then"),
    [
        ("4h", Then.END),
        ("{after: 4h}", Then.END),
        ("{after: 4h, then: end}", Then.END),
        ("{after: 240m, then: replace}", Then.REPLACE),
        ("{after: 14400, then: stop}", Then.STOP),
    ],
)
def test_a_ttl_says_what_follows_it(load: Load, written: str, then: Then) -> None:
    ttl = _web(load, f"ttl: {written}").ttl
    assert ttl == timedelta(hours=4)
    assert ttl is not None
    assert ttl.then is then
    assert ttl == Ttl.of(timedelta(hours=4), then)


@pytest.mark.parametrize(
    ("written", "told"),
    [
        ("{}", "needs the key after: a time such as 4h"),
        ("{then: end}", "needs the key after: a time such as 4h"),
        ("{after: soon}", "after: must be a time such as 90 (seconds), 30m, 4h or 2d, not 'soon'"),
        ("{after: ~}", "after: must be a time such as 90 (seconds), 30m, 4h or 2d, not nothing"),
        ("{after: 1s}", "after: must be a time from 30s to 120d, not '1s'"),
        ("{after: 4h, then: ends}", "then: must be 'end', 'replace' or 'stop', not 'ends'; did you mean 'end'?"),
        ("{after: 4h, then: delete}", "then: must be 'end', 'replace' or 'stop', not 'delete'; did you mean 'end'?"),
        ("{after: 4h, then: ~}", "then: must be 'end', 'replace' or 'stop', not nothing"),
        ("{after: 4h, than: end}", "has no key 'than', only after and then; did you mean 'then'?"),
    ],
)
def test_what_is_no_life_is_refused_with_what_is_wrong_in_it(problems: Problems, written: str, told: str) -> None:
    (problem,) = problems(HEAD + f"    ttl: {written}\n")
    assert problem.partition(": layouts.web.ttl: ")[2] == told


def test_timeouts_are_seconds_however_they_are_written(load: Load) -> None:
    timeouts = _web(load, "timeouts: {boot: 5m, ssh: 90, step: 1.5, transfer: 1h, terminate: ~}").timeouts
    assert (timeouts.boot, timeouts.ssh, timeouts.step, timeouts.transfer, timeouts.terminate) == (
        300.0,
        90.0,
        1.5,
        3600.0,
        None,
    )


@pytest.mark.parametrize(
    ("written", "size_gib"),
    [("50", 50), ("'50'", 50), ("50GiB", 50), ("50GB", 50), ("50 gb", 50), ("50G", 50), ("2TiB", 2048), ("~", None)],
)
def test_a_disk_size_is_in_gib(load: Load, written: str, size_gib: int | None) -> None:
    assert _web(load, f"disk-size: {written}").disk_size == size_gib


@pytest.mark.parametrize(
    ("written", "told"),
    [
        ("big", "must be a disk's size in GiB, such as 50 or 50GiB, not 'big'"),
        ("50MB", "must be a disk's size in GiB, such as 50 or 50GiB, not '50MB'"),
        ("1.5", "must be a disk's size in GiB, such as 50 or 50GiB, not 1.5"),
        ("-5", "must be a disk's size in GiB, such as 50 or 50GiB, not -5"),
        ("true", "must be a disk's size in GiB, such as 50 or 50GiB, not true"),
        ("0", "must be from 1 to 65536 GiB, not 0"),
        ("65TiB", "must be from 1 to 65536 GiB, not '65TiB'"),
    ],
)
def test_what_is_no_disk_size_is_refused(problems: Problems, written: str, told: str) -> None:
    assert problems(HEAD + f"    disk-size: {written}\n") == [f"ogc.yml:9:16: layouts.web.disk-size: {told}"]


@pytest.mark.parametrize(
    ("written", "networks"),
    [
        ("10.0.0.0/8", ("10.0.0.0/8",)),
        ("[10.0.0.0/8, 192.0.2.7]", ("10.0.0.0/8", "192.0.2.7/32")),
        ("10.0.0.0/255.0.0.0", ("10.0.0.0/8",)),
        ("'2001:DB8:0::/48'", ("2001:db8::/48",)),
        ("[10.0.0.0/8, 10.0.0.0/8]", ("10.0.0.0/8",)),
    ],
)
def test_ingress_is_a_list_of_networks_in_one_spelling(load: Load, written: str, networks: tuple[str, ...]) -> None:
    assert _web(load, f"ingress: {written}").ingress == networks


@pytest.mark.parametrize(
    ("written", "told"),
    [
        ("office", "must be a network such as 10.0.0.0/8, not 'office'"),
        ("10.0.0.0/33", "must be a network such as 10.0.0.0/8, not '10.0.0.0/33'"),
        (
            "10.1.2.3/8",
            (
                "must be a network such as 10.0.0.0/8, not '10.1.2.3/8', which is an address inside of one;"
                " did you mean '10.0.0.0/8'?"
            ),
        ),
        ("10", "must be text, not 10; put it in quotes"),
        ("[]", "must not be an empty list: nothing could reach the nodes, SSH neither; name a network"),
    ],
)
def test_what_is_no_network_is_refused(problems: Problems, written: str, told: str) -> None:
    assert problems(HEAD + f"    ingress: {written}\n") == [f"ogc.yml:9:14: layouts.web.ingress: {told}"]


@pytest.mark.parametrize(("written", "scale"), [("0", 0), ("1", 1), ("10000", 10000)])
def test_scale_is_a_whole_number(load: Load, written: str, scale: int) -> None:
    assert _web(load, f"scale: {written}").scale == scale


@pytest.mark.parametrize(
    ("written", "shown"),
    [
        ("many", "'many'"),
        ("'3'", "'3'"),
        ("-1", "-1"),
        ("10001", "10001"),
        ("1.0", "1.0"),
        ("true", "true"),
        ("[1]", "a list"),
        ("{a: 1}", "a mapping"),
    ],
)
def test_what_is_no_scale_is_refused(problems: Problems, written: str, shown: str) -> None:
    assert problems(HEAD + f"    scale: {written}\n") == [
        f"ogc.yml:9:12: layouts.web.scale: must be a whole number from 0 to 10000, not {shown}"
    ]


def test_a_key_without_a_value_is_told_at_the_key(problems: Problems) -> None:
    assert problems(HEAD + "    scale:\n    labels:\n    tags:\n    timeouts:\n") == [
        "ogc.yml:9:5: layouts.web.scale: must be a whole number from 0 to 10000, not nothing",
        "ogc.yml:10:5: layouts.web.labels: must be keys and values, not nothing",
        "ogc.yml:11:5: layouts.web.tags: must be a list, not nothing",
        "ogc.yml:12:5: layouts.web.timeouts: must be keys and values, not nothing",
    ]


@pytest.mark.parametrize(
    ("written", "arch"),
    [("x86_64", "x86_64"), ("amd64", "x86_64"), ("arm64", "arm64"), ("aarch64", "arm64")],
)
def test_both_names_of_each_architecture_are_known(load: Load, written: str, arch: str) -> None:
    assert _web(load, f"arch: {written}").arch == arch


@pytest.mark.parametrize(
    ("written", "hint"),
    [
        ("asw", "'asw'; did you mean 'aws'?"),
        ("googel", "'googel'; did you mean 'google'?"),
        ("gcp", "'gcp'; did you mean 'google'?"),
        ("AWS", "'AWS'; did you mean 'aws'?"),
        ("azure", "'azure'"),
        ("7", "7"),
    ],
)
def test_an_unknown_provider_is_told_with_the_nearest_one(problems: Problems, written: str, hint: str) -> None:
    assert problems(HEAD.replace("provider: aws", f"provider: {written}")) == [
        f"ogc.yml:6:15: layouts.web.provider: must be 'aws' or 'google', not {hint}"
    ]


@pytest.mark.parametrize(
    ("written", "path"),
    [("work", "work"), ("work/", "work"), ("./a//b", "a/b"), ("/srv/app", "/srv/app"), ("a b", "a b")],
)
def test_remote_path_is_a_folder_in_one_spelling(load: Load, written: str, path: str) -> None:
    assert _web(load, f"remote-path: {written}").remote_path == path


@pytest.mark.parametrize(
    ("written", "told"),
    [
        ("''", "must not be empty"),
        ("' '", "must not be empty"),
        (".", "must be a folder of its own, such as 'ogc', not '.'"),
        ("/", "must be a folder of its own, such as 'ogc', not '/'"),
        ("//", "must be a folder of its own, such as 'ogc', not '//'"),
        ("../x", "must not contain '..', as '../x' does"),
        ("/srv/../..", "must not contain '..', as '/srv/../..' does"),
        ("~/x", "starts in the login user's home by itself; write 'x'"),
        ('"a\\nb"', "must be one line without control characters, not 'a\\nb'"),
        ("5", "must be text, not 5; put it in quotes"),
    ],
)
def test_a_remote_path_that_could_hit_other_files_is_refused(problems: Problems, written: str, told: str) -> None:
    assert problems(HEAD + f"    remote-path: {written}\n") == [f"ogc.yml:9:18: layouts.web.remote-path: {told}"]


@pytest.mark.parametrize("key", ["include", "exclude", "artifacts", "tags", "zones", "env"])
def test_a_single_value_stands_for_a_list_of_one_and_repeats_count_once(load: Load, key: str) -> None:
    assert getattr(_web(load, f"{key}: abc"), key) == ("abc",)
    assert getattr(_web(load, f"{key}: [b, a, b]"), key) == ("b", "a")


def test_tags_and_labels_are_kept_as_they_are_written(load: Load) -> None:
    web = load(HEAD + "    tags: [1.10, true, a]\n    labels: {v: 1.10, on: True, n: 007, e: '', 5: x}\n").layout("web")
    assert web.tags == ("1.10", "true", "a")
    assert web.labels == {"v": "1.10", "on": "True", "n": "007", "e": "", "5": "x"}


MISSING = "is missing; write one, for example `private: ~/.ssh/id_ed25519`"
KEPT = "'ogc:owner': labels that begin so are kept for the cloud's and this program's own use"


@pytest.mark.parametrize(
    ("line", "column", "key", "told"),
    [
        ("labels: {a: [b]}", 17, "labels.a", "must be text, not a list"),
        ("labels: {a: }", 14, "labels.a", "must be text, not nothing"),
        ('labels: {a: "b\\nc"}', 17, "labels.a", "must be one line without control characters, not 'b\\nc'"),
        ("labels: {ogc:owner: me}", 14, "labels.ogc:owner", KEPT),
        ("labels: x", 13, "labels", "must be keys and values, not 'x'"),
        ("tags: [a, {}]", 15, "tags[1]", "must be text, not a mapping"),
        ("tags: [a, '']", 15, "tags[1]", "must not be empty"),
        ("tags: {a: b}", 11, "tags", "must be a list, not a mapping"),
        ("env: [A, B-C]", 14, "env[1]", "must be the name of an environment variable, not 'B-C'"),
        ("region: US East", 13, "region", "must be lowercase letters, digits and '-', not 'US East'"),
        ("zones: [a/b]", 13, "zones[0]", "must be lowercase letters, digits and '-', not 'a/b'"),
        ("username: 'a:b'", 15, "username", "must be a user's name, not 'a:b'"),
        ("username: 1000", 15, "username", "must be text, not 1000; put it in quotes"),
        ("spot: maybe", 11, "spot", "must be true or false, not 'maybe'"),
        ("spot: yes", 11, "spot", "must be true or false, not 'yes'"),
        ("ssh-port: 0", 15, "ssh-port", "must be a whole number from 1 to 65535, not 0"),
        ("on-failure: stopp", 17, "on-failure", "must be 'stop' or 'continue', not 'stopp'; did you mean 'stop'?"),
        ("ready: sh", 12, "ready", "must be ssh, cloud-init, or keys and values, not 'sh'"),
        ("ready: [ssh]", 12, "ready", "must be ssh, cloud-init, or keys and values, not a list"),
        ("ready: {prt: 1}", 13, "ready.prt", "unknown key 'prt'; did you mean 'port'?"),
        ("ready: {port: 0}", 19, "ready.port", "must be a whole number from 1 to 65535, not 0"),
        ("jump-host: bastion", 16, "jump-host", "must be user@host or user@host:port, not 'bastion'"),
        ("address: inner", 14, "address", "must be 'public' or 'private', not 'inner'"),
        ("platform: win", 15, "platform", "must be 'linux' or 'windows', not 'win'; did you mean 'windows'?"),
        ("timeouts: {boot: 0}", 22, "timeouts.boot", "must be a time from 1s to 120d, not 0"),
        ("timeouts: {bot: 5}", 16, "timeouts.bot", "unknown key 'bot'; did you mean 'boot'?"),
        ("timeouts: 5", 15, "timeouts", "must be keys and values, not 5"),
        ("scripts: [a]", 14, "scripts", "must be a path, not a list"),
        ("scripts: ''", 14, "scripts", "must be a path, not ''"),
        ('scripts: "a\\0b"', 14, "scripts", "must be a path, not 'a\\x00b'"),
        ("scripts: ~nobody-here/x", 14, "scripts", "'~nobody-here/x': there is no such user's home"),
        ("ssh-keys: {public: x}", 5, "ssh-keys.private", MISSING),
        ("ssh-keys: {privat: x, private: y}", 16, "ssh-keys.privat", "unknown key 'privat'; did you mean 'private'?"),
        ("ssh-keys: x", 15, "ssh-keys", "must be keys and values, not 'x'"),
        ("instance_size: x", 5, "instance_size", "unknown key 'instance_size'; did you mean 'instance-size'?"),
        ("Scale: 1", 5, "Scale", "unknown key 'Scale'; did you mean 'scale'?"),
        ("name: other", 5, "name", "unknown key 'name'; did you mean 'username'?"),
    ],
)
def test_a_value_that_does_not_fit_is_one_sentence_at_its_place(
    problems: Problems, line: str, column: int, key: str, told: str
) -> None:
    (problem,) = problems(HEAD + f"    {line}\n")
    assert problem == f"ogc.yml:9:{column}: layouts.web.{key}: {told}"


def test_a_gate_is_a_word_or_keys_and_values(load: Load) -> None:
    assert _web(load, "ready: ssh").ready == Ready()
    assert _web(load, "ready: cloud-init").ready == Ready(cloud_init=True)
    web = _web(load, "ready: {cloud-init: true, port: 5432, command: test -e /srv/mounted}")
    assert web.ready == Ready(cloud_init=True, port=5432, command="test -e /srv/mounted")


def test_zones_lie_in_the_region_where_one_is_named(problems: Problems, load: Load) -> None:
    assert problems(HEAD + "    region: us-east-2\n    zones: [us-east-2a, us-west-1b]\n") == [
        "ogc.yml:10:12: layouts.web.zones: 'us-west-1b' is not a zone of the region 'us-east-2'"
    ]
    assert _web(load, "zones: [us-east-2a, us-west-1b]").zones == ("us-east-2a", "us-west-1b")


def test_paths_are_absolute_and_a_tilde_is_the_home(load: Load, tmp_path: Path) -> None:
    web = load(HEAD + "    scripts: ~/scripts\n    ssh-keys: {private: /keys/a, public: b/../c.pub}\n").layout("web")
    assert web.scripts == Path.home() / "scripts"
    assert web.ssh_keys.private == Path("/keys/a")
    assert web.ssh_keys.public == tmp_path / "c.pub"


def test_text_of_absurd_length_is_refused(problems: Problems) -> None:
    (told,) = problems(HEAD + f"    username: {'a' * 2000}\n")
    assert told == "ogc.yml:9:15: layouts.web.username: must be at most 1024 characters, not 2000"
