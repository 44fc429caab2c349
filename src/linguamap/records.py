"""The nouns that the stages hand to each other, and the glossary of axes.

Axes have one order everywhere: layer, batch, position, d_model, vocab.

* layer 0 is the embedding output; layer i (1..L) is the output of block i before the final norm.
* a share or rate lies in [0, 1]; "no data" is ``None`` with a reason, never 0 or NaN.
* a prompt has parts: P (preamble), I (instruction and frame), Q (question); the answer has
  R (reasoning) and A (the final answer).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, get_args

Kind = Literal["sums", "choice", "passage", "open"]
"""What is asked: a number, an option, a span of a passage, or anything (no task score)."""

Scenario = Literal["monolingual", "code_mixed", "english_distractor", "bilingual_answer"]
SCENARIOS: tuple[Scenario, ...] = get_args(Scenario)

Split = Literal["train", "test"]

Role = Literal["P", "I", "Q", "R", "A"]

PartName = Literal[
    "examples", "preamble", "instruction", "label", "passage", "question", "options",
    "answer_label",
]  # fmt: skip
"""What a part of a prompt is to its reader: worked examples in front, P, then I and Q told apart by
what they hold."""

Outcome = Literal["both", "transfer_bottleneck", "consistency_bottleneck", "neither", "unscored"]
OUTCOMES: tuple[Outcome, ...] = get_args(Outcome)


class UserError(Exception):
    """Bad input from the user: printed as one line, exit status 2, no traceback.

    The message says what was found, what is allowed and what to do.
    """


@dataclass(frozen=True)
class Item:
    """One question of one benchmark in one language; ``item_id`` is the same in every language.

    Attributes:
        gold: accepted answers. sums: one ASCII decimal number without thousands marks;
            choice: one upper-case option letter, an index into ``options``; passage: the gold spans.
        options: the option texts of a choice item, in the file's order.
        passage: the passage of a passage item.
        explanation: worked reasoning in the item's language, without the closing answer phrase.
        wrong: plausible wrong answers, same form as ``gold`` (spans, numbers); may be empty.
        subject: subject of an MMLU item, title of an XQuAD article.
        group: what is split into train and test and resampled as one (the passage, the template).
    """

    item_id: str
    benchmark: str
    kind: Kind
    language: str
    split: Split
    question: str
    gold: tuple[str, ...]
    options: tuple[str, ...] = ()
    passage: str | None = None
    explanation: str | None = None
    wrong: tuple[str, ...] = ()
    subject: str | None = None
    group: str | None = None


@dataclass(frozen=True)
class Dropped:
    """Rows of a data file that are not used, and why.

    ``rows`` is 1, except where many rows share one reason: ``item_id`` then ends in ``*``, and
    ``language`` names all languages concerned, joined by commas.
    """

    language: str
    item_id: str
    reason: str
    rows: int = 1


@dataclass(frozen=True)
class Benchmark:
    """Items aligned by id: the same ids, in the same order, in every language.

    Attributes:
        items: language -> items in file order.
        rows_read: language -> rows found in the files, used or not.
        dropped: rows left out, each with its reason.
        source: where the rows come from, with the data set chosen for each language.
        english: the same items in English, asked for or not; empty if there is no English file.
        missing_languages: language that was asked for and is not here -> why.
        aligned: False if each language has items of its own (Language Confusion Benchmark).
        bare: whether requests are sent as they are, without preamble and instruction (the same).
    """

    name: str
    kind: Kind
    split: Split
    items: dict[str, tuple[Item, ...]]
    rows_read: dict[str, int] = field(default_factory=dict)
    dropped: tuple[Dropped, ...] = ()
    source: str = ""
    english: tuple[Item, ...] = ()
    missing_languages: dict[str, str] = field(default_factory=dict)
    aligned: bool = True
    bare: bool = False

    @property
    def languages(self) -> tuple[str, ...]:
        return tuple(self.items)


@dataclass(frozen=True)
class Part:
    """A stretch of prompt or answer text and its role."""

    role: Role
    text: str


@dataclass(frozen=True)
class Option:
    """An answer that the prompt offers.

    ``letter`` is empty for candidate sentences and spans, which carry no letter.
    """

    letter: str
    text: str
    language: str
    correct: bool


@dataclass(frozen=True)
class Prompt:
    """One rendered question: what the model reads, what is right, what it should have written.

    Attributes:
        language: the target language, in which the answer should be.
        parts: P, I and Q stretches; ``text`` is their concatenation, ready to be continued.
        gold: accepted answers, as in :class:`Item`; option letters are those of ``options``.
        options: offered answers in the order shown.
        passage: the passage shown, for taking copied spans out before language identification.
        reference: the R and A parts of a right answer in the target language; empty if the item
            has no worked reasoning.
        coincides_with: an earlier scenario whose prompt for this item is identical text (English).
        shots: worked examples that stand in front, each with its reference; as text, or as earlier
            turns of a chat.
        bare: whether the request stands alone, see :class:`Benchmark`.
    """

    item_id: str
    benchmark: str
    kind: Kind
    language: str
    scenario: Scenario
    parts: tuple[Part, ...]
    gold: tuple[str, ...]
    options: tuple[Option, ...] = ()
    passage: str | None = None
    reference: tuple[Part, ...] = ()
    coincides_with: Scenario | None = None
    group: str | None = None
    shots: tuple[Prompt, ...] = ()
    bare: bool = False

    @property
    def text(self) -> str:
        shots = "".join(f"{shot.text}{shot.answer}\n\n" for shot in self.shots)
        return shots + "".join(part.text for part in self.parts)

    @property
    def answer(self) -> str:
        """The reference as one text; empty without one."""
        return "".join(part.text for part in self.reference)

    @property
    def named_parts(self) -> tuple[tuple[PartName, int], ...]:
        """What each part is, and its length in characters (code points); they add up to ``text``."""
        shown = [place for place, part in enumerate(self.parts) if part.role == "Q"]
        framing = [place for place, part in enumerate(self.parts) if part.role == "I"]
        named: list[tuple[PartName, int]] = []
        for place, part in enumerate(self.parts):
            name: PartName = "preamble"
            if part.role == "I":
                last = place == len(self.parts) - 1
                # An instruction is a line of its own; the bare layout (Q:, A:) has none.
                first = place == framing[0] and part.text.endswith("\n")
                name = "answer_label" if last else "instruction" if first else "label"
            elif part.role == "Q":
                is_passage = self.passage is not None and part.text == f"{self.passage}\n"
                offers = self.options and len(shown) > 1 and place == shown[-1]
                name = "passage" if is_passage else "options" if offers else "question"
            named.append((name, len(part.text)))
        if self.shots:
            named.insert(0, ("examples", len(self.text) - sum(size for _, size in named)))
        return tuple(named)

    @property
    def question(self) -> str:
        """What is asked, without passage, options and frame; every blank is a single one."""
        names = [name for name, _ in self.named_parts if name != "examples"]
        texts = [p.text for name, p in zip(names, self.parts, strict=True) if name == "question"]
        return " ".join(" ".join(texts).split())

    @property
    def prompt_id(self) -> str:
        return f"{self.benchmark}/{self.scenario}/{self.language}/{self.item_id}"


@dataclass(frozen=True)
class Completion:
    """What a model wrote after a prompt.

    Attributes:
        answer: the text after any reasoning block, stop string cut off, outer blanks stripped.
        thinking: the reasoning block of a thinking model, or ``None``.
        finish: ``stop`` (end token or stop string), ``length`` (token limit) or ``error``.
        n_tokens: generated tokens, the end token included.
    """

    prompt_id: str
    answer: str
    thinking: str | None
    finish: Literal["stop", "length", "error"]
    n_tokens: int
    error: str | None = None


@dataclass(frozen=True)
class Extraction:
    """What an answer says, or why that cannot be said.

    Attributes:
        value: a number as plain ASCII decimal, an option letter, a span; ``None`` if not found.
        reason: why ``value`` is ``None`` (``empty``, ``no_number``, ``no_option``, ``ambiguous`` ...).
        rule: the name of the rule that fired (``answer_phrase``, ``last_number`` ...).
        option_language: language of the chosen offered option, where one was chosen.
    """

    value: str | None
    reason: str | None = None
    rule: str | None = None
    option_language: str | None = None


@dataclass(frozen=True)
class Identification:
    """The language of a text, or why it cannot be said (``empty``, ``too_short``, ``ambiguous``)."""

    language: str | None
    reason: str | None = None
    confidence: float | None = None


@dataclass(frozen=True)
class Rate:
    """A share with its interval and denominator; ``value`` is ``None`` if ``n`` is 0."""

    value: float | None
    low: float | None
    high: float | None
    n: int
