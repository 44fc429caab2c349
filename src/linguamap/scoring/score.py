"""Task x language -> outcome, for one answer.

Task and language are judged apart, so that a model that cannot do the task (transfer bottleneck) is
told from one that will not speak the language (consistency bottleneck). "Cannot say" is a state of its
own: such an answer is ``unscored`` with its reason, leaves the denominator and is counted beside it.
"""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Any

import regex

from linguamap.config import ScoreConfig
from linguamap.languages import normalise_digits
from linguamap.records import Answer, Completion, Extraction, Identification, Outcome, Prompt
from linguamap.scoring.extraction.answer_markers import (
    clean,
    find_cues,
    last_strong,
    next_questions,
)
from linguamap.scoring.extraction.answer_words import is_empty
from linguamap.scoring.extraction.choices import extract_choice
from linguamap.scoring.extraction.numbers import extract_number, is_conclusion
from linguamap.scoring.extraction.prose import AnswerLanguages, answer_languages
from linguamap.scoring.extraction.spans import exact_match, extract_span, span_f1
from linguamap.scoring.language_id import Identifier
from linguamap.scoring.lcb import EnglishWords, check_response, english_words_at_hand

LOOKED_AT = 4000
"""Characters at an answer's end: a model that loops does not come out of it."""
LOOP = regex.compile(r"(.{2,300}?)\1{2,}", flags=regex.DOTALL)
SENTENCE_END = regex.compile(r"[.!?。！？।؟\n]+")
LETTER = regex.compile(r"\p{L}")
SYLLABLE = regex.compile(r"[\p{Han}\p{Hiragana}\p{Katakana}\p{Hangul}\p{Thai}]")
LEAST_LETTERS = 18
"""Letters that three rounds, or three equal sentences, hold together; a syllable or logograph counts three."""


@dataclass(frozen=True)
class Scorer:
    """The rules by which a run's answers are scored.

    Attributes:
        english: for the word pass rate.
    """

    identifier: Identifier
    config: ScoreConfig
    english: EnglishWords | None

    def __call__(self, completion: Completion, prompt: Prompt) -> Answer:
        words = self.english.words if self.english else None
        return score_answer(completion, prompt, self.identifier, self.config, words)

    def again(self, answer: Answer, prompt: Prompt) -> Answer:
        """Score a stored answer by these rules."""
        fields = {one.name: getattr(answer, one.name) for one in dataclasses.fields(Completion)}
        return self(Completion(**fields), prompt)


def score_answer(
    completion: Completion,
    prompt: Prompt,
    identifier: Identifier,
    config: ScoreConfig,
    english_words: Collection[str] | None = None,
) -> Answer:
    """What was answered, and whether task and language are right.

    An empty answer (no letter, no digit) is wrong in both: outcome ``neither``, reason ``empty``. A
    completion that failed is ``unscored`` with reason ``error``, and one whose reasoning the token
    limit cut, so that no answer came, with reason ``thinking_cut``. Else what cannot be extracted or
    identified is None and the outcome ``unscored``; ``reason`` is the task's if it has one, else the
    language's, and both stand beside it. Kind ``open`` has no task (``no_task``), its language
    counts. Thinking is judged apart and changes no outcome.

    Where options were read by likelihood, the task is judged by the likeliest one, and the language by
    what the model wrote.

    Args:
        english_words: for the word pass rate; None takes the list of
            :func:`linguamap.scoring.lcb.english_words_at_hand`.
    """
    if english_words is None:
        english_words = english_words_at_hand().words
    extraction, languages = _read(completion, prompt, identifier, config)
    language = languages.whole
    empty = "empty" in (extraction.reason, languages.whole.reason) and is_empty(completion.answer)
    empty = empty and completion.finish != "error"
    task = _Task(False if empty else None)
    if extraction.value is not None:
        task = _score_task(extraction.value, prompt, config.f1_threshold)
    language_correct = False if empty else is_in(prompt.language, language)
    outcome = _outcome(task.correct, language_correct)
    task_reason = None if extraction.value is not None else extraction.reason
    failed = outcome == "unscored" or empty
    thinking = _thinking(completion, prompt, identifier, config)
    checked = check_response(completion.answer, prompt.language, identifier, english_words)
    return Answer(
        **vars(completion),
        **_asked(prompt),
        prompt_parts=prompt.named_parts,
        coincides_with=prompt.coincides_with,
        extracted=extraction.value,
        rule=extraction.rule,
        option_language=extraction.option_language,
        gold=_gold(prompt),
        task_correct=task.correct,
        f1=task.f1,
        exact_match=task.exact_match,
        answer_language=language.language,
        language_correct=language_correct,
        outcome=outcome,
        reason=(task_reason or language.reason) if failed else None,
        task_reason=task_reason,
        language_reason=language.reason,
        language_shares=dict(language.shares),
        reasoning_language=languages.reasoning.language,
        reasoning_language_correct=is_in(prompt.language, languages.reasoning),
        thinking_language=thinking.language,
        thinking_language_correct=is_in(prompt.language, thinking),
        line_pass=checked["line_pass"],
        word_pass=checked["word_pass"],
        repeats=repeats(completion.answer),
        n_options=len(prompt.options),
    )


def not_scored_yet(completion: Completion, prompt: Prompt) -> Answer:
    """An answer that is kept before it is scored, so that a fault of the scoring loses none."""
    return Answer(
        **vars(completion),
        **_asked(prompt),
        task_correct=None,
        language_correct=None,
        outcome="unscored",
        reason="not_scored_yet",
    )


def _asked(prompt: Prompt) -> dict[str, Any]:
    """What an answer keeps of its prompt in any case."""
    return {
        "item_id": prompt.item_id,
        "group": prompt.group or prompt.item_id,
        "benchmark": prompt.benchmark,
        "kind": prompt.kind,
        "language": prompt.language,
        "scenario": prompt.scenario,
        "prompt": prompt.text,
    }


def extract(answer: str, prompt: Prompt) -> Extraction:
    """What an answer says: a number, an option letter or a span, by the prompt's kind.

    The rules stand in :mod:`~linguamap.scoring.extraction.numbers`, :mod:`~linguamap.scoring.extraction.choices` and
    :mod:`~linguamap.scoring.extraction.spans`. Prompts of kind ``open`` ask for nothing that could be extracted.
    A model that runs on into a next question has answered before it, if what stands there can be an
    answer: not where a reasoning only puts its question again.

    Returns:
        The value, or None with the reason ``empty`` (no letter and no digit), ``no_number``,
        ``no_option``, ``ambiguous`` or ``no_task``.
    """
    text = clean(answer)
    for end in next_questions(text, prompt.language):
        found = _extract(text[:end], prompt)
        settled = found.rule != "last_number" or is_conclusion(text[:end], prompt.language)
        if settled and (found.value is not None or found.reason == "ambiguous"):
            return found
    return _extract(text, prompt)


def _extract(text: str, prompt: Prompt) -> Extraction:
    if is_empty(text):
        return Extraction(None, "empty")
    if prompt.kind == "sums":
        return extract_number(text, prompt)
    if prompt.kind == "choice":
        return extract_choice(text, prompt)
    if prompt.kind == "passage":
        return extract_span(text, prompt, last_strong(find_cues(text, prompt.language, "answer")))
    return Extraction(None, "no_task")


@dataclass(frozen=True)
class _Task:
    """Whether the task was solved, and for a passage how nearly."""

    correct: bool | None
    f1: float | None = None
    exact_match: bool | None = None


def _read(
    completion: Completion, prompt: Prompt, identifier: Identifier, config: ScoreConfig
) -> tuple[Extraction, AnswerLanguages]:
    if completion.finish == "error":
        return Extraction(None, "error"), _unread("error")
    thought = completion.thinking is not None and completion.finish == "length"
    if thought and is_empty(completion.answer):
        return Extraction(None, "thinking_cut"), _unread("thinking_cut")
    return (
        _most_likely(completion, prompt) or extract(completion.answer, prompt),
        answer_languages(completion.answer, prompt, identifier, config.min_letters),
    )


def _most_likely(completion: Completion, prompt: Prompt) -> Extraction | None:
    """The option with the highest score, where options are read by likelihood; the first of equal ones."""
    scores = completion.option_scores
    if scores is None:
        return None
    option = prompt.options[scores.index(max(scores))]
    return Extraction(option.letter, rule="likelihood", option_language=option.language)


def _unread(reason: str) -> AnswerLanguages:
    return AnswerLanguages(Identification(None, reason), Identification(None, reason))


def is_in(language: str, found: Identification) -> bool | None:
    """Whether a text is in a language: a mixed one is not, of others without a language it is unknown."""
    if found.language is None:
        return False if found.reason == "mixed" else None
    return found.language == language


def _outcome(task_correct: bool | None, language_correct: bool | None) -> Outcome:
    if task_correct is None or language_correct is None:
        return "unscored"
    if task_correct:
        return "both" if language_correct else "consistency_bottleneck"
    return "transfer_bottleneck" if language_correct else "neither"


def _gold(prompt: Prompt) -> tuple[str, ...]:
    """The accepted answers; for a choice, the letters of every option that is right."""
    if prompt.kind == "choice":
        right = (option.letter for option in prompt.options if option.correct)
        return tuple(dict.fromkeys((*prompt.gold, *right)))
    if prompt.kind == "passage":
        right = (option.text for option in prompt.options if option.correct)
        return tuple(dict.fromkeys((*prompt.gold, *right)))
    return prompt.gold


def _score_task(value: str, prompt: Prompt, f1_threshold: float) -> _Task:
    """Whether an extracted answer is right; F1 and exact match are the best over all golds.

    An offered right answer counts as gold too, normalised as its own language demands.
    """
    if prompt.kind == "sums":
        return _Task(any(_number(value) == _number(gold) for gold in prompt.gold))
    if prompt.kind == "choice":
        return _Task(value in _gold(prompt))
    golds = [(gold, prompt.language) for gold in prompt.gold]
    golds += [(option.text, option.language) for option in prompt.options if option.correct]
    f1 = max((span_f1(value, gold, language) for gold, language in golds), default=0.0)
    same = any(exact_match(value, gold, language) for gold, language in golds)
    return _Task(f1 >= f1_threshold, f1, same)


def _number(text: str) -> Decimal:
    try:
        return Decimal(normalise_digits(text).replace(",", ""))
    except InvalidOperation:
        raise ValueError(f"'{text}' is no plain decimal number") from None


def _thinking(
    completion: Completion, prompt: Prompt, identifier: Identifier, config: ScoreConfig
) -> Identification:
    if completion.thinking is None or is_empty(completion.thinking):
        return Identification(None, "empty")
    return answer_languages(completion.thinking, prompt, identifier, config.min_letters).whole


def repeats(answer: str) -> bool:
    """Whether an answer says the same thing three times: on end, or as three equal sentences.

    Blanks and case are of no account. What holds few letters ("very very very", "12 + 12 + 12") is no
    loop, and neither is a phrase that comes back within sentences that differ.
    """
    text = " ".join(answer[-LOOKED_AT:].casefold().split()) + " "
    if any(_letters(found[0]) >= LEAST_LETTERS for found in LOOP.finditer(text)):
        return True
    sentences = Counter(part.strip() for part in SENTENCE_END.split(answer[-LOOKED_AT:].casefold()))
    return any(n >= 3 and n * _letters(one) >= LEAST_LETTERS for one, n in sentences.items())


def _letters(text: str) -> int:
    return len(LETTER.findall(text)) + 2 * len(SYLLABLE.findall(text))
