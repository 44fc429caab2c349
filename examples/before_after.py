"""Did tuning fix the language? Consistency before and after, with intervals, from a finished run.

python examples/before_after.py --run runs/starter --out before_after.svg
"""

# %% What is read: the cells of two files of the run folder; no model is needed
import argparse
import sys
from pathlib import Path

from linguamap import charts
from linguamap.records import UserError
from linguamap.run.files import read_json
from linguamap.scoring.stats import wilson

SCENARIOS = ("monolingual", "code_mixed", "english_distractor", "bilingual_answer")


def consistency(cells: list[dict], language: str) -> tuple[float, float, float, int] | None:
    """Rate, limits and n of one language over its cells, or None where nothing could be judged.

    Within one scenario an item occurs once, so the counts of its benchmarks may be added up.
    """
    rates = [
        cell["language_consistency"]
        for cell in cells
        if cell["language"] == language and cell["language_consistency"]["n"]
    ]
    n = sum(rate["n"] for rate in rates)
    if n == 0:
        return None
    pooled = wilson(round(sum(rate["value"] * rate["n"] for rate in rates)), n)
    return pooled.value, pooled.low, pooled.high, n


# %% One row for each language under each scenario, before and after
def rows(cells: list[dict], phase: str) -> list[dict]:
    """The rates as :func:`linguamap.charts.change` takes them."""
    found = []
    for scenario in SCENARIOS:
        own = [cell for cell in cells if cell["scenario"] == scenario]
        for language in dict.fromkeys(cell["language"] for cell in own):
            if (rate := consistency(own, language)) is not None:
                names = {"phase": phase, "scenario": scenario, "language": language}
                values = dict(zip(("value", "low", "high", "n"), rate, strict=True))
                found.append(names | {"measure": "language"} | values)
    return found


# %% The whole way: read, draw
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--run", type=Path, default=Path("runs/starter"), help="a finished run")
    parser.add_argument("--out", type=Path, default=Path("before_after.svg"))
    options = parser.parse_args()

    before = read_json(options.run / "before" / "summary.json")["cells"]
    after = read_json(options.run / "after" / "summary.json")["cells"]
    chart = charts.change([*rows(before, "before"), *rows(after, "after")])
    chart.save(options.out)
    print(f"Figure: {options.out}")


if __name__ == "__main__":
    try:
        main()
    except UserError as error:
        print(f"Error: {error}", file=sys.stderr)
        sys.exit(2)
