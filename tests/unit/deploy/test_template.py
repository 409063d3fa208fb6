"""Templates: what they know, what they may include, and how they say what is wrong in which line."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest

from ogc_async.deploy.scripts import ScriptFile
from ogc_async.deploy.template import Templates
from ogc_async.errors import TemplateError

CONTEXT = {"node": SimpleNamespace(name="web-1"), "env": {"A": "1"}}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "project" / "scripts"
    folder.mkdir(parents=True)
    return folder


def render(folder: Path, text: str, path: str = "1.sh.mako") -> str:
    return Templates(folder).render(ScriptFile(path, text.encode(), 0o644), CONTEXT).decode()


def failure(folder: Path, text: str, path: str = "1.sh.mako") -> TemplateError:
    with pytest.raises(TemplateError) as caught:
        render(folder, text, path)
    assert caught.value.script == path
    return caught.value


def test_expressions_statements_and_shell_variables_live_side_by_side(folder: Path) -> None:
    text = "#!/bin/sh\n% for each in sorted(env):\necho ${node.name} ${each} $HOME $(date)\n% endfor\n"
    assert render(folder, text) == "#!/bin/sh\necho web-1 A $HOME $(date)\n"


def test_nothing_is_escaped_as_if_it_were_html(folder: Path) -> None:
    assert render(folder, "${'<&\"ü>'}") == '<&"ü>'


@pytest.mark.parametrize("where", ["scripts/functions.mako", "functions.mako"])
def test_files_of_the_folder_and_of_its_parent_can_be_included(where: str, folder: Path) -> None:
    (folder.parent / where).write_text('<%def name="hello(to)">hello ${to}</%def>\n')
    text = '<%namespace name="f" file="functions.mako"/>${f.hello(node.name)}'
    assert render(folder, text) == "hello web-1"


def test_an_included_file_has_the_same_context(folder: Path) -> None:
    (folder / "_name.mako").write_text("I am ${node.name}")
    assert render(folder, '<%include file="_name.mako"/>') == "I am web-1"


def test_a_file_further_out_can_not_be_included(folder: Path) -> None:
    (folder.parent.parent / "secret.mako").write_text("secret")
    assert failure(folder, '\n<%include file="../../secret.mako"/>').line == 2


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("one\n\n${nobody}\n", 3),
        ("${node.name}\n% if nobody:\nx\n% endif\n", 2),
        ("one\n<%\nx = 1\ny = nobody\n%>\n", 2),
        ('one\n<%def name="f()">\n${nobody}\n</%def>\n\n${f()}\n', 3),
        ("one\n\n${node.nmae}\n", 3),
        ("one\n${1 / 0}\n", 2),
        ("one\n% if node:\n", 2),
        ("one\n${1 +}\n", 2),
        ('one\n\n\n<%include file="gone.mako"/>\n', 4),
        ("one\n<%\nx = 1\ny = x.nothing\n%>\n", 4),
    ],
)
def test_an_error_gives_the_scripts_own_line(text: str, line: int, folder: Path) -> None:
    error = failure(folder, text)
    assert error.line == line
    assert str(error).startswith(f"1.sh.mako:{line}: ")


def test_an_undefined_name_is_named_beside_those_that_are_defined(folder: Path) -> None:
    assert str(failure(folder, "nobody\n${nobody}\n")) == (
        "1.sh.mako:2: 'nobody' is not defined; the context holds node, nodes, user, env and layout"
    )


def test_an_error_in_an_included_file_gives_the_scripts_line_and_the_other_place(folder: Path) -> None:
    (folder / "functions.mako").write_text('<%def name="f(x)">\n\n${x.foo}\n</%def>\n')
    error = failure(folder, 'one\n<%namespace name="f" file="functions.mako"/>\n\n${f.f(1)}\n')
    assert error.line == 4
    assert "in functions.mako:3: 'int' object has no attribute 'foo'" in str(error)


def test_an_undefined_name_in_an_included_file_is_told_as_that_files(folder: Path) -> None:
    (folder / "functions.mako").write_text("\n\n${nobody}\n")
    error = failure(folder, 'one\n<%include file="functions.mako"/>\n')
    assert error.line == 2
    assert "in functions.mako: 'nobody' is not defined" in str(error)


def test_two_layouts_with_a_script_of_one_name_do_not_mix_up_their_lines(folder: Path) -> None:
    mine, other = Templates(folder), Templates(folder.parent)
    long = ScriptFile("1.sh.mako", b"a\nb\nc\nd\n${node.nmae}\n", 0o644)
    short = ScriptFile("1.sh.mako", b"${node.nmae}\n", 0o644)
    seen = []
    for templates, script in ((mine, long), (other, short), (mine, long)):
        with pytest.raises(TemplateError) as caught:
            templates.render(script, CONTEXT)
        seen.append(caught.value.line)
    assert seen == [5, 1, 5]


def test_a_template_that_is_not_utf8_says_in_which_line(folder: Path) -> None:
    with pytest.raises(TemplateError, match=r"1\.sh\.mako:3: is not UTF-8"):
        Templates(folder).render(ScriptFile("1.sh.mako", b"one\ntwo\n\xff\n", 0o644), CONTEXT)


def test_a_template_is_compiled_once_and_rendered_for_each_node(folder: Path) -> None:
    templates = Templates(folder)
    script = ScriptFile("1.sh.mako", b"${node.name}", 0o644)
    names = [templates.render(script, {"node": SimpleNamespace(name=f"web-{i}")}) for i in range(3)]
    assert names == [b"web-0", b"web-1", b"web-2"]
