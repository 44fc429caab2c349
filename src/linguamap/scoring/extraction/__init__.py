"""What did it answer, and in which language: numbers, options, spans, language by language.

:func:`extract` reads the answer's content, :func:`prose` what is left of it for the language
identifier, :func:`answer_languages` names the language. None of them looks at the gold answer.
"""

from __future__ import annotations

from linguamap.records import Extraction, Prompt
from linguamap.scoring.extraction.answer_markers import clean, is_empty, next_questions
from linguamap.scoring.extraction.choices import extract_choice
from linguamap.scoring.extraction.numbers import extract_number, is_conclusion
from linguamap.scoring.extraction.prose import answer_languages, prose
from linguamap.scoring.extraction.spans import extract_span

__all__ = ["answer_languages", "extract", "prose"]


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
        return extract_span(text, prompt)
    return Extraction(None, "no_task")
