"""Bad input gets a clear error, and afterwards there is no machine that the database does not know."""

from __future__ import annotations

import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ogc_async import actions, db, errors
from ogc_async.db.nodes import find_nodes
from ogc_async.db.users import create_user, current_user
from ogc_async.settings import Settings
from ogc_async.spec import Layout
from ogc_async.state import App
from ogc_async.types import NodeState, StepState
from tests.cloud import Cloud, running_sandbox

Change = Callable[[Layout, Path], dict[str, Any]]


def changed(layout: Layout, **changes: Any) -> dict[str, Any]:
    return layout.as_dict() | {key.replace("_", "-"): value for key, value in changes.items()}


def private_key_of(text: str) -> Change:
    def change(layout: Layout, folder: Path) -> dict[str, Any]:
        path = folder / "bad_key"
        path.write_text(text)
        path.with_suffix(".pub").write_text("ssh-ed25519 AAAA")
        return changed(layout, ssh_keys={"private": str(path)})

    return change


def encrypted_key(layout: Layout, folder: Path) -> dict[str, Any]:
    import asyncssh

    key = asyncssh.generate_private_key("ssh-ed25519")
    path = folder / "encrypted"
    key.write_private_key(path, "pkcs8-pem", passphrase="secret")
    key.write_public_key(f"{path}.pub")
    return changed(layout, ssh_keys={"private": str(path)})


def folder_as_key(layout: Layout, folder: Path) -> dict[str, Any]:
    return changed(layout, ssh_keys={"private": str(folder)})


BEFORE_ANYTHING = [
    pytest.param(
        lambda layout, folder: changed(layout, scripts=str(folder / "nowhere")),
        errors.ScriptsError,
        "nowhere",
        id="missing script folder",
    ),
    pytest.param(
        lambda layout, folder: changed(layout, ssh_keys={"private": str(folder / "no_key")}),
        errors.KeyFileError,
        "no_key",
        id="missing SSH key",
    ),
    pytest.param(folder_as_key, errors.KeyFileError, "folder|directory", id="unreadable SSH key"),
    pytest.param(private_key_of("not a key\n"), errors.KeyFileError, "bad_key", id="malformed SSH key"),
    pytest.param(encrypted_key, errors.KeyFileError, "passphrase", id="passphrase-protected SSH key"),
    pytest.param(lambda layout, _: changed(layout, provider="azure"), errors.SpecError, "azure", id="unknown provider"),
    pytest.param(lambda layout, _: changed(layout, scael=3), errors.SpecError, "scale", id="unknown key"),
    pytest.param(lambda layout, _: changed(layout, scale="many"), errors.SpecError, "scale", id="wrong type"),
]


@pytest.mark.parametrize(("change", "error", "says"), BEFORE_ANYTHING)
async def test_what_is_wrong_on_this_side_is_told_before_anything_is_made(
    change: Change, error: type[Exception], says: str, app: App, layout: Layout, cloud: Cloud, tmp_path: Path
) -> None:
    with pytest.raises(error, match=f"(?i){says}"):
        await actions.launch_async([layout.as_dict(), change(layout, tmp_path) | {"name": "other"}], app=app)
    assert app.engine is not None
    assert await find_nodes(app.engine) == []
    assert cloud.living((await current_user(app.engine)).scope) == []


async def test_a_layout_asked_for_twice_is_refused(app: App, layout: Layout) -> None:
    with pytest.raises(errors.SpecError, match=r"layouts\.web: is asked for twice"):
        await actions.launch_async([layout, layout], app=app)


IN_THE_CLOUD = [
    pytest.param({"runs_on": "ami-0123456789abcdef0"}, errors.NotFound, "ami-0123456789abcdef0", id="unknown image"),
    pytest.param({"runs_on": "ubuntu-9904"}, errors.OgcError, "ubuntu-2404", id="unknown image name"),
    pytest.param({"instance_size": "t3.colossal"}, errors.InvalidRequest, "t3.colossal", id="unknown machine type"),
]


@pytest.mark.parametrize(("changes", "error", "says"), IN_THE_CLOUD)
async def test_what_the_cloud_refuses_fails_that_layout_and_costs_the_others_nothing(
    changes: dict[str, Any], error: type[Exception], says: str, app: App, layout: Layout, cloud: Cloud
) -> None:
    bad = changed(layout, name="bad", scale=2, **changes)
    result = await actions.launch_async([bad, layout], app=app)
    assert [(each.layout, type(each.error)) for each in result.failures] == [
        ("bad", result.failures[0].error.__class__)
    ] * 2
    assert all(isinstance(each.error, error) and says in str(each.error) for each in result.failures)
    nodes = {node.id: node for node in await actions.nodes_async(app=app)}
    assert [nodes[node_id].layout for node_id in result] == ["web"]
    assert {nodes[each.node_id].state for each in result.failures} == {NodeState.FAILED}
    assert all(nodes[each.node_id].reason == str(each.error) for each in result.failures)
    assert app.engine is not None
    living = cloud.living((await current_user(app.engine)).scope)
    assert [each["id"] for each in living] == [nodes[node_id].instance_id for node_id in result]


async def test_bad_credentials_say_which_variables_to_check(app: App, layout: Layout) -> None:
    app.settings = app.settings.model_copy(update={"aws_access_key_id": "AKIAWRONG"})
    with pytest.raises(errors.Unauthorized, match="AWS_ACCESS_KEY_ID") as caught:
        await actions.launch_async(layout, app=app)
    assert app.settings.aws_secret_access_key is not None
    assert app.settings.aws_secret_access_key.get_secret_value() not in str(caught.value)


async def test_missing_credentials_name_the_variable_when_the_provider_is_needed(app: App, layout: Layout) -> None:
    app.settings = app.settings.model_copy(update={"aws_secret_access_key": None})
    with pytest.raises(errors.MissingCredentials, match="AWS_SECRET_ACCESS_KEY"):
        await actions.launch_async(layout, app=app)


async def test_no_engine_is_one_clear_sentence(layout: Layout) -> None:
    with pytest.raises(errors.NotConnected, match=r"db\.connect"):
        await actions.launch_async(layout, app=App())


async def test_a_database_that_is_down_is_told_with_its_address(layout: Layout) -> None:
    engine = db.connect("postgresql://nobody:hidden@127.0.0.1:1/none")
    with pytest.raises(errors.DatabaseUnavailable, match=r"127\.0\.0\.1:1") as caught:
        await actions.launch_async(layout, app=App(engine=engine))
    assert "hidden" not in str(caught.value)
    await engine.aclose()


async def test_a_database_without_tables_says_how_to_migrate(layout: Layout, tmp_path: Path) -> None:
    engine = db.connect(f"sqlite:///{tmp_path / 'empty.db'}")
    with pytest.raises(errors.NotMigrated, match="ogc db migrate"):
        await actions.launch_async(layout, app=App(engine=engine))
    await engine.aclose()


async def test_no_user_yet_says_how_to_make_one(layout: Layout, tmp_path: Path) -> None:
    engine = db.connect(f"sqlite:///{tmp_path / 'new.db'}")
    await db.createtbl_async(engine)
    with pytest.raises(errors.NoUser, match="ogc init"):
        await actions.launch_async(layout, app=App(engine=engine))
    await engine.aclose()


@pytest.mark.parametrize(
    "verb",
    [
        actions.deploy_async,
        actions.teardown_async,
        lambda nodes, app: actions.exec_async(nodes, "true", app=app),
    ],
)
async def test_a_node_that_does_not_exist_is_named_and_nothing_is_done(verb: Any, app: App, layout: Layout) -> None:
    node_id = await actions.launch_async(layout, app=app)
    with pytest.raises(errors.UnknownNode, match="987654"):
        await verb([node_id, 987654], app=app)
    (node,) = await actions.nodes_async(app=app)
    assert node.state is NodeState.RUNNING


async def test_a_script_that_exits_3_stops_its_node_and_is_on_record(
    app: App, layout: Layout, scripts_folder: Path
) -> None:
    (scripts_folder / "1-hello.sh").write_text("#!/bin/sh\necho before; exit 3\n")
    node_id = await actions.launch_async(layout, app=app)
    result = await actions.deploy_async(node_id, app=app)
    assert not result
    assert [(step.script, step.exit_code, step.text) for step in result.steps] == [("1-hello.sh", 3, "before\n")]
    assert app.session is not None or app.engine is not None


async def test_a_killed_command_says_by_which_signal(app: App, layout: Layout) -> None:
    node_id = await actions.launch_async(layout, app=app)
    result = await actions.exec_async(node_id, "kill -KILL $$", app=app)
    (step,) = result.steps
    assert (step.state, step.signal, step.exit_code) == (
        StepState.KILLED,
        signal.SIGKILL.name.removeprefix("SIG"),
        None,
    )


async def test_output_of_ten_megabytes_is_bounded_and_the_cut_is_marked(app: App, layout: Layout) -> None:
    node_id = await actions.launch_async(layout, app=app)
    command = "echo first; head -c 10000000 /dev/zero | tr '\\0' x; echo; echo last"
    (step,) = (await actions.exec_async(node_id, command, app=app)).steps
    assert step.ok
    assert step.output_bytes == 10_000_000 + len("first\n\nlast\n")
    assert step.is_truncated
    assert len(step.output) <= app.settings.ogc_output_limit + 100
    assert step.text.startswith("first\n")
    assert step.text.endswith("last\n")


async def test_output_that_is_not_utf8_survives_as_it_was(app: App, layout: Layout) -> None:
    node_id = await actions.launch_async(layout, app=app)
    (step,) = (await actions.exec_async(node_id, r"printf '\377\376\000ok'", app=app)).steps
    assert step.output == b"\xff\xfe\x00ok"
    assert app.engine is not None
    (action,) = await db_actions(app, node_id)
    assert action == b"\xff\xfe\x00ok"


async def db_actions(app: App, node_id: int) -> list[bytes]:
    assert app.engine is not None
    async with db.session(app.engine) as s:
        return [action.output for action in await s.select(db.Action, db.Action.node_id == node_id)]


async def test_credentials_that_may_not_launch_say_which_permission_they_lack(
    database: db.Engine, layout: Layout
) -> None:
    with running_sandbox("--deny", "RunInstances") as cloud:
        values = {name.lower(): value for name, value in cloud.environment.items()}
        async with App(engine=database, settings=Settings(_env_file=None, **values)) as app:
            await create_user(database, "Adam")
            with pytest.raises(errors.Unauthorized, match=r"permission ec2:RunInstances") as caught:
                await actions.launch_async(layout, app=app)
            (node,) = await actions.nodes_async(app=app)
        assert (node.state, node.reason) == (NodeState.FAILED, str(caught.value))
        assert cloud.instances() == []
