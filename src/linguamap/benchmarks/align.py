"""One benchmark out of the readings of several languages: the same ids in each of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from linguamap.benchmarks.rows import Reading
from linguamap.records import Benchmark, Dropped, Item, Kind, Split, UserError

SHIFTED_SHARE = 0.2
SHIFTED_ROWS = 5
"""A language whose answers differ from English in more rows than both of these is refused: its file
is shifted against the others, and rows that agree do so by chance."""


@dataclass(frozen=True)
class Sources:
    """What :func:`align` works on.

    Attributes:
        readings: language -> reading; English is among them wherever it exists.
        description: where the rows come from.
        missing: language that was asked for -> why it is not here.
        by_line: rows belong together by their line number, so all files must be equally long.
        aligned: False if the languages have items of their own.
    """

    readings: dict[str, Reading]
    description: str
    missing: dict[str, str] = field(default_factory=dict)
    by_line: bool = False
    aligned: bool = True


def align(
    name: str, kind: Kind, split: Split, languages: Sequence[str], sources: Sources
) -> Benchmark:
    """Keep the items that every language has with the same answer, and say why others go.

    Args:
        languages: those asked for; those without a reading are left out.
    Raises:
        UserError: files that belong together by line differ in length; a file is shifted against
            the others.
    """
    readings = sources.readings
    if sources.by_line:
        _check_lengths(readings)
    dropped = [one for reading in readings.values() for one in reading.dropped]
    items = {code: {item.item_id: item for item in found.items} for code, found in readings.items()}
    if sources.aligned:
        odd = _disagreements(kind, readings, items)
        dropped.extend(odd)
        gone = {one.item_id for one in odd}
        common = set.intersection(*(set(found) for found in items.values())) - gone
        dropped.extend(_unmatched(items, common | {one.item_id for one in dropped}))
        order = [item_id for item_id in next(iter(items.values())) if item_id in common]
        items = {code: {one: found[one] for one in order} for code, found in items.items()}
    used = {code: tuple(items[code].values()) for code in languages if code in items}
    return Benchmark(
        name=name,
        kind=kind,
        split=split,
        items=used,
        rows_read={code: reading.rows for code, reading in readings.items()},
        dropped=tuple(dropped),
        source=sources.description,
        english=tuple(items.get("en", {}).values()) if sources.aligned else (),
        missing_languages=sources.missing,
        aligned=sources.aligned,
    )


def describe_use(benchmark: Benchmark) -> str:
    """One line: how many rows of which source are used, and why others are not.

    Reasons are counted by their text before the colon; what follows it is about one row.
    """
    used = {code: len(items) for code, items in benchmark.items.items()}
    read = {code: benchmark.rows_read.get(code, 0) for code in used}
    counts = ", ".join(f"{code} {used[code]} of {read[code]}" for code in used)
    reasons: Counter[str] = Counter()
    for one in benchmark.dropped:
        reasons[f"{one.language}: {one.reason.partition(':')[0]}"] += one.rows
    text = f"{benchmark.name} ({benchmark.source}): rows used: {counts}"
    if reasons:
        text += "; left out: " + "; ".join(f"{n} ({why})" for why, n in reasons.most_common())
    if benchmark.missing_languages:
        absent = (f"{code} ({why})" for code, why in benchmark.missing_languages.items())
        text += "; languages left out: " + ", ".join(absent)
    return text


def _check_lengths(readings: Mapping[str, Reading]) -> None:
    lengths = Counter(reading.rows for reading in readings.values())
    usual = readings["en"].rows if "en" in readings else lengths.most_common(1)[0][0]
    for code, reading in readings.items():
        if reading.rows != usual:
            last = list(reading.places.values())[-1] if reading.places else f"the {code} file"
            raise UserError(
                f"{last} is the last of {reading.rows} lines, but the other languages have "
                f"{usual}; lines belong together by their number, so restore the missing ones"
            )


def _disagreements(
    kind: Kind, readings: Mapping[str, Reading], items: Mapping[str, Mapping[str, Item]]
) -> list[Dropped]:
    """Items whose number or letter, or number of options, is not the same in all languages."""
    if kind not in ("sums", "choice"):
        return []
    reference = "en" if "en" in items else next(iter(items))
    odd: list[Dropped] = []
    faults: Counter[str] = Counter()
    ids = dict.fromkeys(item_id for found in items.values() for item_id in found)
    for item_id in ids:
        answers = {
            code: (found[item_id].gold[0], len(found[item_id].options))
            for code, found in items.items()
            if item_id in found
        }
        if len(set(answers.values())) == 1:
            continue
        usual = _usual(answers, reference)
        codes = [code for code, answer in answers.items() if answer != usual]
        faults.update(codes)
        found = " and ".join(sorted({_say(answers[code]) for code in codes}))
        reason = f"the answer differs: {found}, but {_say(usual)} in the other languages"
        odd.append(Dropped(",".join(codes), item_id, reason))
    for code, count in faults.items():
        if count > SHIFTED_ROWS and count > SHIFTED_SHARE * len(items[code]):
            first = next(one for one in odd if code in one.language.split(","))
            place = readings[code].places[first.item_id]
            raise UserError(
                f"{place}: {first.reason}; {count} of {len(items[code])} rows in {code} differ, "
                "so this file is shifted against the others: restore the original"
            )
    return odd


def _usual(answers: Mapping[str, tuple[str, int]], reference: str) -> tuple[str, int]:
    """The most frequent answer; the reference language's if several are."""
    counts = Counter(answers.values())
    most = max(counts.values())
    own = answers.get(reference)
    if own is not None and counts[own] == most:
        return own
    return counts.most_common(1)[0][0]


def _say(answer: tuple[str, int]) -> str:
    text, options = answer
    return f"{text} of {options} options" if options not in (0, 4) else text


def _unmatched(items: Mapping[str, Mapping[str, Item]], known: set[str]) -> list[Dropped]:
    """Ids that some language lacks, counted by subject and by the languages that lack them."""
    counts: Counter[tuple[str, str]] = Counter()
    ids = dict.fromkeys(item_id for found in items.values() for item_id in found)
    for item_id in ids:
        if item_id not in known:
            lacking = ",".join(code for code, found in items.items() if item_id not in found)
            item = next(found[item_id] for found in items.values() if item_id in found)
            counts[lacking, item.subject or ""] += 1
    return [
        Dropped(lacking, f"{subject}/*" if subject else "*", "not in these files", rows)
        for (lacking, subject), rows in counts.items()
    ]
