"""docs/benchmarks.md, made from ``bench/results.json`` and ``bench/benchmarks.md.jinja``: ``python bench/page.py``.

A table holds the entries of one commit's run. Entries that were taken beside other work are not in it.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import results
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from results import BESIDE, RESULTS, ROOT, Row

PAGE = ROOT / "docs" / "benchmarks.md"
TEMPLATE = "benchmarks.md.jinja"
KINDS = (
    "loading", "prefill", "options", "decode", "blocks", "head", "identifier", "build", "training", "drawing", "rest",
)  # fmt: skip

Column = tuple[str, Callable[[Row], str]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--page", type=Path, default=PAGE)
    options = parser.parse_args()
    write(options.results, options.page)


def write(stored: Path, page: Path) -> None:
    """Make the page anew."""
    page.write_text(text(results.read(stored)), encoding="utf-8")


def text(entries: Sequence[Row]) -> str:
    """The whole page."""
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent), undefined=StrictUndefined,
        trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True,
    )  # fmt: skip
    jobs = {name: [one for one in entries if one["job"] == name] for name in TABLES}
    return environment.get_template(TEMPLATE).render(
        table=lambda name: table(name, jobs[name]), there={name: bool(_good(jobs[name])) for name in jobs},
        faults=faults(entries), beside=BESIDE,
    )  # fmt: skip


def tables(entries: Sequence[Row]) -> list[str]:
    """All tables, for the screen."""
    return [
        f"\n{name}\n\n{table(name, [one for one in entries if one['job'] == name])}\n"
        for name in TABLES
    ] + [f"\n{faults(entries)}\n"]


def faults(entries: Sequence[Row]) -> str:
    """What is missing and why, a line each."""
    lines = [
        f"* {one['what']}, {one['peer'] or 'linguamap'}: {one['failed']}"
        for one in entries
        if one["failed"]
    ]
    beside = {one["job"]: one["others"] for one in entries if one["others"] > BESIDE}
    lines += [
        f"* {job}: left out, since other processes took {share:.0%} of the machine meanwhile"
        for job, share in beside.items()
    ]
    return "\n".join(lines)


def table(name: str, entries: Sequence[Row]) -> str:
    """One job's table with the code and machine that it is of; a sentence where there is none."""
    good = _good(entries)
    if not good:
        return "Not measured yet."
    columns = TABLES[name]
    lines = [[header for header, _ in columns], ["---"] * len(columns)]
    lines += [[cell(one) for _, cell in columns] for one in good]
    rows = "\n".join(f"| {' | '.join(cells)} |" for cells in lines)
    return f"{rows}\n\n{_origin(good[0])}"


def _good(entries: Sequence[Row]) -> list[Row]:
    return [one for one in entries if one["value"] is not None and one["others"] <= BESIDE]


def _origin(one: Row) -> str:
    versions = ", ".join(f"{name} {version}" for name, version in one["versions"].items())
    threads = one["more"].get("threads", "")
    return (
        f"`{one['command']}`; commit {one['commit']}, {one['date'][:10]}; {one['processor']}, {one['cores']} "
        f"cores, {threads} threads, {', '.join(one['instructions']) or 'no vector instructions known'}; {versions}."
    )  # fmt: skip


def _number(value: Any, unit: str = "") -> str:
    if value is None:
        return ""
    digits = 0 if abs(value) >= 100 else 1 if abs(value) >= 10 else 2
    return f"{value:,.{digits}f}{unit}"


def _more(name: str, unit: str = "") -> Callable[[Row], str]:
    return lambda one: _number(one["more"].get(name), unit)


def _share(name: str) -> Callable[[Row], str]:
    return lambda one: "" if one["more"].get(name) is None else f"{100 * one['more'][name]:.0f} %"


def _list(name: str) -> Callable[[Row], str]:
    return lambda one: ", ".join(f"{value:g}" for value in one["more"][name])


def _what(one: Row) -> str:
    return str(one["what"])


def _value(one: Row) -> str:
    return _number(one["value"])


def _peer(one: Row) -> str:
    return one["peer"] or ""


def _theirs(one: Row) -> str:
    return _number(one["peer_value"]) or "not measured"


def _ratio(one: Row) -> str:
    return f"**{_number(one['ratio'])}**" if one["ratio"] else ""


def _same(of: str, among: str) -> Callable[[Row], str]:
    return lambda one: (
        f"{one['more'][of]} of {one['more'][among]}" if one["more"].get(among) else ""
    )


TUNING: Sequence[Column] = (
    ("model, blocks", _what), ("warm epoch, s", _value), ("peer", _peer), ("its warm epoch, s", _theirs),
    ("faster by", _ratio), ("all epochs with the build, s", _more("total_seconds")),
    ("peer's, s", _more("peer_total_seconds")), ("faster by", _more("total_ratio")),
    ("memory, of the peer's", _more("memory_ratio")), ("floor of a warm epoch, s", _more("floor_seconds")),
    ("of it reached", _share("floor_share")), ("examples", lambda one: str(one["more"]["examples"])),
    ("epochs", lambda one: str(one["more"]["epochs"])),
)  # fmt: skip
TABLES: dict[str, Sequence[Column]] = {
    "main_job": (
        ("stage", _what), ("seconds", _value), *((kind, _more(kind)) for kind in KINDS),
        ("again, after tuning", _more("again")),
    ),
    "answers": (
        ("prompts", _what), ("linguamap, s", _value), ("peer", _peer), ("peer, s", _theirs), ("faster by", _ratio),
        ("memory above weights, of the peer's", _more("memory_ratio")), ("floor, s", _more("floor_seconds")),
        ("of it reached", _share("floor_share")), ("same answers", _same("same_answers", "both_answered")),
    ),
    "lens": (
        ("texts", _what), ("linguamap, s", _value), ("peer", _peer), ("peer, s", _theirs), ("faster by", _ratio),
        ("rise of memory, of the peer's", _more("rise_ratio")), ("floor, s", _more("floor_seconds")),
        ("of it reached", _share("floor_share")), ("same ids", _share("same_ids")),
    ),
    "tune": TUNING,
    "tune_middle": TUNING,
    "tune_30": TUNING,
    "tune_trl": TUNING,
    "growth": (
        ("stage: size", _what), ("sizes", _list("sizes")), ("seconds", _list("seconds")),
        ("operations", _list("operations")), ("time grows by, of the work's growth", _value),
    ),
    "gpu": (
        ("model: what", _what), ("linguamap, s", _value), ("peer", _peer), ("peer, s", _theirs),
        ("faster by", _ratio), ("counted for one H100, s", _more("planned_seconds")),
        ("device", lambda one: str(one["more"]["device"])),
    ),
}  # fmt: skip

if __name__ == "__main__":
    main()
