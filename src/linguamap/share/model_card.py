"""The model card of a tuned model: what was tuned, what it changed with n and intervals, how to load it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from linguamap.charts.naming import percent, percent_exact, scenario_name, size, spans
from linguamap.records import Summary, UserError
from linguamap.report.rates import rate_of
from linguamap.run.contents import as_json
from linguamap.run.files import read_as, read_json
from linguamap.share.citation import PAPER
from linguamap.tuning.methods import method_of

if TYPE_CHECKING:
    from linguamap.config import RunConfig

STARTER_BASE = "google/gemma-3-270m"
GEMMA = (
    "Gemma is provided under and subject to the [Gemma Terms of Use]"
    "(https://ai.google.dev/gemma/terms); they hold for these weights as well."
)
HUB_NAME = re.compile(r"[\w.-]+/[\w.-]+")

CITATION = f"```bibtex\n{PAPER}\n```"


def write_card(run: Path, config: RunConfig, repo: str, merged: bool) -> str:
    """The text of ``README.md`` for a run's delta or merged model.

    Args:
        run: a run folder that was evaluated before and after tuning.
        repo: ``user/name`` on the hub.
        merged: whether the folder holds a whole model rather than the delta.
    Raises:
        UserError: the run has no answers after tuning.
    """
    tuning = read_json(run / "tuned" / "tuning.json")
    missing = [w for w in ("before", "after") if not (run / w / "summary.json").is_file()]
    if missing:
        raise UserError(
            f"push: {run} has no answers {missing[0]} tuning, and the card shows what tuning changed; "
            f"run: linguamap after --out {run}"
        )
    before, after = (
        as_json(read_as(Summary, run / phase / "summary.json")) for phase in ("before", "after")
    )
    base, linked = base_model(config)
    sections = [
        _front_matter(config, merged),
        f"# {repo.partition('/')[2] or repo}",
        f"{_what(tuning, merged)} of {f'[{base}](https://huggingface.co/{base})' if linked else base}, "
        "made with linguamap so that it answers in the language that it is asked for.",
        "## Before and after",
        _table(before, after),
        _about_table(config, before, after),
        "## How it was tuned",
        _how(config, tuning),
        "## How to load it",
        _load(config, repo, merged, method_of(tuning["method"]).applies == "vectors"),
        "## Licence",
        GEMMA
        if config.model.name == "starter"
        else f"Made from {base}: its licence and terms hold for these weights as well.",
        "## Citation",
        "The method starts from LinguaMap; this is an independent implementation of it.",
        CITATION,
    ]
    return "\n\n".join(sections) + "\n"


def base_model(config: RunConfig) -> tuple[str, bool]:
    """The base's name, fit for publication, and whether it is one on the hub.

    Of a local folder or file only the last part of the path is told.
    """
    name = config.model.name
    if name == "starter":
        return STARTER_BASE, True
    path = Path(name).expanduser()
    if HUB_NAME.fullmatch(name) and not path.exists():
        return name, True
    return path.name, False


def _front_matter(config: RunConfig, merged: bool) -> str:
    base, linked = base_model(config)
    facts: dict[str, Any] = {
        "language": list(config.languages),
        "tags": ["linguamap", "multilingual", "language-consistency"],
    }
    if linked:
        facts |= {"base_model": base, "base_model_relation": "finetune" if merged else "adapter"}
    if merged:
        facts |= {"library_name": "transformers", "pipeline_tag": "text-generation"}
    facts["license"] = "gemma" if config.model.name == "starter" else "other"
    if facts["license"] == "other":
        facts["license_name"] = "that-of-the-base-model"
        if linked:
            facts["license_link"] = f"https://huggingface.co/{base}"
    return f"---\n{yaml.safe_dump(facts, sort_keys=False, allow_unicode=True)}---"


def _what(tuning: dict[str, Any], merged: bool) -> str:
    if merged:
        return "A version"
    if method_of(tuning["method"]).applies == "vectors":
        return "Language vectors (no weight changes)"
    return "A delta (only the trained tensors)"


def _table(before: dict[str, Any], after: dict[str, Any]) -> str:
    lines = [
        "| | language consistency before | after | task accuracy before | after |",
        "|---|---|---|---|---|",
    ]
    later = {row["scenario"]: row for row in after["overall"]}
    for row in before["overall"]:
        other = later.get(row["scenario"], {})
        name = "all scenarios" if row["scenario"] is None else scenario_name(row["scenario"])
        cells = [
            _cell(one.get(measure))
            for measure in ("language_consistency", "task_accuracy")
            for one in (row, other)
        ]
        lines.append(f"| {' | '.join([_plain(name), *cells])} |")
    return "\n".join(lines)


def _cell(value: Any) -> str:
    rate = rate_of(value)
    if rate is None or rate.value is None:
        return "no data"
    interval = ""
    if rate.low is not None and rate.high is not None:
        interval = f" ({percent(rate.low)} to {percent(rate.high)})"
    return f"{percent(rate.value)}{interval}, n = {rate.n}"


def _about_table(config: RunConfig, before: dict[str, Any], after: dict[str, Any]) -> str:
    benchmarks = sorted({str(cell["benchmark"]) for cell in before["cells"]})
    left = [
        f"{row['outcomes']['unscored']} of {row['n']} {when}"
        for when, summary in (("before", before), ("after", after))
        for row in summary["overall"]
        if row["scenario"] is None
    ]
    return (
        f"Benchmarks: {', '.join(map(_plain, benchmarks))}; languages: {', '.join(config.languages)}; "
        f"the same items before and after, none of them trained on; seed {config.seed}. In brackets: "
        "95 % intervals, over all scenarios clustered by item group. n counts the answers that could be "
        f"judged; not judged on task or language: {' and '.join(left)}. English distractors and "
        "bilingual answer offer English text that can be copied, so read the rows apart; an accuracy "
        "that stays the same does not show that ability was kept."
    )


def _how(config: RunConfig, tuning: dict[str, Any]) -> str:
    method, layers = tuning["method"], tuning["layers"]
    lines = [f"- Method: {method}"]
    if layers:
        lines.append(f"- Blocks: {spans(layers)} (1 is the first)")
    if tuning["trainable_parameters"]:
        lines.append(
            f"- Trained: {tuning['trainable_parameters']:,} of {tuning['total_parameters']:,} "
            f"parameters ({percent_exact(tuning['trainable_share'])}), {tuning['epochs']} epochs, "
            f"learning rate {tuning['learning_rate']}, seed {tuning['seed']}"
        )
    if tuning.get("strength") is not None:
        lines.append(f"- Strength of the vectors: {tuning['strength']:g}")
    if tuning.get("training_examples"):
        lines.append(
            f"- Examples: {tuning['training_examples']} to train on, "
            f"{tuning['validation_examples']} to validate"
        )
    lines.append(f"- Size of the delta: {size(tuning['delta_bytes'])}")
    return "\n".join(lines)


def _load(config: RunConfig, repo: str, merged: bool, steered: bool) -> str:
    if merged:
        return (
            "```python\nfrom transformers import AutoModelForCausalLM, AutoTokenizer\n\n"
            f'model = AutoModelForCausalLM.from_pretrained("{repo}")\n'
            f'tokenizer = AutoTokenizer.from_pretrained("{repo}")\n```'
        )
    base, linked = base_model(config)
    name = "starter" if config.model.name == "starter" else base
    revision = f', revision="{config.model.revision}"' if config.model.revision else ""
    note = "" if linked else f"\n\n`{base}` stands for the folder of the base model."
    rows = (
        '\nwith lm.speaking(["LANGUAGE"]):  # the language of each row of the batch\n'
        '    output = model(**tokenizer(["..."], return_tensors="pt"))\n'
    )
    return (
        "```python\nfrom pathlib import Path\n\nfrom huggingface_hub import hf_hub_download\n"
        "from linguamap.config import ModelConfig\n"
        "from linguamap.models.loading import load_model\n"
        "from linguamap.tuning.delta import apply_delta\n\n"
        f'delta = hf_hub_download("{repo}", "delta.safetensors")\n'
        f'base = load_model(ModelConfig(name="{name}"{revision}))\n'
        "lm = apply_delta(base, Path(delta))\n"
        f"model, tokenizer = lm.model, lm.tokenizer\n{rows if steered else ''}```{note}"
    )


def _plain(text: str) -> str:
    """A name fit for a Markdown table."""
    return re.sub(r"([\\|<>`*_\[\]])", r"\\\1", " ".join(text.split()))
