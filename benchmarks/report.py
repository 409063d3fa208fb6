"""From results to words: the README's measured section, and a page with every table. Nothing of it is typed by hand."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.figures import ratio, slower_than

ROOT = Path(__file__).parents[1]
RESULTS = Path(__file__).parent / "results"
README = ROOT / "README.md"
PAGE = RESULTS / "README.md"
BEGIN, END = "<!-- measured -->", "<!-- /measured -->"
KINDS = ("launch", "deploy", "scale", "database")
OURS = "ogc_async"
FLOOR = "floor"
HEADLINE = 200

BEYOND = "seconds beyond the slowest boot"
COMPARED = {
    "launch": ((BEYOND, "seconds beyond the slowest boot"), ("CPU seconds", "CPU"), ("peak MB", "memory")),
    "deploy": (("seconds", "wall clock"), ("CPU seconds", "CPU"), ("peak MB", "memory")),
}
COMPLETE = {"launch": "nodes reachable", "deploy": "nodes deployed"}

Result = Mapping[str, Any]
Entries = Mapping[str, Mapping[str, Any]]


def load(folder: Path = RESULTS) -> dict[str, Any]:
    """The results there are, by kind."""
    files = {kind: folder / f"{kind}.json" for kind in KINDS}
    return {kind: json.loads(path.read_text()) for kind, path in files.items() if path.exists()}


def write(folder: Path = RESULTS) -> None:
    """Bring the README and the page with all tables up to date."""
    results = load(folder)
    README.write_text(replaced(README.read_text(encoding="utf-8"), section(results)), encoding="utf-8")
    PAGE.write_text(page(results), encoding="utf-8")


def replaced(text: str, new: str) -> str:
    """The text with another measured section. Raises ``ValueError`` where its marks are not there, once each."""
    head, begin, rest = text.partition(BEGIN)
    _, end, tail = rest.partition(END)
    if not (begin and end):
        raise ValueError(f"no {BEGIN} … {END} in it")
    return f"{head}{BEGIN}\n{new}{END}{tail}"


def section(results: Mapping[str, Result]) -> str:
    """The README's measured section: the fleet that stands for the rest, a plot each, what is slower."""
    parts = [SECTIONS[kind](result) for kind, result in results.items()]
    return "\n\n".join(parts) + "\n" if parts else "Nothing is measured yet: `make bench` does.\n"


def page(results: Mapping[str, Result]) -> str:
    """Every table there is."""
    parts = ["# All figures", "Written by `python -m benchmarks report` from the JSON files beside it; not by hand."]
    for kind, result in results.items():
        parts.append(f"## {kind.capitalize()}")
        parts.append(_where(result))
        parts += PAGES[kind](result)
        parts.append("Not measured:\n\n" + "\n".join(f"- {each}" for each in result["not_measured"]))
    return "\n\n".join(parts) + "\n"


def _launch_section(result: Result) -> str:
    count = _headline(result["fleets"])
    cloud = result["cloud"]
    low, high = cloud["boot_s"]
    told = (
        f"On a pretend EC2 with {cloud['limits']}, a launch call of {cloud['latency_of_RunInstances_s']} s and boots "
        f"of {low:.0f} to {high:.0f} s{_paced(cloud)}; until an SSH server greets at every address."
    )
    crash = (
        "Left behind: machines that live on, unknown to the tool, after a SIGKILL when half of "
        f"{result['crash_count']} machines existed, and after the tool's own cleanup, where it has one: for ogc_async "
        "one `sync`, for its ancestor `rm-all`."
    )
    return _paragraphs(
        f"### Launching {count} nodes",
        f"{told} {_where(result)}",
        _launch_table(result, count),
        crash,
        *_plain(result, "launch"),
        "![launch](benchmarks/results/launch.svg)",
    )


def _deploy_section(result: Result) -> str:
    count = _headline(result["fleets"])
    job = result["job"]
    told = (
        f"Real OpenSSH servers on loopback; each gets {job['files']} files of {job['bytes'] // 1000} kB in all and a "
        f"{job['script_bytes'] // 1000} kB script, runs it, and its output is collected; ogc_async records each step."
    )
    return _paragraphs(
        f"### Deploying to {count} nodes",
        f"{told} {_where(result)}",
        _deploy_table(result, count),
        *_plain(result, "deploy"),
        "![deploy](benchmarks/results/deploy.svg)",
    )


def _scale_section(result: Result) -> str:
    low, high = result["cloud"]["boot_s"]
    told = (
        f"ogc_async alone, boots of {low:.0f} to {high:.0f} s; growth is the exponent of the number of nodes that fits "
        "best: 0 is flat, 1 in proportion."
    )
    return _paragraphs(
        "### From one node to thousands",
        f"{told} {_where(result)}",
        *(_scale_table(result, provider) for provider in result["fleets"]),
        "![scale](benchmarks/results/scale.svg)",
    )


def _database_section(result: Result) -> str:
    told = (
        f"State changes of {result['nodes']} nodes: {result['group']} a transaction, as a launch writes them, and one "
        f"a transaction by {result['tasks']} tasks at once."
    )
    return _paragraphs("### Database", f"{told} {_where(result)}", _database_table(result))


def _launch_table(result: Result, count: str) -> str:
    entries = result["fleets"][count]
    ours = entries[OURS]
    rows = [
        (
            name,
            _number(each["nodes reachable"]),
            _compared(each, ours, "seconds until all are reachable", name),
            _compared(each, ours, BEYOND, name),
            _number(each["calls of RunInstances"]),
            _number(each["calls"]),
            _number(each["refused calls"]),
            _compared(each, ours, "CPU seconds", name),
            _number(each["peak MB"]),
            _left(result, name),
            _number(each["runs"]),
        )
        if "failed" not in each
        else (name, f"failed: {each['failed']}", *[""] * 9)
        for name, each in entries.items()
    ]
    heads = ("", "reachable", "seconds", "beyond the slowest boot", "launch calls", "calls", "refused", "CPU seconds")
    return _table((*heads, "MB", "left behind", "runs"), rows)


def _deploy_table(result: Result, count: str) -> str:
    entries = result["fleets"][count]
    ours = entries[OURS]
    rows = [
        (
            name + (f" ({result['remarks'][name]})" if name in result["remarks"] else ""),
            _number(each["nodes deployed"]),
            _compared(each, ours, "seconds", name),
            _compared(each, ours, "CPU milliseconds a node", name),
            _number(each["peak MB"]),
            _number(each["runs"]),
        )
        if "failed" not in each
        else (name, f"failed: {each['failed']}", *[""] * 4)
        for name, each in entries.items()
    ]
    return _table(("", "deployed", "seconds", "CPU, ms a node", "MB", "runs"), rows)


def _scale_table(result: Result, provider: str) -> str:
    fleets = result["fleets"][provider]
    names = (BEYOND, "calls", "CPU seconds", "peak MB", "database seconds", "CPU seconds of the pretend cloud")
    powers = result["exponents"][provider]
    rows = [(name, *(_number(each[name]) for each in fleets.values()), _power(powers.get(name))) for name in names]
    return _table((f"{provider}: nodes", *(f"{int(count):,}" for count in fleets), "growth"), rows)


def _database_table(result: Result) -> str:
    databases = result["databases"]
    names = [name for name in next(iter(databases.values())) if name != "runs"]
    rows = [(name, *(_number(each[name]) for each in databases.values())) for name in names]
    return _table(("", *databases), rows)


def _plain(result: Result, kind: str) -> list[str]:
    """Where ours is slower or larger than a competitor, in words; a floor is no competitor, and has its own line."""
    lines: list[str] = []
    for count, entries in result["fleets"].items():
        whole = {
            name: each
            for name, each in entries.items()
            if "failed" not in each and (name == OURS or each[COMPLETE[kind]] == int(count))
        }
        if OURS not in whole or "failed" in entries[OURS]:
            continue
        for figure, words in COMPARED[kind]:
            better = [each for each in slower_than(whole, OURS, figure) if not each.startswith(FLOOR)]
            if better:
                parts = ", ".join(f"{name} ({_times(whole[OURS][figure], whole[name][figure])})" for name in better)
                lines.append(f"- {count} nodes, {words}: ogc_async needs more than {parts}")
    missing = [
        f"- {count} nodes: {name} brought {_number(each.get(COMPLETE[kind], 0))} of them to the end"
        for count, entries in result["fleets"].items()
        for name, each in entries.items()
        if each.get(COMPLETE[kind]) != int(count)
    ]
    found = ["Where ogc_async is not the best:\n\n" + "\n".join(lines)] if lines else []
    return found + (["Who did not finish:\n\n" + "\n".join(missing)] if missing else [])


def _paragraphs(*parts: str) -> str:
    return "\n\n".join(parts)


def _times(ours: float, theirs: float) -> str:
    factor = ratio(ours, theirs)
    return f"{_number(factor)} times as much" if factor is not None else "which needs next to none"


def _where(result: Result) -> str:
    """The command, the machine, its load, the versions."""
    facts = result["machine"]
    versions = dict(facts["versions"])
    for others in result.get("versions", {}).values():
        versions |= {name: version for name, version in others.items() if name not in versions}
    named = ", ".join(f"{name} {version}" for name, version in sorted(versions.items()))
    load = f", load {facts['load_before']} beforehand" if facts["load_before"] >= BUSY else ""
    command = "make bench-full" if result["mode"] == "full" else "make bench"
    return (
        f"`{command}` on {facts['cores']} cores ({facts['processor']}{load}), shared with what it talks to; "
        f"Python {facts['python']}, {named}; medians, {facts['measured']}."
    )


BUSY = 1.0
"""A load from which on a reader should know that others were at work."""


def _paced(cloud: Mapping[str, Any]) -> str:
    scale = cloud["time_scale"]
    if scale == 1:
        return ""
    return f", in time that passes {scale:g} times as fast (so that all computing weighs {scale:g} times as much)"


def _headline(fleets: Mapping[str, Entries]) -> str:
    """The fleet of 200, or the nearest to it."""
    return min(fleets, key=lambda count: abs(int(count) - HEADLINE))


def _left(result: Result, name: str) -> str:
    crash = result["crash"].get(name)
    return f"{crash['machines left behind']} of {crash['machines at the kill']}" if crash else ""


def _compared(each: Mapping[str, Any], ours: Mapping[str, Any], figure: str, name: str) -> str:
    """The figure, and how many times ours it is."""
    own = _number(each[figure])
    if name == OURS or "failed" in ours:
        return own
    factor = ratio(each[figure], ours[figure])
    return f"{own} ({_number(factor)}x)" if factor is not None else own


def _power(exponent: float | None) -> str:
    return "" if exponent is None else f"{exponent:.2f}"


def _number(value: float | None) -> str:
    """Three digits that mean something."""
    if value is None:
        return ""
    return f"{value:,.0f}" if abs(value) >= 100 or float(value).is_integer() else f"{value:.3g}"


def _table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [heads, ["---", *["---:"] * (len(heads) - 1)], *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _fleet_tables(result: Result, table: Callable[[Result, str], str]) -> list[str]:
    return [part for count in result["fleets"] for part in (f"### {count} nodes", table(result, count))]


SECTIONS: Mapping[str, Callable[[Result], str]] = {
    "launch": _launch_section,
    "deploy": _deploy_section,
    "scale": _scale_section,
    "database": _database_section,
}
PAGES: Mapping[str, Callable[[Result], list[str]]] = {
    "launch": lambda result: _fleet_tables(result, _launch_table),
    "deploy": lambda result: _fleet_tables(result, _deploy_table),
    "scale": lambda result: [_scale_table(result, provider) for provider in result["fleets"]],
    "database": lambda result: [_database_table(result)],
}
