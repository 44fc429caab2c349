"""Real answers of a 7B model to MGSM: what was read right once stays read, what was lost is won.

The file lies with the benchmarks and is never copied. A row counts as read by luck where the answer
says another number and the gold one only comes last in it ("10 (20 - 5)" for the gold number 5,
"2/3 of that" for 3, "18.76 hours at a speed of 5 km/h"): a reader that is right loses those.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from linguamap.records import Part, Prompt
from linguamap.scoring.score import extract

BY_LUCK = frozenset(
    {6, 65, 205, 207, 234, 256, 278, 317, 322, 370, 428, 438, 442, 506, 512, 527, 606, 610, 624, 651, 698, 706, 738, 751, 829, 836, 837, 871, 884, 885}
)  # fmt: skip
"""Rows (counted from 0) whose answer was found by going through them to say another number."""


def test_real_answers_are_read(benchmarks_dir: Path) -> None:
    answers = benchmarks_dir / "mgsm_answers" / "answers.jsonl"
    if not answers.is_file():
        pytest.skip(f"{answers} is missing")
    rows = [json.loads(line) for line in answers.read_text(encoding="utf-8").splitlines()]
    missed = {"read": [], "lost": []}
    for place, row in enumerate(rows):
        prompt = Prompt(
            "1", "mgsm", "sums", row["language"], "monolingual", (Part("Q", "?"),), (row["gold"],)
        )
        if extract(row["answer"], prompt).value != row["gold"]:
            missed[row["by_0_1_0"]].append(place)
    assert set(missed["read"]) <= BY_LUCK
    assert len(missed["lost"]) <= 1
