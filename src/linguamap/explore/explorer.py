"""What the explorer's page works with: a model with its delta, a run's items, an identifier."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from linguamap.charts.naming import shown_outcome
from linguamap.config import RunConfig
from linguamap.explore.reading import ENGLISH, Question, Reading, Variants, read_question, typed
from linguamap.languages import get_language
from linguamap.models.loading import load_model
from linguamap.prompts.run_prompts import RunItems
from linguamap.records import PHASES, Prompt, UserError
from linguamap.report.answer_table import one_of_each
from linguamap.run.folder import open_run
from linguamap.run.read_run import RunContents, read_run
from linguamap.run.settings import load_config
from linguamap.scoring.language_id import Identifier, make_identifier

LABEL_CHARACTERS = 70


class Items:
    """A run's prompts by benchmark, scenario, item and language."""

    def __init__(self, prompts: Sequence[Prompt] = ()) -> None:
        self._prompts: dict[tuple[str, str, str, str], Prompt] = {
            (p.benchmark, p.scenario, p.item_id, p.language): p for p in prompts
        }

    def __bool__(self) -> bool:
        return bool(self._prompts)

    def benchmarks(self) -> list[str]:
        """All benchmarks, in the run's order."""
        return list(dict.fromkeys(key[0] for key in self._prompts))

    def scenarios(self, benchmark: str) -> list[str]:
        """The scenarios that a benchmark was rendered in."""
        return list(dict.fromkeys(key[1] for key in self._prompts if key[0] == benchmark))

    def choices(self, benchmark: str, scenario: str, language: str) -> list[tuple[str, str]]:
        """(label, item id) of each item: the beginning of its question in this language."""
        return [
            (_label(prompt), key[2])
            for key, prompt in self._prompts.items()
            if (key[0], key[1], key[3]) == (benchmark, scenario, language)
        ]

    def find(
        self, benchmark: str | None, scenario: str | None, item_id: str | None, language: str
    ) -> Prompt | None:
        """One prompt, or None if the run has no such one."""
        return self._prompts.get((benchmark or "", scenario or "", item_id or "", language))

    def twin(self, prompt: Prompt) -> Prompt | None:
        """The same item and scenario in English; None for English itself."""
        if prompt.language == ENGLISH:
            return None
        return self.find(prompt.benchmark, prompt.scenario, prompt.item_id, ENGLISH)


def _label(prompt: Prompt) -> str:
    """The question in one line, cut; the item's id tells equal beginnings apart."""
    asked = prompt.question
    short = asked if len(asked) <= LABEL_CHARACTERS else asked[:LABEL_CHARACTERS].rstrip() + " …"
    return f"{prompt.item_id}: {short}"


Picked = tuple[str | None, str | None, str | None]
"""Benchmark, scenario and item id, each None if nothing is picked."""


@dataclass
class Explorer:
    """What the page works with.

    Attributes:
        note: a remark for the head of the page, e.g. why no item can be picked; may be empty.
        run: what a run holds already, for examples that need no model.
    """

    variants: Variants
    config: RunConfig
    identifier: Identifier
    items: Items
    note: str = ""
    run: RunContents | None = None

    def question(self, picked: Picked, text: str, english: str, language: str) -> Question:
        """The question on the page: the item as long as its text is as it was, else what is typed.

        Args:
            picked: what the lists say.
        """
        prompt = self.items.find(*picked, language)
        twin = self.items.twin(prompt) if prompt else None
        asked = typed(text, language)
        english_asked = typed(english, ENGLISH) if english.strip() else None
        if prompt is not None and not text.strip():  # picked, and looked at before it was filled in
            return Question(prompt, twin, picked=True)
        if prompt is None or prompt.text.strip() != text.strip():
            return Question(asked, english_asked)
        if twin is None or twin.text.strip() != english.strip():
            return Question(prompt, english_asked, picked=True)
        return Question(prompt, twin, picked=True)

    def texts(self, picked: Picked, language: str) -> tuple[str, str] | None:
        """The picked prompt's text and its English twin's (empty without one); None if not there."""
        prompt: Prompt | None = self.items.find(*picked, language)
        if prompt is None:
            return None
        twin = self.items.twin(prompt)
        return prompt.text, twin.text if twin else ""

    def examples(self) -> list[list[Reading]]:
        """Stored answers before and after tuning to one prompt for each outcome before it."""
        if self.run is None:
            return []
        own = [one for one in self.run.before.answers if one.coincides_with is None]
        later = {one.prompt_id: one for one in self.run.after.answers}
        places = one_of_each(
            [(shown_outcome(one)[0], one.language) for one in own], str(self.config.seed)
        )
        pairs = [(own[place], later.get(own[place].prompt_id)) for place in places]
        return [
            [Reading(phase, one, {}) for phase, one in zip(PHASES, pair, strict=True) if one]
            for pair in pairs
        ]

    def results(
        self,
        question: Question,
        max_new_tokens: int,
        with_handover: bool,
        say: Any = lambda share, what: None,
    ) -> Iterator[list[Reading]]:
        """More and more of the result: answers first, then grids, then handover.

        Raises:
            UserError: the prompt is empty or too long.
        """
        yield from read_question(
            self.variants, self.config, self.identifier, question, max_new_tokens=max_new_tokens,
            with_handover=with_handover, say=say,
        )  # fmt: skip


def open_explorer(model: str | None, folder: Path | None, languages: str | None) -> Explorer:
    """Load what the page needs.

    Args:
        model: as ``--model``; None takes the run's, or the starter model without a run.
        folder: a run folder, or None: then the starter items can be picked.
        languages: comma-separated codes in place of the run's.
    Raises:
        UserError: no run there, no such model or language, a delta of another model.
    """
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    config = load_config() if folder is None else open_run(folder, None).config
    config = config.model_copy(deep=True)
    if model is not None and model != config.model.name:
        config.model = config.model.model_copy(update={"name": model, "revision": None})
    if languages is not None:
        config.languages = [code.strip() for code in languages.split(",") if code.strip()]
    if not config.languages:
        raise UserError("explore: --languages names none; give codes, e.g. en,fr,hi")
    for code in config.languages:
        get_language(code)
    identifier = make_identifier(config.score.identifier, config.languages)
    delta = None if folder is None else folder / "tuned" / "delta.safetensors"
    variants = Variants(
        load_model(config.model), delta if delta is not None and delta.is_file() else None
    )
    items, note = _items(config)
    run = None if folder is None else read_run(folder)
    return Explorer(variants, config, identifier, items, note, run)


def _items(config: RunConfig) -> tuple[Items, str]:
    """The run's evaluated prompts; without them, why."""
    try:
        return Items(RunItems(config).test_prompts), ""
    except UserError as error:
        return Items(), f"No item can be picked: {error}"
