"""What can be picked in the explorer: the prompts that a run was evaluated on."""

from __future__ import annotations

from collections.abc import Sequence

from linguamap.records import Prompt

ENGLISH = "en"
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
