"""Did tuning mend the language? Consistency before and after, with intervals, from a finished run.

python examples/before_after.py --run runs/starter --out before_after.png
"""

# %% What is read: the cells of two files of the run folder; no model is needed
import argparse
import sys
from pathlib import Path

from linguamap.report.colours import language_inks
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from linguamap.records import UserError
from linguamap.run.folder import read_json
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


# %% One panel a scenario: an open mark before tuning, a full one after it
def draw_scenario(axis: Axes, before: list[dict], after: list[dict], languages: list[str]) -> None:
    """Two marks with 95 % intervals a language; a language without answers that count has none."""
    inks = language_inks(languages)
    for place, language in enumerate(languages):
        for cells, shift, fill in ((before, -0.14, "none"), (after, 0.14, "full")):
            found = consistency(cells, language)
            if found is None:
                continue
            value, low, high, n = found
            axis.errorbar(
                place + shift,
                value,
                yerr=[[max(0.0, value - low)], [max(0.0, high - value)]],
                fmt="o",
                fillstyle=fill,
                color=inks[language].light,
                capsize=2,
            )
            axis.annotate(f"{n}", (place + shift, -0.07), fontsize=6, ha="center")
    axis.set_xticks(range(len(languages)), languages)
    axis.set_ylim(-0.1, 1.03)
    axis.grid(axis="y", alpha=0.3)


# %% The whole way: read, draw
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--run", type=Path, default=Path("runs/starter"), help="a finished run")
    parser.add_argument("--out", type=Path, default=Path("before_after.png"))
    options = parser.parse_args()

    before = read_json(options.run / "before" / "summary.json")["cells"]
    after = read_json(options.run / "after" / "summary.json")["cells"]
    languages = list(dict.fromkeys(cell["language"] for cell in before))
    scenarios = [name for name in SCENARIOS if any(cell["scenario"] == name for cell in before)]

    figure = Figure(figsize=(2.6 * len(scenarios), 3.0), layout="constrained")
    axes = figure.subplots(1, len(scenarios), sharey=True, squeeze=False)[0]
    for axis, scenario in zip(axes, scenarios, strict=True):
        sides = [
            [cell for cell in cells if cell["scenario"] == scenario] for cells in (before, after)
        ]
        draw_scenario(axis, *sides, languages)
        axis.set_title(scenario)
    axes[0].set_ylabel("language consistency")
    figure.suptitle("open: before tuning, full: after; below: answers that could be judged")
    figure.savefig(options.out, dpi=160)
    print(f"Figure: {options.out}")


if __name__ == "__main__":
    try:
        main()
    except UserError as error:
        print(f"Error: {error}", file=sys.stderr)
        sys.exit(2)
