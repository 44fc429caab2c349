"""Tables that more than one page shows, cells written out for people."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from linguamap.charts.naming import (
    EN_DASH,
    STAGE_NAMES,
    count,
    duration,
    joined,
    percent,
    percent_exact,
    percent_range,
    size,
    spans,
)
from linguamap.languages import LANGUAGES, language_name
from linguamap.records import PHASES, BenchmarkUse, Phase, Rate, ScoreRow
from linguamap.run.contents import EvidenceCurve, Layers
from linguamap.run.read_run import RunContents

EVIDENCE_CURVES = ("lens", "retrieval", "centred")


def stage_rows(run: RunContents) -> list[list[str]]:
    """Stage, time and peak memory; then the sum."""
    rows = [
        [STAGE_NAMES.get(name, name), duration(entry.seconds), size(entry.peak_memory_bytes)]
        for name, entry in run.stages.items()
    ]
    total = sum(entry.seconds for entry in run.stages.values())
    return [*rows, ["Together", duration(total), ""]] if rows else []


def tuning_rows(run: RunContents) -> list[tuple[str, str]]:
    """What was trained, as name and value."""
    tuning = run.tuning
    if tuning is None:
        return []
    rows = [
        ("Method", tuning.method),
        ("Blocks", spans(tuning.layers)),
        (
            "Parameters trained",
            f"{count(tuning.trainable_parameters)} of {count(tuning.total_parameters)}",
        ),
        ("Share of the weights", percent_exact(tuning.trainable_share)),
        ("Time for each epoch", ", ".join(map(duration, tuning.seconds_per_epoch))),
        (
            "Frozen part run once",
            duration(tuning.build_seconds or 0) if tuning.cached_examples else "",
        ),
        ("Training examples", count(tuning.training_examples) if tuning.training_examples else ""),
        ("Target tokens", count(tuning.target_tokens) if tuning.target_tokens else ""),
        ("Learning rate", f"{tuning.learning_rate or ''}"),
        ("Precision", tuning.precision or ""),
        ("Peak memory", size(tuning.peak_memory_bytes) if tuning.peak_memory_bytes else ""),
        ("Size of the delta", size(tuning.delta_bytes) if tuning.delta_bytes else ""),
        ("Seed", "" if tuning.seed is None else str(tuning.seed)),
    ]
    return [(name, text) for name, text in rows if text]


def version_rows(run: RunContents) -> list[tuple[str, str]]:
    """Versions and machine, as name and value; empty before the manifest is written."""
    if (manifest := run.manifest) is None:
        return []
    rows = {"linguamap": manifest.linguamap, "python": manifest.python}
    rows |= {k: str(v) for k, v in {**manifest.versions, **manifest.machine}.items() if v}
    rows |= {f"model {k}": str(v) for k, v in manifest.model.items() if v}
    return [*rows.items(), *([("seed", str(manifest.seed))] if manifest.seed is not None else [])]


def evidence_rows(run: RunContents) -> list[list[str]]:
    """Language, its boundary, and where each curve turns with the turn's interval; reasons last."""
    rows = []
    for code, entry in (run.layers.evidence.languages if run.layers else {}).items():
        reasons = [entry.reason, *(curve.reason for curve in entry.curves.values())]
        boundary = EN_DASH if entry.boundary is None else f"{entry.boundary:.1f}"
        turns = (_turn(entry.curves.get(name)) for name in EVIDENCE_CURVES)
        why = "; ".join(dict.fromkeys(reason for reason in reasons if reason))
        rows.append([language_name(code), boundary, *turns, why])
    return rows


def _turn(curve: EvidenceCurve | None) -> str:
    if curve is None or curve.turn is None:
        return EN_DASH
    text = f"{curve.turn:.1f}"
    if curve.turn_interval is not None:
        text += f" ({curve.turn_interval[0]:.1f}{EN_DASH}{curve.turn_interval[1]:.1f})"
    return text if curve.counts else f"[{text}]"


def rule_rows(layers: Layers) -> list[list[str]]:
    """Each rule that was computed: its blocks, their share of the weights, highest score, time, reason.

    The highest score comes with its block in front and its uncertainty in brackets.
    """
    rows = []
    for name, scores in layers.rules.items():
        best = EN_DASH
        if scores.values:
            at = max(range(len(scores.values)), key=scores.values.__getitem__)
            best = f"{at + 1}: {scores.values[at]:.2g}"
            if scores.low and scores.high:
                best += f" ({scores.low[at]:.2g}, {scores.high[at]:.2g})"
        blocks = spans(scores.blocks) if scores.blocks else EN_DASH
        share, time = percent_exact(scores.share), duration(scores.seconds)
        rows.append([name, blocks, share, best, time, scores.reason or ""])
    return rows


def front_rows(layers: Layers) -> list[list[str]]:
    """Each rule's front, a set a row: rule (once), blocks, share, gain, predicted time and memory."""
    rows = []
    for name, scores in layers.rules.items():
        for place, one in enumerate(scores.front):
            mark = "* " if one.blocks == scores.blocks else "  "
            figures = [percent_exact(one.share), percent(one.gain), duration(one.seconds_per_epoch)]
            rows.append(
                ["" if place else name, mark + spans(one.blocks), *figures, size(one.memory_bytes)]
            )
    return rows


def rate_text(rate: Rate | None) -> str:
    """A rate with its interval and n, in one cell."""
    if rate is None or rate.value is None:
        return EN_DASH
    interval = (
        "" if rate.low is None or rate.high is None else f"{percent_range(rate.low, rate.high)}, "
    )
    return f"{percent(rate.value)} ({interval}n = {rate.n})"


def measure_rows(run: RunContents) -> list[list[str]]:
    """Language, phase, and line pass rate, word pass rate, LCPR, F1, exact match.

    Languages without any such measure are left out.
    """
    rows = []
    for name, phase, pool in _pools(run):
        lines, words, f1, exact = (
            rate_text(pool.intervals.get(measure))
            for measure in ("line_pass_rate", "word_pass_rate", "f1", "exact_match")
        )
        both = EN_DASH if pool.lcpr is None else percent(pool.lcpr)
        figures = [lines, words, both, f1, exact]
        if set(figures) != {EN_DASH}:
            rows.append([name, phase, *figures])
    return rows


def language_rows(run: RunContents) -> list[list[str]]:
    """Language, phase, and what its consistency is of: the whole answer, the reasoning before the
    closing phrase; answers in several languages; options picked in the language; languages written."""
    return [
        [
            name, phase, rate_text(pool.language_consistency),
            rate_text(pool.reasoning_consistency), f"{count(pool.n_mixed)} of {count(pool.n)}",
            rate_text(pool.picked_in_target),
            ", ".join(f"{language_name(code) if code in LANGUAGES else code} {count(n)}"
                      for code, n in pool.answer_languages.items()),
        ]
        for name, phase, pool in _pools(run)
    ]  # fmt: skip


def _pools(run: RunContents) -> Iterator[tuple[str, Phase, ScoreRow]]:
    """All languages together, then each, before and after."""
    for code in [None, *run.languages]:
        for phase in PHASES:
            summary = run.phase(phase).summary
            pools = [summary.over_all, *summary.by_language] if summary else []
            for pool in (pool for pool in pools if pool.language == code):
                yield language_name(code) if code else "All languages", phase, pool


def items_of_rows(use: BenchmarkUse, code: str) -> str:
    """Usable items of a benchmark in a language, of the rows read; a dash where it has none."""
    items, rows = use.items.get(code, 0), use.rows_read.get(code)
    text = count(items) if rows is None else f"{count(items)} of {count(rows)}"
    return text if items else EN_DASH


def rows_left_out(use: BenchmarkUse) -> list[str]:
    """A line for each language and reason; what follows a reason's colon is about one row."""
    reasons: Counter[tuple[str, str]] = Counter()
    for one in use.dropped:
        names = joined([language_name(code) for code in one.language.split(",")])
        reasons[names, one.reason.partition(":")[0]] += one.rows
    return [f"{count(n)} {names}: {why}" for (names, why), n in reasons.most_common()]


def commands(run: RunContents, config: str = "config.yaml", to: str = "again") -> list[str]:
    """What to type to do the same again: no stage more than this run has had.

    Args:
        config: file that the run's config was saved as.
        to: folder of the new run.
    """
    if run.tuning is not None:
        return [f"linguamap run --config {config} --out {to}"]
    found = [f"linguamap evaluate --config {config} --out {to}"]
    if run.before.lens:
        found.append(f"linguamap {'locate' if run.layers else 'probe'} --out {to}")
    return found
