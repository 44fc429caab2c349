"""Does a model answer own prompts in the language asked for, and where in its layers is that decided?

Nothing is needed but the prompts: the model's own answers are read for their language, sentence by
sentence, and run through the language lens. Task scores need items with right answers instead.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from linguamap.api.typed_results import LanguageCheck, Lens
from linguamap.benchmarks import starter_benchmarks
from linguamap.config import RunConfig
from linguamap.progress import Progress, busy, silent
from linguamap.records import Answer, Completion, Prompt
from linguamap.scoring.extraction.prose import drift
from linguamap.scoring.language_id import make_identifier
from linguamap.scoring.score import score_answer

if TYPE_CHECKING:
    from linguamap.models.language_model import LanguageModel
    from linguamap.scoring.language_id import Identifier

LENS_ANSWERS = 48
"""So many answers are read by the lens; more make its bands narrower and nothing else."""


def check_prompts(
    model: Callable[[], LanguageModel],
    prompts: Sequence[Prompt],
    config: RunConfig,
    progress: Progress = silent,
) -> LanguageCheck:
    """Ask every prompt, score the languages of the answers, and read the layers along them.

    Args:
        model: loads the model, or hands on one that is loaded; not called where
            ``config.evaluate.endpoint`` names a server, whose layers cannot be seen.
        config: its sections ``model``, ``evaluate`` and ``score``, languages and seed count.
    Raises:
        UserError: a prompt is too long, or the server fails.
    """
    identifier = candidates([prompt.language for prompt in prompts], config)
    asked = {prompt.prompt_id: prompt for prompt in prompts}
    completions: list[Completion] = []
    lm = None
    if config.evaluate.endpoint:
        from linguamap.generation.endpoint import answer_over_endpoint

        answer_over_endpoint(
            prompts, config.evaluate, config.model, seed=config.seed, save=completions.extend,
            progress=progress, label="answers",
        )  # fmt: skip
    else:
        busy(progress, f"loading {Path(config.model.name).name}")
        lm = model()
        completions = answers_of(lm, prompts, config, progress)
    found = {one.prompt_id: one for one in completions}
    answers = [
        score_answer(found[name], prompt, identifier, config.score)
        for name, prompt in asked.items()
    ]
    least = config.score.min_letters
    turns = {one.prompt_id: drift(one.answer, one.language, identifier, least) for one in answers}
    lens = {None: None, False: None} if lm is None else _lenses(lm, asked, answers, identifier)
    return LanguageCheck(
        answers={"before": answers},
        model=config.model.name,
        drifts={name: turn for name, turn in turns.items() if turn is not None},
        lens=lens[None],
        lens_astray=lens[False],
    )


def answers_of(
    lm: LanguageModel, prompts: Sequence[Prompt], config: RunConfig, progress: Progress = silent
) -> list[Completion]:
    """The model's own answers, as ``config.evaluate`` says."""
    from linguamap.generation.local import generate

    completions: list[Completion] = []
    generate(
        lm, prompts, config.evaluate, model_config=config.model, seed=config.seed,
        save=completions.extend, progress=progress, label="answers",
    )  # fmt: skip
    return completions


def candidates(languages: Sequence[str], config: RunConfig) -> Identifier:
    """An identifier that tells these languages from English and the run's other ones."""
    names = dict.fromkeys([*languages, "en", *config.languages])
    return make_identifier(config.score.identifier, list(names))


def _lenses(
    lm: LanguageModel, asked: dict[str, Prompt], answers: Sequence[Answer], identifier: Identifier
) -> dict[bool | None, Lens | None]:
    """The lens of all answers (None), and of those in a wrong language (False)."""
    groups: dict[bool | None, list[Answer]] = {
        None: [one for one in answers if one.answer.strip()],
        False: [one for one in answers if one.answer.strip() and one.language_correct is False],
    }
    return {
        key: lens_of(lm, [(asked[one.prompt_id], one.answer) for one in own[:LENS_ANSWERS]], identifier)
        for key, own in groups.items()
    }  # fmt: skip


def lens_of(
    lm: LanguageModel,
    answered: Sequence[tuple[Prompt, str]],
    identifier: Identifier,
    fitted: bool = False,
) -> Lens | None:
    """The language lens along answers, plain or fitted on the package's own items; None without any."""
    from linguamap.probes.curves import lens_curves
    from linguamap.probes.fitted_lens import fit_lens
    from linguamap.probes.lens import language_lens
    from linguamap.probes.texts import with_answer

    if not answered:
        return None
    texts = [with_answer(lm, prompt, answer) for prompt, answer in answered]
    mapped = fit_lens(lm, _own_texts()) if fitted else None
    table = lens_curves(language_lens(lm, texts, identifier, mapped=mapped))
    return Lens(table, lm.n_layers, tuple(dict.fromkeys(text.language for text in texts)))


def _own_texts() -> dict[str, list[str]]:
    """The passages and questions of the package's training items, by language."""
    texts: dict[str, list[str]] = {}
    for benchmark in (one for one in starter_benchmarks() if one.split == "train"):
        for code, items in benchmark.items.items():
            texts.setdefault(code, []).extend(item.passage or item.question for item in items)
    return texts
