"""In which layer does a model start to speak the wanted language? The language lens on a few texts, drawn.

python examples/which_layer.py --model starter --languages es,hi --out which_layer.png
"""

# %% What is read: starter items with worked answers, which carry their language with certainty
import argparse
import sys
from pathlib import Path

from linguamap.report.colours import language_inks
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from linguamap.benchmarks import load_benchmark
from linguamap.config import ModelConfig
from linguamap.models.loading import load_model
from linguamap.probes.lens import LensText, identifier_ceiling, language_lens, lens_curves
from linguamap.prompts.scenarios import render_all
from linguamap.records import UserError
from linguamap.scoring.language_id import make_identifier


def texts_to_read(languages: list[str], n_items: int) -> list[LensText]:
    """Prompts in each language, each with the worked answer that the model reads below it."""
    benchmark = load_benchmark("sums", languages, "train")
    return [
        LensText(
            item_id=prompt.item_id,
            group=prompt.group or prompt.item_id,
            language=prompt.language,
            scenario=prompt.scenario,
            kind=prompt.kind,
            prompt_text=prompt.text,
            answer_text="".join(part.text for part in prompt.reference),
        )
        for prompt in render_all(benchmark, languages, ["monolingual"], n_items)
    ]


# %% One panel a language: the wanted language against English, over the layers
def draw_language(axis: Axes, curves: list[dict], language: str, ceiling: float | None) -> None:
    """Shares of words with their bootstrap bands; the dotted line is the most the identifier allows."""
    inks = language_inks(["en", language])
    for code in (language, "en"):
        points = sorted(
            (row for row in curves if row["word_language"] == code), key=lambda row: row["layer"]
        )
        layers = [row["layer"] for row in points]
        axis.plot(layers, [row["share"] for row in points], color=inks[code].light, label=code)
        banded = [row for row in points if row["low"] is not None]
        axis.fill_between(
            [row["layer"] for row in banded],
            [row["low"] for row in banded],
            [row["high"] for row in banded],
            color=inks[code].light,
            alpha=0.15,
            linewidth=0,
        )
    if ceiling is not None:
        axis.axhline(ceiling, color=inks[language].light, linestyle=":", linewidth=1)
    axis.set(title=f"answer wanted in {language}", xlabel="layer", ylim=(-0.02, 1.02))
    axis.legend(frameon=False, loc="center right", bbox_to_anchor=(1.0, 0.62))


# %% The whole way: load, read, count, draw
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="starter", help="starter, a hub name or a folder")
    parser.add_argument("--languages", default="es,hi", help="codes other than en, e.g. es,hi")
    parser.add_argument("--items", type=int, default=4, help="items a language")
    parser.add_argument("--out", type=Path, default=Path("which_layer.png"))
    options = parser.parse_args()
    languages = options.languages.split(",")

    lm = load_model(ModelConfig(name=options.model))
    texts = texts_to_read(languages, options.items)
    identifier = make_identifier("lingua", ["en", *languages])
    curves = lens_curves(language_lens(lm, texts, identifier)).to_pylist()
    ceilings = identifier_ceiling(
        identifier,
        {code: [t.answer_text for t in texts if t.language == code] for code in languages},
    )

    figure = Figure(figsize=(3.6 * len(languages), 3.2), layout="constrained")
    axes = figure.subplots(1, len(languages), sharey=True, squeeze=False)[0]
    for axis, code in zip(axes, languages, strict=True):
        own = [row for row in curves if row["target_language"] == code]
        draw_language(axis, own, code, ceilings[code]["value"])
    axes[0].set_ylabel("share of the layer's words")
    figure.suptitle(f"{lm.name}: the language of each layer's words")
    figure.savefig(options.out, dpi=160)
    print(f"Figure: {options.out}")


if __name__ == "__main__":
    try:
        main()
    except UserError as error:
        print(f"Error: {error}", file=sys.stderr)
        sys.exit(2)
