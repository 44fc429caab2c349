"""The main job's tuned model on starter items that the run did not ask, by which no setting was chosen.

linguamap merge --out runs/starter --to merged
linguamap evaluate --out runs/all_before --set evaluate.items=24
linguamap evaluate --out runs/all_after --model merged --set evaluate.items=24
python studies/held_out.py runs/starter runs/all_before runs/all_after
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from linguamap.run.files import read_rows
from linguamap.scoring.compare import compare_answers

Row = dict[str, Any]


def main() -> None:
    if len(sys.argv) != 4:
        sys.exit(__doc__)
    run, before, after = (
        read_rows(Path(name) / "before" / "answers.jsonl") for name in sys.argv[1:]
    )
    asked = {(row["benchmark"], row["item_id"]) for row in run}
    first, second = ([row for row in rows if _key(row) not in asked] for rows in (before, after))
    print(f"{len({_key(row) for row in first})} items that {sys.argv[1]} did not ask\n")
    print("| | language consistency | n | task accuracy | n | right |\n|---|---|---|---|---|---|")
    for scenario in (None, *dict.fromkeys(row["scenario"] for row in first)):
        print(_line(scenario, *(_of(rows, scenario) for rows in (first, second))))
    found = compare_answers(first, second, seed=0)["overall"]
    for name, cell in found.items():
        print(
            f"\n{name}, the same prompts: {100 * cell['difference']:+.1f} points "
            f"({100 * cell['low']:+.1f} to {100 * cell['high']:+.1f}), p = "
            f"{cell['mcnemar_p']:.2g} ({cell['test'].replace('_', ' ')}), n = {cell['n']}"
        )


def _key(row: Row) -> tuple[str, str]:
    return row["benchmark"], row["item_id"]


def _of(rows: list[Row], scenario: str | None) -> list[Row]:
    """A scenario's answers, or all with those that coincide counted once."""
    if scenario is None:
        return [row for row in rows if row["coincides_with"] is None]
    return [row for row in rows if row["scenario"] == scenario]


def _line(scenario: str | None, *sides: list[Row]) -> str:
    cells = [(scenario or "all scenarios").replace("_", " ")]
    for name in ("language_correct", "task_correct"):
        judged = [[row[name] for row in rows if row[name] is not None] for rows in sides]
        rates = [f"{100 * sum(found) / len(found):.1f} %" if found else "–" for found in judged]
        cells += [" -> ".join(rates), ", ".join(str(len(found)) for found in judged)]
    right = [str(sum(row["task_correct"] or 0 for row in rows)) for rows in sides]
    cells.append(f"{' -> '.join(right)} of {len(sides[0])}")
    return f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    main()
