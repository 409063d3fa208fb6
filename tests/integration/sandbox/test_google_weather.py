"""Compute Engine's weather: refusals, and replies that are no answer, as any client hears them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import pytest
import requests
from google.api_core import exceptions
from google.auth.exceptions import RefreshError

from tests import discovery
from tests.cloud import Cloud, running_sandbox
from tests.integration.sandbox.google import DEBIAN, ZONE, Google, errors, instance

REGION = ZONE.rpartition("-")[0]


@dataclass(frozen=True)
class Method:
    """A method's call about a thing of that name."""

    name: str
    verb: str
    tail: str
    makes: str = ""
    """What it makes, if it makes anything."""


INSERT = Method("instances.insert", "POST", f"zones/{ZONE}/instances", "instances")
BULK = Method("regionInstances.bulkInsert", "POST", f"regions/{REGION}/instances/bulkInsert", "instances")
FIREWALL = Method("firewalls.insert", "POST", "global/firewalls", "firewalls")
LIST = Method("instances.list", "GET", f"zones/{ZONE}/instances")
ALL = Method("instances.aggregatedList", "GET", "aggregated/instances")
ZONES = Method("zones.list", "GET", "zones")
TYPE = Method("machineTypes.get", "GET", f"zones/{ZONE}/machineTypes/e2-small")
PROJECT = Method("projects.get", "GET", "")
LISTS = (LIST, ALL, ZONES)
METHODS = (INSERT, BULK, FIREWALL, *LISTS, TYPE, PROJECT)
EVERY = pytest.mark.parametrize("method", METHODS, ids=lambda method: method.name)


class Wire:
    """Plain HTTP, with a bearer and no library that would mend or mistake anything."""

    def __init__(self, cloud: Cloud, google: Google) -> None:
        self.cloud = cloud
        self.project = google.project
        self.token = google.token

    def call(self, method: Method, word: str, project: str = "") -> requests.Response:
        path = f"/compute/v1/projects/{project or self.project}/{method.tail}".rstrip("/")
        return requests.request(
            method.verb,
            f"{self.cloud.endpoint}{path}",
            headers={"Authorization": f"Bearer {self.token}"},
            json=_body(method, word),
            allow_redirects=False,
            timeout=60,
        )

    def made(self, method: Method, word: str) -> bool:
        """What the call was to make is there."""
        state = self.cloud.state()
        names = [each["name"] for each in state["instances"]["google"]]
        return f"vm-{word}" in (names if method.makes == "instances" else state["firewalls"])


def _body(method: Method, word: str) -> dict[str, Any] | None:
    disks = [{"boot": True, "autoDelete": True, "initializeParams": {"sourceImage": DEBIAN}}]
    properties = {"disks": disks, "networkInterfaces": [{"network": "global/networks/default"}]}
    machine_type = f"zones/{ZONE}/machineTypes/e2-small"
    bodies: dict[str, dict[str, Any]] = {
        INSERT.name: {"name": f"vm-{word}", "machineType": machine_type, **properties},
        BULK.name: {
            "count": "1",
            "perInstanceProperties": {f"vm-{word}": {}},
            "instanceProperties": {"machineType": "e2-small", **properties},
        },
        FIREWALL.name: {"name": f"vm-{word}", "allowed": [{"IPProtocol": "tcp", "ports": ["80"]}]},
    }
    return bodies.get(method.name)


@pytest.fixture(scope="module")
def wire() -> Iterator[Wire]:
    """A cloud in which a machine and a firewall are there already, so that no honest list is empty."""
    with running_sandbox("--boot", "0.05", "--no-limits", "--no-ssh") as cloud:
        google = Google(cloud)
        where = {"project": google.project, "zone": ZONE}
        google.done(google.instances.insert_unary(instance_resource=instance("resident", "word"), **where))
        yield Wire(cloud, google)


def judged(method: Method, heard: requests.Response) -> list[str]:
    """What the discovery document has against the reply, whatever the request was."""
    judge = discovery.Judge()
    judge.hear(method.verb, str(heard.request.url), None, heard.status_code, heard.text)
    assert judge.heard == {method.name}
    return judge.faults


@EVERY
@pytest.mark.parametrize(
    ("word_of_fault", "status", "reason", "takes_effect"),
    [
        ("unauthenticated", 401, "authError", False),
        ("expired", 401, "authError", False),
        ("denied", 403, "forbidden", False),
        ("missing", 404, "notFound", False),
        ("precondition", 412, "conditionNotMet", False),
        ("throttled", 403, "rateLimitExceeded", False),
        ("unavailable", 503, "backendError", False),
        ("error-before", 500, "internalError", False),
        ("error-after", 500, "internalError", True),
        ("502", 502, "badGateway", False),
        ("alreadyExists", 409, "alreadyExists", False),
    ],
)
def test_a_refusal_has_the_shape_of_the_service_s(
    wire: Wire, word: str, method: Method, word_of_fault: str, status: int, reason: str, takes_effect: bool
) -> None:
    wire.cloud.plan(f"{method.name}={word_of_fault}")
    heard = wire.call(method, word)
    assert heard.status_code == status
    assert heard.json()["error"]["errors"][0]["reason"] == reason
    assert judged(method, heard) == []
    if method.makes:
        assert wire.made(method, word) == takes_effect
    assert wire.call(ZONES, word).status_code == 200


@EVERY
@pytest.mark.parametrize(
    ("word_of_fault", "status", "takes_effect"),
    [("html", 200, True), ("html-before", 200, False), ("redirect", 302, False)],
)
def test_what_stands_between_answers_in_the_service_s_place(
    wire: Wire, word: str, method: Method, word_of_fault: str, status: int, takes_effect: bool
) -> None:
    wire.cloud.plan(f"{method.name}={word_of_fault}")
    heard = wire.call(method, word)
    assert heard.status_code == status
    if status == 302:
        page = requests.get(f"{wire.cloud.endpoint}{urlsplit(heard.headers['Location']).path}", timeout=60)
        assert (page.status_code, page.headers["Content-Type"]) == (200, "text/html; charset=utf-8")
    else:
        assert heard.headers["Content-Type"] == "text/html; charset=utf-8"
        assert "<html" in heard.text
    if method.makes:
        assert wire.made(method, word) == takes_effect


@EVERY
def test_half_a_reply_is_no_json(wire: Wire, word: str, method: Method) -> None:
    wire.cloud.plan(f"{method.name}=truncated")
    heard = wire.call(method, word)
    assert (heard.status_code, heard.headers["Content-Type"]) == (200, "application/json; charset=utf-8")
    with pytest.raises(json.JSONDecodeError):
        heard.json()
    assert not method.makes or wire.made(method, word)


@EVERY
def test_a_reply_of_another_kind_is_well_formed_and_not_the_method_s(wire: Wire, word: str, method: Method) -> None:
    wire.cloud.plan(f"{method.name}=other-kind")
    heard = wire.call(method, word)
    schema = discovery.method(method.name)["response"]["$ref"]
    own = discovery.document()["schemas"][schema]["properties"]["kind"]["default"]
    told = heard.json()["kind"]
    assert told != own
    name = told.removeprefix("compute#")
    assert discovery.faults(name[0].upper() + name[1:], heard.json()) == []
    assert not method.makes or wire.made(method, word)


@EVERY
def test_an_empty_reply_is_an_empty_list_of_the_right_kind_or_nothing_at_all(
    wire: Wire, word: str, method: Method
) -> None:
    if method in LISTS:
        assert wire.call(method, word).json()["items"]
    wire.cloud.plan(f"{method.name}=empty")
    heard = wire.call(method, word)
    assert judged(method, heard) == []
    assert bool(heard.json()) == (method in LISTS)
    assert "items" not in heard.json()
    assert not method.makes or wire.made(method, word)


@pytest.mark.parametrize("method", [INSERT, BULK, FIREWALL, LIST, ALL, PROJECT], ids=lambda method: method.name)
def test_another_project_s_answer_names_that_project(wire: Wire, word: str, method: Method) -> None:
    wire.cloud.plan(f"{method.name}=other-account")
    heard = wire.call(method, word)
    assert heard.status_code == 200
    assert judged(method, heard) == []
    assert "resident" not in heard.text
    if method.makes or method is PROJECT:
        assert f"projects/{wire.project}-other" in heard.text
    if method.makes == "instances":
        [seen] = [each for each in wire.cloud.state()["instances"]["google"] if each["name"] == f"vm-{word}"]
        assert seen["project"] == f"{wire.project}-other"
    assert "resident" in wire.call(LIST, word).text


def test_a_fault_that_lasts_is_met_until_it_is_taken_back(wire: Wire, word: str) -> None:
    wire.cloud.plan("instances.list=denied:lasting")
    assert [wire.call(LIST, word).status_code for _ in range(3)] == [403] * 3
    assert wire.call(ALL, word).status_code == 200
    wire.cloud.plan("instances.list=well")
    assert wire.call(LIST, word).status_code == 200


def test_a_launch_that_a_policy_refuses_is_told_from_a_fingerprint_that_is_old(wire: Wire, word: str) -> None:
    for method in (INSERT, BULK):
        wire.cloud.plan(f"{method.name}=precondition")
        message = wire.call(method, word).json()["error"]["message"]
        assert message.startswith("Constraint constraints/compute.vmExternalIpAccess violated for project ")
    relabel = Method("instances.setLabels", "POST", f"zones/{ZONE}/instances/resident/setLabels")
    wire.cloud.plan("instances.setLabels=precondition")
    heard = wire.call(relabel, word)
    assert heard.status_code == 412
    assert "fingerprint" in heard.json()["error"]["message"]


@pytest.mark.parametrize(
    ("fault", "status"),
    [("unauthenticated", 401), ("denied", 403), ("expired", 400), ("missing", 400), ("error-before", 500)],
)
def test_the_desk_of_tokens_refuses_with_an_error_of_oauth(wire: Wire, fault: str, status: int) -> None:
    wire.cloud.plan(f"token={fault}")
    heard = ask_for_token(wire.cloud)
    assert heard.status_code == status
    assert set(heard.json()) == {"error", "error_description"}
    assert ask_for_token(wire.cloud).json()["access_token"]


@pytest.mark.parametrize("fault", ["html", "html-before", "redirect", "truncated", "other-kind", "empty"])
def test_the_desk_of_tokens_may_answer_without_a_token(wire: Wire, fault: str) -> None:
    wire.cloud.plan(f"token={fault}")
    heard = ask_for_token(wire.cloud)
    assert heard.status_code == (302 if fault == "redirect" else 200)
    assert '"expires_in"' not in heard.text or fault == "truncated"
    if fault in ("other-kind", "empty"):
        assert "access_token" not in heard.json()
    else:
        with pytest.raises(json.JSONDecodeError):
            heard.json()


def ask_for_token(cloud: Cloud) -> requests.Response:
    form = {"grant_type": "refresh_token", "refresh_token": cloud.environment["SANDBOX_GOOGLE_REFRESH_TOKEN"]}
    return requests.post(f"{cloud.endpoint}/token", data=form, allow_redirects=False, timeout=60)


@pytest.fixture(scope="module")
def two() -> Iterator[tuple[Google, Google]]:
    """Two projects of two accounts."""
    with running_sandbox("--boot", "0.05", "--accounts", "2", "--no-ssh") as cloud:
        yield Google(cloud), Google(cloud, place=2)


def test_each_project_has_machines_firewalls_and_operations_of_its_own(two: tuple[Google, Google], name: str) -> None:
    numbers = set()
    for google in two:
        where = {"project": google.project, "zone": ZONE}
        operation = google.done(google.instances.insert_unary(instance_resource=instance(name, "word"), **where))
        assert not errors(operation)
        assert f"/projects/{google.project}/" in operation.self_link
        numbers.add(google.instances.get(instance=name, **where).id)
    assert len(numbers) == 2
    first, second = two
    where = {"project": second.project, "zone": ZONE}
    second.done(second.instances.delete_unary(instance=name, **where))
    assert [each.name for each in first.listed(f'name = "{name}"')] == [name]
    assert second.listed(f'name = "{name}"') == []
    seen = {each["project"] for each in first.cloud.state()["instances"]["google"] if each["name"] == name}
    assert seen == {first.project, second.project}


@EVERY
def test_another_account_s_token_has_no_rights_in_a_project(
    two: tuple[Google, Google], word: str, method: Method
) -> None:
    first, second = two
    wire = Wire(first.cloud, first)
    refused = wire.call(method, word, project=second.project)
    assert refused.status_code == 403
    assert refused.json()["error"]["errors"][0]["reason"] == "forbidden"
    assert f"compute.{method.name}" in refused.json()["error"]["message"]
    assert judged(method, refused) == []
    assert not method.makes or not wire.made(method, word)
    assert wire.call(method, word, project="no-such-project").status_code == 404


def test_a_permission_is_denied_to_one_account_alone(two: tuple[Google, Google]) -> None:
    first, second = two
    first.cloud.plan("instances.list@2=denied:lasting")
    with pytest.raises(exceptions.Forbidden, match=r"compute\.instances\.list"):
        second.listed("")
    first.listed("")
    first.cloud.plan("instances.list@2=well")
    second.listed("")


def test_credentials_run_out_for_the_first_account_and_come_back(two: tuple[Google, Google], word: str) -> None:
    first, second = two
    first.cloud.plan("expire=0")
    refused = Wire(first.cloud, first).call(LIST, word)
    assert refused.status_code == 401
    assert refused.json()["error"]["details"][0]["reason"] == "ACCESS_TOKEN_EXPIRED"
    assert judged(LIST, refused) == []
    with pytest.raises(RefreshError, match="expired or revoked"):
        Google(first.cloud)
    second.listed("")
    Google(second.cloud, place=2)
    first.cloud.plan("expire=never")
    first.listed("")
    Google(first.cloud)
