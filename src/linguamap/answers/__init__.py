"""What did it answer, and in which language: numbers, options, spans, language by language.

:func:`extract` reads the answer's content, :func:`prose` what is left of it for the language
identifier, :func:`answer_language` names the language. None of them looks at the gold answer.
"""

from __future__ import annotations

from linguamap.answers.cues import clean, is_empty
from linguamap.answers.numbers import extract_number
from linguamap.answers.options import extract_choice
from linguamap.answers.prose import answer_language, prose
from linguamap.answers.spans import extract_span
from linguamap.records import Extraction, Prompt

__all__ = ["answer_language", "extract", "prose"]


def extract(answer: str, prompt: Prompt) -> Extraction:
    """What an answer says: a number, an option letter or a span, by the prompt's kind.

    The rules stand in :mod:`~linguamap.answers.numbers`, :mod:`~linguamap.answers.options` and
    :mod:`~linguamap.answers.spans`. Prompts of kind ``open`` ask for nothing that could be extracted.

    Returns:
        The value, or None with the reason ``empty`` (no letter and no digit), ``no_number``,
        ``no_option``, ``ambiguous`` or ``no_task``.
    """
    text = clean(answer)
    if is_empty(text):
        return Extraction(None, "empty")
    if prompt.kind == "sums":
        return extract_number(text, prompt)
    if prompt.kind == "choice":
        return extract_choice(text, prompt)
    if prompt.kind == "passage":
        return extract_span(text, prompt)
    return Extraction(None, "no_task")
