"""The main job's tuned model on starter items that the run did not ask.

linguamap merge --out runs/starter --to merged
linguamap evaluate --out runs/all_before --set evaluate.items=24
linguamap evaluate --out runs/all_after --model merged --set evaluate.items=24
python studies/held_out.py runs/starter runs/all_before runs/all_after
"""

from __future__ import annotations

import sys
from pathlib import Path

from linguamap.records import Answer
from linguamap.run.files import read_answers
from linguamap.scoring.compare import compare_answers
from linguamap.scoring.summary import MEASURES, own_answers


def main() -> None:
    if len(sys.argv) != 4:
        sys.exit(__doc__)
    run, before, after = (
        read_answers(Path(name) / "before" / "answers.jsonl") for name in sys.argv[1:]
    )
    asked = {answer.item for answer in run}
    first, second = ([one for one in side if one.item not in asked] for side in (before, after))
    print(f"{len({answer.item for answer in first})} items that {sys.argv[1]} did not ask\n")
    print("| | language consistency | n | task accuracy | n | right |\n|---|---|---|---|---|---|")
    for scenario in (None, *dict.fromkeys(answer.scenario for answer in first)):
        print(_line(scenario, *(_of(side, scenario) for side in (first, second))))
    overall = compare_answers(first, second, seed=0).overall
    for name in MEASURES:
        change = getattr(overall, name)
        print(
            f"\n{name}, the same prompts: {100 * change.difference:+.1f} points "
            f"({100 * change.low:+.1f} to {100 * change.high:+.1f}), p = "
            f"{change.p_value:.2g} ({change.test.replace('_', ' ')}), n = {change.n}"
        )


def _of(answers: list[Answer], scenario: str | None) -> list[Answer]:
    """A scenario's answers, or all; those that coincide with another scenario's are counted there."""
    return [one for one in own_answers(answers) if scenario in (None, one.scenario)]


def _line(scenario: str | None, *sides: list[Answer]) -> str:
    cells = [(scenario or "all scenarios").replace("_", " ")]
    for name in ("language_correct", "task_correct"):
        judged = [[v for one in side if (v := getattr(one, name)) is not None] for side in sides]
        rates = [f"{100 * sum(found) / len(found):.1f} %" if found else "–" for found in judged]
        cells += [" -> ".join(rates), ", ".join(str(len(found)) for found in judged)]
    right = [str(sum(one.task_correct or 0 for one in side)) for side in sides]
    cells.append(f"{' -> '.join(right)} of {len(sides[0])}")
    return f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    main()
