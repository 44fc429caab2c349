"""The nouns that the stages hand to each other, and the glossary of axes.

Axes have one order everywhere: layer, batch, position, d_model, vocab.

* layer 0 is the embedding output; layer i (1..L) is the output of block i before the final norm.
* a share or rate lies in [0, 1]; "no data" is ``None`` with a reason, never 0 or NaN.
* a prompt has parts: P (preamble), I (instruction and frame), Q (question); the answer has
  R (reasoning) and A (the final answer).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, get_args

Kind = Literal["sums", "choice", "passage", "open"]
"""What is asked: a number, an option, a span of a passage, or anything (no task score)."""

Scenario = Literal[
    "monolingual", "code_mixed", "english_distractor", "bilingual_answer", "other_language"
]  # fmt: skip
SCENARIOS: tuple[Scenario, ...] = get_args(Scenario)
PAPER_SCENARIOS = SCENARIOS[:4]
"""Those in which the language that is asked for is the question's. The fifth is a control: there it is
another one, so that a model which obeys is told from one which copies. It is never trained on."""

Split = Literal["train", "test"]

Role = Literal["P", "I", "Q", "R", "A"]

PartName = Literal[
    "examples", "preamble", "instruction", "label", "passage", "question", "options",
    "answer_label",
]  # fmt: skip
"""What a part of a prompt is to its reader: worked examples in front, P, then I and Q told apart by
what they hold."""

Finish = Literal["stop", "length", "error"]
"""How an answer ended: by end token or stop string, at the token limit, or not at all."""

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
        option_scores: log probability of each offered option, in the order shown, where a choice is
            read by likelihood.
    """

    prompt_id: str
    answer: str
    thinking: str | None
    finish: Finish
    n_tokens: int
    error: str | None = None
    option_scores: tuple[float, ...] | None = None


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
    """The language of a text, or why there is none.

    Attributes:
        reason: ``empty``, ``too_short``, ``ambiguous``, or ``mixed`` where no language has a clear majority.
        shares: language -> share of the text's words, the largest first.
    """

    language: str | None
    reason: str | None = None
    confidence: float | None = None
    shares: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Rate:
    """A share with its interval and denominator; ``value`` is ``None`` if ``n`` is 0."""

    value: float | None
    low: float | None
    high: float | None
    n: int


Phase = Literal["before", "after"]
"""Answers of the model as it is, or after tuning."""
PHASES: tuple[Phase, ...] = get_args(Phase)


@dataclass(frozen=True)
class Answer:
    """One judged answer: a line of ``answers.jsonl``.

    Attributes:
        group: what is resampled as one; the item's own id where it belongs to no group.
        coincides_with: an earlier scenario whose prompt for this item is the same text, so that the
            answer is that scenario's; it is shown in its cell and counted nowhere else.
        prompt_parts: what each part of the prompt is, and its length in characters.
        extracted: what the answer says, by ``rule``; None for the reason ``task_reason``.
        option_language: language of the offered option that was chosen.
        answer_language: None for the reason ``language_reason``; ``mixed`` counts as not consistent.
        language_shares: language -> share of the answer's words, the largest first.
        reasoning_language: of what stands before the closing phrase ("The answer is").
        reason: why the outcome is ``unscored``, or ``empty``.
        line_pass, word_pass: of the Language Confusion Benchmark.
        repeats: it says the same thing three times over.
        n_options: answers that the prompt offered.
        option_scores: as in :class:`Completion`.
    """

    prompt_id: str
    item_id: str
    group: str
    benchmark: str
    kind: Kind
    language: str
    scenario: Scenario
    prompt: str
    answer: str
    task_correct: bool | None
    language_correct: bool | None
    outcome: Outcome
    coincides_with: Scenario | None = None
    prompt_parts: tuple[tuple[PartName, int], ...] = ()
    thinking: str | None = None
    extracted: str | None = None
    rule: str | None = None
    option_language: str | None = None
    gold: tuple[str, ...] = ()
    f1: float | None = None
    exact_match: bool | None = None
    answer_language: str | None = None
    reason: str | None = None
    task_reason: str | None = None
    language_reason: str | None = None
    language_shares: Mapping[str, float] = field(default_factory=dict)
    reasoning_language: str | None = None
    reasoning_language_correct: bool | None = None
    thinking_language: str | None = None
    thinking_language_correct: bool | None = None
    line_pass: bool | None = None
    word_pass: bool | None = None
    repeats: bool = False
    n_options: int = 0
    finish: Finish = "stop"
    n_tokens: int = 0
    error: str | None = None
    option_scores: tuple[float, ...] | None = None

    @property
    def right_in_both(self) -> bool | None:
        """Right in task and language; what could not be judged is not. None where there is no task."""
        return None if self.kind == "open" else self.outcome == "both"

    @property
    def item(self) -> tuple[str, str]:
        """The question, whatever language and scenario it was asked in."""
        return self.benchmark, self.item_id

    @property
    def cluster(self) -> tuple[str, str]:
        """What is resampled as one: all questions on one text, in all languages and scenarios."""
        return self.benchmark, self.group


@dataclass(frozen=True)
class LanguagePreference:
    """In the bilingual scenario: the languages of the offered answers that were picked.

    Attributes:
        n: answers that plainly pick an option in one language.
        target_share: of these in the target language, with its interval ``low`` to ``high``.
        shares: language -> share.
    """

    n: int
    target_share: float
    low: float | None
    high: float | None
    shares: dict[str, float]


@dataclass(frozen=True)
class LetterUse:
    """Which letters a model gives to multiple choice, and what they alone would earn.

    Attributes:
        n: answers that give a letter.
        counts: letter -> answers.
        entropy: of the letters, in bits; 0 where one letter is always given, 2 where four are given alike.
        expected: share right if these letters were given without regard to the question.
        guess: share right by guessing among the options.
    """

    n: int
    counts: dict[str, int]
    entropy: float
    expected: float
    guess: float | None


@dataclass(frozen=True)
class ScoreRow:
    """All rates of one set of answers: a cell, or a pool (what was pooled over is None).

    Attributes:
        coincides_with: the scenario that a cell repeats.
        n_empty, n_with_reasoning: answers without a letter or digit, and those of them beside which
            the model's reasoning came.
        n_replaced: answers that hold halves of a character, as a token limit leaves them.
        n_mixed: answers in several languages, none of which has a clear majority.
        n_repeating: answers that say the same thing three times over.
        n_items: different questions behind ``n`` answers and behind each of the two rates.
        right_in_both: right task and right language, of all answers to prompts that have a task.
        reasoning_consistency: language consistency of what stands before the closing phrase alone.
        consistent_with_option: language consistency where an answer that picks an option in another
            language is not consistent, whatever its own words are in.
        picked_in_target: of the answers that plainly pick an offered answer in one language, where
            answers in two languages are offered, those in the target language.
        wrong_in_english: of the answers known to be in a wrong language, those in English.
        letters: of multiple choice; None where no answer gives a letter.
        bounds: ``task_accuracy``, ``language_consistency`` and ``right_in_both`` of all answers, if those
            that could not be judged were all wrong, and if they were all right; empty without answers.
        intervals: the rates that stand as plain numbers beside it, each with interval and n.
    """

    benchmark: str | None
    language: str | None
    scenario: Scenario | None
    coincides_with: Scenario | None
    n: int
    n_scored: int
    n_coinciding: int
    n_cut: int
    n_empty: int
    n_with_reasoning: int
    n_replaced: int
    n_mixed: int
    n_repeating: int
    n_items: dict[str, int]
    task_accuracy: Rate
    language_consistency: Rate
    reasoning_consistency: Rate
    consistent_with_option: Rate
    picked_in_target: Rate
    right_in_both: Rate
    wrong_in_english: Rate
    f1: float | None
    exact_match: float | None
    line_pass_rate: float | None
    word_pass_rate: float | None
    lcpr: float | None
    intervals: dict[str, Rate]
    outcomes: dict[Outcome, int]
    reasons: dict[str, int]
    answer_languages: dict[str, int]
    thinking_consistency: Rate | None
    language_preference: LanguagePreference | None
    letters: LetterUse | None
    bounds: dict[str, tuple[float, float]] = field(default_factory=dict)


@dataclass(frozen=True)
class IdentifierAccuracy:
    """How often a run's identifier is right on the run's own texts of known language.

    Attributes:
        gold: where these texts are from.
        languages: language -> ``sentences`` or ``words`` -> share placed right.
    """

    name: str
    candidates: tuple[str, ...]
    gold: str
    languages: dict[str, dict[str, Rate]]


@dataclass(frozen=True)
class BenchmarkUse:
    """What a run used of a benchmark: items and rows read by language, rows left out with reasons."""

    name: str
    kind: Kind
    split: Split
    source: str
    items: dict[str, int]
    missing_languages: dict[str, str]
    rows_read: dict[str, int]
    dropped: tuple[Dropped, ...]


@dataclass(frozen=True)
class Summary:
    """All rates of one evaluation: ``summary.json``.

    Attributes:
        confidence: of every interval.
        cells: benchmark x language x scenario.
        overall: one row per scenario, and one over all, whose scenario is None.
        by_language, by_benchmark, by_language_and_scenario: pools over the rest.
        benchmarks: what the answers' questions were taken from.
        english_words: the list behind the word pass rate.
    """

    model: str
    identifier: IdentifierAccuracy | None
    confidence: float
    cells: tuple[ScoreRow, ...]
    overall: tuple[ScoreRow, ...]
    by_language: tuple[ScoreRow, ...]
    by_benchmark: tuple[ScoreRow, ...]
    by_language_and_scenario: tuple[ScoreRow, ...]
    benchmarks: tuple[BenchmarkUse, ...] = ()
    english_words: dict[str, str] | None = None

    @property
    def over_all(self) -> ScoreRow:
        """The row over all answers."""
        return next(row for row in self.overall if row.scenario is None)


@dataclass(frozen=True)
class Change:
    """One rate before and after, on the same prompts.

    Attributes:
        low, high: of the difference; ``interval`` says how they were found.
        p_value: two-sided; ``test`` says of what.
        holm_p: corrected over cells; None in pools, and where no outcome could bring it under .05:
            ``reason`` then says so.
        gained, lost: prompts that became right or wrong.
        n_clusters: item groups behind ``n``.
        left_out: pairs of which one could not be judged.
    """

    before: float | None
    after: float | None
    difference: float | None
    low: float | None
    high: float | None
    interval: str
    p_value: float | None
    test: str
    gained: int
    lost: int
    n: int
    n_clusters: int
    left_out: int
    holm_p: float | None = None
    reason: str | None = None


@dataclass(frozen=True)
class Changes:
    """The changes of one set of answers; a cell says which it is, a pool does not."""

    task_accuracy: Change
    language_consistency: Change
    right_in_both: Change
    benchmark: str | None = None
    language: str | None = None
    scenario: Scenario | None = None


@dataclass(frozen=True)
class NonInferiority:
    """Whether the second answers are no worse at the task than a margin stated in advance.

    Attributes:
        margin: the largest loss of accuracy that counts as none, in (0, 1).
        verdict: ``held`` if the interval of the change lies above minus the margin, ``lost`` if it lies
            below, ``open`` if it holds minus the margin or there is no interval.
        reason: what the verdict rests on, in words.
    """

    margin: float
    verdict: Literal["held", "lost", "open"]
    reason: str


@dataclass(frozen=True)
class Comparison:
    """Two sets of answers to the same prompts: ``comparison.json``.

    Attributes:
        only_first, only_second: prompts that the other one lacks; they are left out.
        non_inferiority: of the accuracy over all; None where no margin was stated.
    """

    n_prompts: int
    only_first: int
    only_second: int
    overall: Changes
    scenarios: dict[str, Changes]
    benchmarks: dict[str, Changes]
    languages: dict[str, Changes]
    cells: tuple[Changes, ...]
    non_inferiority: NonInferiority | None = None
