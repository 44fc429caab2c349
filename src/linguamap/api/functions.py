"""The public functions, see :mod:`linguamap`; each loads what it needs when it is called."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from string import ascii_uppercase
from typing import TYPE_CHECKING, Any

from linguamap.api.language_check import answers_of, candidates, check_prompts, lens_of
from linguamap.api.typed_results import (
    Handover,
    Identified,
    LanguageCheck,
    Lens,
    Scores,
    Similarity,
)
from linguamap.benchmarks.rows import plain_number
from linguamap.config import ModelConfig, RunConfig
from linguamap.languages import LANGUAGES, get_language, language_code, words
from linguamap.prompts.own_prompts import SUFFIXES, plain_prompt, prompts_of, read_prompts
from linguamap.records import Completion, Kind, Option, Part, Prompt, UserError
from linguamap.run.settings import load_config
from linguamap.scoring.extraction.prose import text_language
from linguamap.scoring.language_id import make_identifier
from linguamap.scoring.score import score_answer

if TYPE_CHECKING:
    from linguamap.models.language_model import LanguageModel

Prompts = str | Path | Sequence[str | Mapping[str, Any]]
"""A file (.jsonl, .csv, .txt), one text, texts, or rows with the keys of a file's lines."""


def load(model: Any, tokenizer: Any = None, **settings: Any) -> LanguageModel:
    """A model ready for everything here, proved by a self-check.

    Args:
        model: ``starter``, a hub name, a folder, a ``.gguf`` file; or a Transformers model that is
            loaded already, with its ``tokenizer``. It is used as it is and stays yours.
        settings: of :class:`linguamap.config.ModelConfig`, e.g. ``dtype="bfloat16"``, ``chat="no"``.
    Returns:
        What the other functions take for ``model``; ``.model`` and ``.tokenizer`` are Transformers' own.
    Raises:
        UserError: unknown or broken model, no causal decoder, or one that fails the self-check.
    """
    if isinstance(model, str | Path):
        from linguamap.models.loading import load_model

        return load_model(_model_config(str(model), settings))
    if tokenizer is None:
        raise UserError("load: a loaded model needs its tokenizer; give lm.load(model, tokenizer)")
    from linguamap.models.language_model import assemble
    from linguamap.models.self_check import verify_model

    name = getattr(model.config, "_name_or_path", "") or type(model).__name__
    lm = assemble(_model_config(name, settings), model.eval(), tokenizer)
    verify_model(lm)
    return lm


def check(
    model: Any, prompts: Prompts, language: str | None = None, *,
    max_new_tokens: int | None = None, endpoint: str | None = None,
) -> LanguageCheck:  # fmt: skip
    """Does the model answer these prompts in the language asked for, and where in its layers?

    Args:
        model: of :func:`load`, or what that takes.
        language: ISO 639-1 code or name; prompts that name their own keep it.
        endpoint: URL of an OpenAI-compatible server that answers; there are no layers then.
    Returns:
        ``share`` (rate with n and interval), one row a prompt in ``frame()``, ``drifts`` (answers that
        begin in the language and leave it), ``lens`` and ``lens_astray``.
    Raises:
        UserError: no prompt, no language, or a prompt that is too long.
    """
    evaluate = {"max_new_tokens": max_new_tokens, "endpoint": endpoint}
    name = model if isinstance(model, str | Path) else model.name
    config = RunConfig.model_validate({"model": {"name": str(name)}, "evaluate": evaluate})
    return check_prompts(lambda: _loaded(model), _prompts(prompts, language), config)


def lens(
    model: Any, prompts: Prompts, answers: Sequence[str] | None = None, *,
    language: str | None = None, max_new_tokens: int = 48, fitted: bool = False,
) -> Lens:  # fmt: skip
    """In which language each layer would answer (the language lens).

    Every layer's state goes through the model's own final norm and head at each position of the
    answer; the arg-max tokens are joined into words, and each word is identified. Lower layers write
    noise in which an identifier finds English above all: read curves against each other.

    Args:
        answers: one a prompt, read along (teacher-forced); None has the model write its own.
        language: that the answers should be in; prompts that name their own keep it.
        max_new_tokens: of own answers.
        fitted: read each layer through an affine map to the last one, fitted on the package's own texts
            in six languages, so that middle layers are not read in the head's basis.
    Returns:
        ``frame()``: a row for each layer and word language; ``plot()``; ``overtakes``: the first layer
        from which the language leads English to the end.
    Raises:
        UserError: no prompt, no language, as many answers as prompts are not there, or all are empty.
    Source: LinguaMap, arXiv 2601.20009, section 4.
    """
    lm, asked = _loaded(model), _prompts(prompts, language)
    evaluate = {"max_new_tokens": max_new_tokens}
    config = RunConfig.model_validate({"model": {"name": lm.name}, "evaluate": evaluate})
    if answers is None:
        written = {one.prompt_id: one.answer for one in answers_of(lm, asked, config)}
        answers = [written[prompt.prompt_id] for prompt in asked]
    if isinstance(answers, str) or len(answers) != len(asked):
        raise UserError(
            f"lens: give one answer a prompt, in a list; there are {len(asked)} prompts"
        )
    pairs = [(prompt, text) for prompt, text in zip(asked, answers, strict=True) if text.strip()]
    identifier = candidates([prompt.language for prompt in asked], config)
    found = lens_of(lm, pairs, identifier, fitted)
    if found is None:
        raise UserError("lens: every answer is empty; give answers, or other prompts")
    return found


def similarity(model: Any, texts: Mapping[str, Sequence[str]]) -> Similarity:
    """How alike each layer's states of translations are, with the baselines that a cosine needs.

    Args:
        texts: language -> texts; the same place in each list is the same text. Four at least.
    Returns:
        ``measure`` in the frame: ``cosine``, ``centred`` (each language's mean taken off), both also
        ``_unrelated`` (between other texts), ``retrieval`` (translation found first), ``cka`` (debiased).
    Raises:
        UserError: under two languages or four texts, or lists of different lengths.
    """
    from linguamap.probes.similarity import similarity as compare
    from linguamap.probes.texts import ParallelItem

    rows = _parallel("similarity", texts)
    items = [ParallelItem(str(n), str(n), "text", dict(row)) for n, row in enumerate(rows)]
    lm = _loaded(model)
    return Similarity(compare(lm, items, tuple(texts)).curves, lm.n_layers, tuple(texts))


def handover(model: Any, texts: Mapping[str, Sequence[str]]) -> Handover:
    """From which layer on a prompt's language is committed: English states put into its translation.

    At the last position of a prompt the state after layer l is replaced by that of the same prompt in
    English; if that moves the next token from the prompt's own to the English prompt's, what decides it
    was there already. And the reverse, and with one block left out. Causal: it rests on no reading of middle layers.

    Args:
        texts: language -> prompts, ``en`` among them; the same place is the same prompt.
    Returns:
        ``share`` of the move of the log-odds that exchanging everything brings, by ``intervention`` and
        layer (-1: nothing was done), with interval and n.
    Raises:
        UserError: no English, lists of different lengths, a model without key-value cache.
    """
    from linguamap.generation.encoding import encode
    from linguamap.probes.handover import handover as exchange
    from linguamap.probes.handover import handover_curves, supports_handover
    from linguamap.probes.texts import PromptPair

    rows = _parallel("handover", texts)
    if "en" not in texts or len(texts) < 2:
        raise UserError("handover: give the prompts in English ('en') and in another language")
    lm = _loaded(model)
    if not supports_handover(lm):
        raise UserError(
            f"handover: {lm.name} keeps no key-value cache that can be exchanged, or is steered"
        )
    others = tuple(code for code in texts if code != "en")
    pairs = []
    for number, row in enumerate(rows):
        prompts = [plain_prompt(text, code, name=str(number)) for code, text in row.items()]
        ids = {one.prompt.language: one.token_ids for one in encode(lm, prompts)}
        pairs += [
            PromptPair(str(number), str(number), "open", code, ids[code], ids["en"])
            for code in others
        ]
    return Handover(handover_curves(exchange(lm, pairs)), lm.n_layers, others)


def identify(texts: str | Sequence[str], languages: Sequence[str] = ()) -> Identified:
    """The language of each text: that of a clear majority of its words.

    Args:
        languages: codes or names to choose among, English always with them; empty takes all that
            linguamap knows. Fewer are told apart better.
    Returns:
        ``languages``: code or None; ``frame()`` gives the reasons and the shares of the words.
    Raises:
        UserError: a language that is not known.
    """
    codes = [get_language(one).code for one in languages] or list(LANGUAGES)
    identifier = make_identifier("lingua", codes)
    given = (texts,) if isinstance(texts, str) else tuple(texts)
    least = RunConfig().score.min_letters
    found = []
    for text in given:
        named = Counter(filter(None, identifier.identify_words(words(text)))).most_common(1)
        # Close relatives outside the candidates count only where they are clearly likelier.
        likeliest = named[0][0] if named else None
        found.append(text_language(text, identifier, least, likeliest))
    return Identified(given, tuple(found))


def score(answers: Any, language: str | None = None) -> Scores:
    """Score answers of any program: their language, and the task where the right answer is known.

    Args:
        answers: a pandas frame, or rows, with ``answer`` and ``language`` (asked for); optional
            ``prompt``, ``id`` and ``gold``: a number, a text, or with ``options`` (texts) a letter.
        language: of the rows that name none.
    Returns:
        ``consistency``, ``rates``, one row an answer in ``frame()``. An answer whose language cannot be
        told is None with its reason and in no rate.
    Raises:
        UserError: no answer, a column that is missing, an unknown language.
    """
    rows = answers.to_dict("records") if hasattr(answers, "to_dict") else list(answers)
    if not rows:
        raise UserError("score: there is no answer; give a frame or rows with 'answer'")
    asked = [_asked(row, number, language) for number, row in enumerate(rows, 1)]
    config = RunConfig()
    identifier = candidates([prompt.language for prompt in asked], config)
    scored = [
        score_answer(
            Completion(prompt.prompt_id, str(row["answer"]), None, "stop", 0),
            prompt, identifier, config.score,
        )
        for row, prompt in zip(rows, asked, strict=True)
    ]  # fmt: skip
    return Scores({"before": scored})


def _asked(row: Mapping[str, Any], number: int, language: str | None) -> Prompt:
    """What a row's answer is an answer to."""
    wanted = row.get("language") or language
    if not isinstance(row.get("answer"), str) or not isinstance(wanted, str):
        raise UserError(
            f"score: row {number} needs 'answer' (a text) and a language; it has: {', '.join(row)}"
        )
    code = get_language(language_code(wanted) or wanted).code
    options, gold = row.get("options"), row.get("gold")
    offered: tuple[Option, ...] = ()
    if isinstance(options, Sequence) and not isinstance(options, str):
        letters = zip(ascii_uppercase, options)
        offered = tuple(Option(letter, str(text), code, letter == gold) for letter, text in letters)
    known = gold is not None and gold == gold  # not-a-number stands for nothing in a frame
    kind: Kind = "open"
    if known:
        number_like = plain_number(str(gold)) is not None
        kind = "choice" if offered else "sums" if number_like else "passage"
    golds = (str(gold),) if known else ()
    parts = (Part("Q", str(row.get("prompt") or "")),)
    name = str(row.get("id") or number)
    return Prompt(name, "answers", kind, code, "monolingual", parts, golds, offered)


def _prompts(given: Prompts, language: str | None) -> list[Prompt]:
    if isinstance(given, Path) or (isinstance(given, str) and given.endswith(SUFFIXES)):
        return read_prompts(Path(given), language)
    rows = [given] if isinstance(given, str) else given
    return prompts_of(
        (
            (f"number {number}", {"prompt": row} if isinstance(row, str) else row)
            for number, row in enumerate(rows, 1)
        ),
        language,
    )


def _parallel(name: str, texts: Mapping[str, Sequence[str]]) -> list[dict[str, str]]:
    """One mapping language -> text for each place."""
    for code in texts:
        get_language(code)
    if len({len(own) for own in texts.values()}) != 1:
        counts = ", ".join(f"{code} {len(own)}" for code, own in texts.items())
        raise UserError(f"{name}: every language needs the same texts in the same order ({counts})")
    return [dict(zip(texts, row, strict=True)) for row in zip(*texts.values(), strict=True)]


def _loaded(model: Any) -> LanguageModel:
    return load(model) if isinstance(model, str | Path) else model


def _model_config(name: str, settings: Mapping[str, Any]) -> ModelConfig:
    changes = [f"model.{key}={json.dumps(value)}" for key, value in settings.items()]
    return load_config(None, [f"model.name={json.dumps(name)}", *changes]).model
