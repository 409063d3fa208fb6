"""Completion: the scripts for the shells, and the words that are to be had from the database and the spec."""

from __future__ import annotations

import shlex
from collections.abc import Iterable
from contextlib import suppress

from ogc_async import actions
from ogc_async.actions.context import default_app
from ogc_async.errors import OgcError
from ogc_async.spec import SpecLoader
from ogc_async.types import LIVE, NodeSnapshot

BASH = """\
_ogc_completion() {
    local IFS=$'\\n'
    COMPREPLY=( $( env COMP_WORDS="${COMP_WORDS[*]}" COMP_CWORD=$COMP_CWORD \\
                   _OGC_COMPLETE=complete_bash $1 2>/dev/null ) )
}
complete -o default -F _ogc_completion ogc"""
ZSH = """\
#compdef ogc
_ogc_completion() {
    eval $(env _TYPER_COMPLETE_ARGS="${words[1,$CURRENT]}" _OGC_COMPLETE=complete_zsh ogc 2>/dev/null)
}
compdef _ogc_completion ogc"""
FISH = """\
complete --command ogc --no-files \
--arguments "(env _OGC_COMPLETE=complete_fish _TYPER_COMPLETE_FISH_ACTION=get-args \
_TYPER_COMPLETE_ARGS=(commandline -cp) ogc 2>/dev/null)" \
--condition "env _OGC_COMPLETE=complete_fish _TYPER_COMPLETE_FISH_ACTION=is-args \
_TYPER_COMPLETE_ARGS=(commandline -cp) ogc 2>/dev/null\""""
SCRIPTS = {"bash": BASH, "zsh": ZSH, "fish": FISH}


def script(shell: str) -> str:
    """The shell's own part: it asks this program what fits."""
    return SCRIPTS[shell]


def node_names(incomplete: str) -> list[str]:
    """Names of live nodes that begin so."""
    return _fit((node.name for node in _nodes()), incomplete)


def layout_names(incomplete: str) -> list[str]:
    """Layouts of the spec here and of live nodes that begin so."""
    names = {node.layout for node in _nodes()}
    with suppress(OgcError):
        names |= {layout.name for layout in SpecLoader.load().layouts}
    return sorted(_fit(names, incomplete))


def tags(incomplete: str) -> list[str]:
    """Tags of live nodes that begin so."""
    return sorted(_fit({tag for node in _nodes() for tag in node.tags}, incomplete))


def _fit(words: Iterable[str], incomplete: str) -> list[str]:
    """Those that begin so, but for any that a shell would read as more than a word: it inserts them as they are."""
    return [word for word in words if word.startswith(incomplete) and shlex.quote(word) == word]


def _nodes() -> list[NodeSnapshot]:
    """A shell that completes a word is no place for errors."""
    try:
        return actions.nodes(states=LIVE, app=default_app())
    except OgcError:
        return []
