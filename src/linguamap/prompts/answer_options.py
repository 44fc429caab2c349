"""Which answers a prompt offers, in which language and order."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from typing import TypeVar

from linguamap import seeding
from linguamap.languages import get_language
from linguamap.prompts.sampling import pick_order
from linguamap.records import Benchmark, Item, Option, Scenario, UserError

LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"

N_OFFERED = 4
"""Answers offered where the benchmark itself has no options: the right one and wrong ones."""

T = TypeVar("T")

Texts = Mapping[str, str]
"""One answer, language -> text."""


class AnswerOptions:
    """The offered answers of one benchmark's items.

    Which wrong answers are offered is drawn by seed and item id. Where the right one stands goes by
    turns over the items in the order in which they are picked (a Latin square): of any n items
    asked, each place has the right answer in the target language n / 4 times, give or take one, so that a
    model that always says "A" is told from one that knows, or speaks, anything. Both are the same
    in every language and scenario; the texts are each language's own.
    """

    def __init__(self, benchmark: Benchmark, seed: int) -> None:
        self.name = benchmark.name
        self.bare = benchmark.bare
        self.languages = list(benchmark.items)
        self.seed = seed
        tables = {"en": benchmark.english} if benchmark.english else {}
        tables |= benchmark.items
        self.items = {
            code: {item.item_id: item for item in items} for code, items in tables.items()
        }
        self._reference = next(iter(self.items.values()), {})
        first = seeding.number("turn", seed)
        order = pick_order(list(self._reference.values()), seed)
        self._turns = {item_id: first + number for number, item_id in enumerate(order)}
        self._near: dict[tuple[str, str | None], list[str]] = defaultdict(list)
        for item in self._reference.values():
            for key in (("group", item.group), ("subject", item.subject), ("all", "")):
                self._near[key].append(item.item_id)
        self._drawn: dict[str, list[Texts]] = {}

    def other_language(self, language: str) -> str | None:
        """The next language of the benchmark after this one, not English where there is a third."""
        if language not in self.languages:
            return None
        at = self.languages.index(language)
        others = [*self.languages[at + 1 :], *self.languages[:at]]
        return next((code for code in others if code != "en"), others[0] if others else None)

    def options(self, scenario: Scenario, language: str, item: Item) -> tuple[Option, ...]:
        """The answers that are offered, in the order shown; none if the item is asked freely.

        * monolingual, code_mixed, other_language: a choice item's options in the target language;
        * english_distractor: the right answer in the target language among English wrong ones; a
          choice item's in the same order, so that only the language differs from monolingual;
        * bilingual_answer: the right answer in both languages and a wrong one in each. Of two with
          the same text one gives way to another English wrong one. With English as the target
          this is the english_distractor.

        Raises:
            UserError: English answers are needed and the benchmark has none, or there is no wrong
                answer to offer.
        """
        plain = scenario in ("monolingual", "code_mixed", "other_language")
        if item.kind == "open" or (plain and item.kind != "choice"):
            return ()
        if plain or (language == "en" and item.kind == "choice"):
            return _lettered(
                Option("", item.options[index], language, LETTERS[index] in item.gold)
                for index in self._order(item)
            )
        if item.kind != "sums" and "en" not in self.items:
            raise UserError(
                f"{self.name}: {scenario} offers English answers, but there are no English items; "
                "add them or leave the scenario out"
            )
        if scenario == "english_distractor" or language == "en":
            return self._english_distractor(language, item)
        return self._bilingual_answer(language, item)

    def _english_distractor(self, language: str, item: Item) -> tuple[Option, ...]:
        if item.kind == "choice":
            english = self.items["en"][item.item_id]
            return _lettered(
                Option("", item.options[index], language, True)
                if LETTERS[index] in item.gold
                else Option("", english.options[index], "en", False)
                for index in self._order(item)
            )
        right = Option("", self._right(item)[language], language, True)
        wrong = [Option("", texts["en"], "en", False) for texts in self._wrong(item)]
        return tuple(self._placed([right, *wrong[: N_OFFERED - 1]], item))

    def _bilingual_answer(self, language: str, item: Item) -> tuple[Option, ...]:
        right, wrong = self._right(item), self._wrong(item)
        wanted = [
            Option("", right[language], language, True),
            Option("", right["en"], "en", True),
            Option("", wrong[0][language], language, False),
            Option("", wrong[min(1, len(wrong) - 1)]["en"], "en", False),
        ]
        spare = (Option("", texts["en"], "en", False) for texts in wrong[2:])
        offered: list[Option] = []
        shown: set[str] = set()
        for option in wanted:
            slot: Option | None = option
            while slot is not None and slot.text.casefold() in shown:
                slot = next(spare, None)
            if slot is not None:
                shown.add(slot.text.casefold())
                offered.append(slot)
        places = self._placed(offered, item)
        return _lettered(places) if item.kind == "choice" else tuple(places)

    def _order(self, item: Item) -> list[int]:
        """A choice item's own options in the order shown."""
        right = LETTERS.index(item.gold[0])
        others = [index for index in range(len(item.options)) if index != right]
        return self._placed([right, *others], item)

    def _placed(self, values: Sequence[T], item: Item) -> list[T]:
        """The first value where it is the item's turn, the second by turns among the rest."""
        turn, n = self._turns[item.item_id], len(values)
        order = seeding.shuffled(range(2, n), self.seed, item.item_id, "order")
        if n > 1:
            order.insert(turn // n % (n - 1), 1)
        order.insert(turn % n, 0)
        return [values[index] for index in order]

    def _right(self, item: Item) -> Texts:
        if item.kind == "sums":
            return self._sentences(item.gold[0])
        if item.kind == "choice":
            index = LETTERS.index(item.gold[0])
            return {code: table[item.item_id].options[index] for code, table in self.items.items()}
        return self._first_spans(item.item_id)

    def _wrong(self, item: Item) -> list[Texts]:
        """Wrong answers in a seeded order, at least one; drawn once."""
        if item.item_id not in self._drawn:
            texts = self._draw_wrong(self._reference[item.item_id])
            if not texts:
                raise UserError(
                    f"{self.name} item {item.item_id}: there is no wrong answer to offer; "
                    "give the item 'wrong'"
                )
            self._drawn[item.item_id] = texts
        return self._drawn[item.item_id]

    def _draw_wrong(self, item: Item) -> list[Texts]:
        name, key = item.item_id, (self.seed, item.item_id, "wrong")
        if item.kind == "sums":
            numbers = seeding.shuffled(item.wrong or near_misses(item.gold[0]), *key)
            return [self._sentences(number) for number in numbers]
        if item.kind == "choice":
            right = LETTERS.index(item.gold[0])
            others = [index for index in range(len(item.options)) if index != right]
            return [
                {code: table[name].options[k] for code, table in self.items.items()}
                for k in seeding.shuffled(others, *key)
            ]
        n_given = min(len(table[name].wrong) for table in self.items.values())
        if n_given:
            return [
                {code: table[name].wrong[k] for code, table in self.items.items()}
                for k in seeding.shuffled(range(n_given), *key)
            ]
        return [self._first_spans(other) for other in self._other_answers(item)]

    def _other_answers(self, item: Item) -> list[str]:
        """Ids of other items whose answers can stand as wrong ones here.

        Taken from the same passage, else the same article, else anywhere; answers with digits
        first where the right one has digits. None may hold or be held by another one, or by a
        right answer, in any of the languages that were loaded.
        """
        chosen: list[str] = []
        for near in (("group", item.group), ("subject", item.subject), ("all", "")):
            if near[1] is None or len(chosen) == N_OFFERED - 1:
                continue
            others = seeding.shuffled(self._near[near], self.seed, item.item_id)
            others.sort(key=lambda one: self._has_digit(one) != self._has_digit(item.item_id))
            for other in others:
                if len(chosen) < N_OFFERED - 1 and all(
                    self._differ(other, one) for one in [item.item_id, *chosen]
                ):
                    chosen.append(other)
        return chosen

    def _differ(self, one: str, other: str) -> bool:
        """Whether no answer of one item holds an answer of the other."""
        spans = [
            {text.casefold() for table in self.items.values() for text in table[item_id].gold}
            for item_id in (one, other)
        ]
        return not any(a in b or b in a for a in spans[0] for b in spans[1])

    def _has_digit(self, item_id: str) -> bool:
        return any(char.isdigit() for char in self._reference[item_id].gold[0])

    def _first_spans(self, item_id: str) -> Texts:
        return {code: table[item_id].gold[0] for code, table in self.items.items()}

    def _sentences(self, number: str) -> Texts:
        """A number as each language's result sentence, with its decimal mark."""
        sentences = {}
        for code in {"en", *self.items}:
            language = get_language(code)
            marked = number.replace(".", language.decimal_mark)
            sentences[code] = language.texts.result_sentence.replace("{number}", marked)
        return sentences


def near_misses(gold: str) -> list[str]:
    """Wrong numbers close to the right one: off by 1, 2 or 10, its double and its half.

    Positive where the right one is, no two alike.
    """
    value = Decimal(gold)
    numbers = [value + step for step in (1, -1, 2, -2, 10, -10)] + [value * 2, value / 2]
    whole = value == value.to_integral_value()
    fitting = [
        number
        for number in dict.fromkeys(numbers)
        if number != value
        and (number > 0 or value <= 0)
        and (number == number.to_integral_value() or not whole)
    ]
    texts = (f"{number:f}" for number in fitting)
    return [text.rstrip("0").rstrip(".") if "." in text else text for text in texts]


def _lettered(options: Iterable[Option]) -> tuple[Option, ...]:
    return tuple(
        Option(letter, option.text, option.language, option.correct)
        for letter, option in zip(LETTERS, options)
    )
