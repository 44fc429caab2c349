"""In which layer does a model start to speak the wanted language? The language lens on a few texts, drawn.

python examples/which_layer.py --model starter --languages es,hi --out which_layer.svg
"""

# %% What is read: starter items with worked answers, which carry their language with certainty
import argparse
import sys
from pathlib import Path

from linguamap import charts
from linguamap.benchmarks import load_benchmark
from linguamap.config import ModelConfig
from linguamap.models.loading import load_model
from linguamap.probes.curves import lens_curves
from linguamap.probes.lens import identifier_ceiling, language_lens
from linguamap.probes.texts import LensText
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


# %% The whole way: load, read, count, draw
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="starter", help="starter, a hub name or a folder")
    parser.add_argument("--languages", default="es,hi", help="codes other than en, e.g. es,hi")
    parser.add_argument("--items", type=int, default=4, help="items per language")
    parser.add_argument("--out", type=Path, default=Path("which_layer.svg"))
    options = parser.parse_args()
    languages = options.languages.split(",")

    lm = load_model(ModelConfig(name=options.model))
    texts = texts_to_read(languages, options.items)
    identifier = make_identifier("lingua", ["en", *languages])
    curves = lens_curves(language_lens(lm, texts, identifier))
    ceilings = identifier_ceiling(
        identifier,
        {code: [t.answer_text for t in texts if t.language == code] for code in languages},
    )

    chart = charts.lens(
        curves, languages=languages, marks=charts.LayerMarks(lm.n_layers),
        ceilings={code: ceilings[code]["value"] for code in languages},
    )  # fmt: skip
    chart.save(options.out)
    print(f"Figure: {options.out}")


if __name__ == "__main__":
    try:
        main()
    except UserError as error:
        print(f"Error: {error}", file=sys.stderr)
        sys.exit(2)
