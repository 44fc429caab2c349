"""What is trained on: the run's training items, GSM-Symbolic or a user's file, and nothing of the test."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from icu4py.breakers import SentenceBreaker

from linguamap.benchmarks.sums import GSM_SYMBOLIC, load_gsm_symbolic
from linguamap.languages import get_language
from linguamap.progress import Progress, say, silent
from linguamap.prompts.sampling import spread_examples
from linguamap.prompts.scenarios import render_all, training_examples
from linguamap.records import PAPER_SCENARIOS, Benchmark, Item, Prompt, Scenario, UserError
from linguamap.tuning.data.user_texts import read_jsonl
from linguamap.tuning.methods import method_of

if TYPE_CHECKING:
    from linguamap.config import RunConfig
    from linguamap.models.language_model import LanguageModel
    from linguamap.tuning.data.batches import TrainingExample


Teach = Callable[[Sequence[Prompt], Sequence[Prompt]], tuple[list[Prompt], dict[str, Any]]]
"""See :func:`linguamap.tuning.data.teacher.taught`: prompts and their items' monolingual questions."""


@dataclass(frozen=True)
class TuningData:
    """Examples to train on, and where they are from.

    Attributes:
        facts: what ``tuning.json`` says of them: source, number, languages, what was left out.
    """

    examples: list[Prompt | TrainingExample]
    facts: dict[str, Any] = field(default_factory=dict)

    @property
    def prompts(self) -> list[Prompt]:
        """Those that are rendered prompts."""
        return [example for example in self.examples if isinstance(example, Prompt)]


def gather(
    config: RunConfig,
    training_items: Callable[[], list[Benchmark]],
    test: Sequence[Benchmark],
    model: Callable[[], LanguageModel],
    teach: Teach,
    progress: Progress = silent,
) -> TuningData:
    """Read, render and draw the training examples that a run's config asks for.

    Args:
        training_items: the run's own.
        test: the run's test items; examples that are or ask one of them are left out by name.
        model: tokenises a user's conversations; not called for anything else.
        teach: has a teacher write the references of prompts; not called without a teacher.
    Raises:
        UserError: unknown or broken data, or nothing is left to train on.
    """
    source, method = config.tune.data, method_of(config.tune.method)
    tested = HeldOut.of(test)
    if source is not None and source.endswith(".jsonl"):
        if config.tune.teacher:
            raise UserError(
                "tune: a teacher answers benchmark items, and tune.data is a file of finished "
                "examples; leave one of them out"
            )
        data = _from_file(Path(source), tested, model())
        _check_languages([example.language for example in data.examples], config, progress)
        return data
    benchmarks = _benchmarks(config, training_items)
    facts: dict[str, Any] = {
        "source": [f"{benchmark.name} ({benchmark.source})" for benchmark in benchmarks],
        "missing_languages": {k: v for b in benchmarks for k, v in b.missing_languages.items()},
    }
    if config.tune.teacher:
        items, left_out = _guarded(_render(config, benchmarks), tested)
        drawn = spread_examples(items, config.tune.examples, config.seed)
        prompts, facts["teacher"] = teach(drawn, _render(config, benchmarks, ask=True))
    else:
        worked = training_examples(
            benchmarks, config.languages, _trained(config), None, config.seed,
            config.data.name_language,
        )  # fmt: skip
        items, left_out = _guarded(worked, tested)
        # Few-shot prompts pick their examples themselves, from all items.
        n = config.tune.examples if method.draws_examples else None
        prompts = spread_examples(items, n, config.seed)
    languages_present = {prompt.language for prompt in prompts}
    languages_missing = [code for code in config.languages if code not in languages_present]
    if method.needs_every_language and prompts and languages_missing:
        raise UserError(
            f"tune: no training example in {', '.join(languages_missing)}, and steering needs some in every "
            "language of the run; take other data, or leave these languages out"
        )
    if not prompts:
        raise UserError(f"tune: no training example is left; {_why(left_out, facts)}")
    _check_languages([prompt.language for prompt in prompts], config, progress)
    facts |= {"examples": len(prompts), "left_out": some_left_out(left_out)}
    return TuningData(list(prompts), facts)


LEAST_OWN = 4
"""Answers to own prompts from which on they can be divided and trained on at all."""


def own_data(
    texts: Sequence[Prompt], n_asked: int, config: RunConfig, test: Sequence[Benchmark]
) -> TuningData:
    """Examples of own prompts, each with an answer in the language asked for.

    Args:
        texts: those of ``n_asked`` prompts that have such an answer, a teacher's or the model's own.
        test: prompts that are asked; the same question under another id is left out.
    Raises:
        UserError: too few answers to train on, and what to do.
    """
    kept, left_out = _guarded(texts, HeldOut.of(test))
    taught = config.tune.teacher is not None
    if len(kept) < LEAST_OWN:
        raise UserError(
            f"tune: {len(kept)} of {n_asked} {'of the teacher' if taught else 'own'} answers are in the "
            f"language asked for from beginning to end, and it takes {LEAST_OWN} at least; start the same "
            f"command with {'another' if taught else 'a'} teacher (--teacher URL) or texts of yours "
            "(--train-data FILE.jsonl)"
        )
    prompts = spread_examples(kept, config.tune.examples, config.seed)
    source = f"{prompts[0].benchmark} ({'a teacher' if taught else 'own answers'})"
    facts = {"source": [source], "asked": n_asked, "examples": len(prompts)}
    return TuningData(list(prompts), facts | {"left_out": some_left_out(left_out)})


def _check_languages(
    languages: Sequence[str | None], config: RunConfig, progress: Progress
) -> None:
    """Say which languages of the run no example is in; nothing where some example tells no language.

    Raises:
        UserError: the examples are in English only, and other languages are wanted.
    """
    missing = [code for code in config.languages if code not in languages]
    if not missing or not all(languages):
        return
    if set(languages) == {"en"}:
        raise UserError(
            f"tune: the training texts are in English only, and the run asks for {', '.join(missing)}, "
            "which they would teach the model to leave; take other data, or --languages en"
        )
    say(
        progress,
        f"warning: no training example in {', '.join(missing)}; these languages of the run are "
        "tested, but not trained on",
    )


def _benchmarks(
    config: RunConfig, training_items: Callable[[], list[Benchmark]]
) -> list[Benchmark]:
    source = config.tune.data
    if source is None:
        benchmarks = training_items()
    elif source == GSM_SYMBOLIC or Path(source).is_dir():
        folder = config.data.folder if source == GSM_SYMBOLIC else source
        if folder is None:
            raise UserError(
                f"tune: tune.data={GSM_SYMBOLIC} is read from data.folder, which is not set; set it "
                "(--data FOLDER), or set tune.data to the folder itself"
            )
        benchmarks = [load_gsm_symbolic(Path(folder), config.languages)]
    else:
        raise UserError(
            f"tune: tune.data={source!r} is neither {GSM_SYMBOLIC}, nor a folder, nor a .jsonl file"
        )
    if config.tune.tasks:
        return benchmarks
    if config.tune.teacher:
        raise UserError("tune: a teacher solves tasks, and tune.tasks=false leaves them out")
    return _plain_texts(benchmarks)


def _plain_texts(benchmarks: Sequence[Benchmark]) -> list[Benchmark]:
    """The benchmarks without their tasks; those that have no text of several sentences go."""
    texts, faults = [], []
    for benchmark in benchmarks:
        try:
            texts.append(without_tasks(benchmark))
        except UserError as fault:
            faults.append(fault)
    if not texts:
        raise faults[0]
    return texts


def without_tasks(benchmark: Benchmark) -> Benchmark:
    """The benchmark's texts as open items, each once, so that only the language is trained.

    A text is a passage, or else a question of several sentences. Its first sentence becomes an open
    request, and the rest the answer to learn: no problem to solve, no option, no closing phrase. What
    accuracy a model gains from such examples it does not owe to worked answers. Open items stay as
    they are.

    Raises:
        UserError: no item has a text of two sentences.
    """
    if benchmark.kind == "open":
        return benchmark
    items = {code: _as_texts(originals, code) for code, originals in benchmark.items.items()}
    common = set.intersection(*({text.item_id for text in texts} for texts in items.values()))
    if not common:
        raise UserError(
            f"tune: {benchmark.name} has no text of two sentences or more in every language, so "
            "nothing is left without tasks; add the benchmark passage, or open items with an "
            "explanation"
        )
    return replace(
        benchmark,
        name=f"{benchmark.name}-texts",
        kind="open",
        items={
            code: tuple(text for text in texts if text.item_id in common)
            for code, texts in items.items()
        },
        english=(),
    )


def _as_texts(items: Iterable[Item], language: str) -> list[Item]:
    texts: dict[str, Item] = {}
    for item in items:
        text = item.passage or item.question
        if text in texts:
            continue
        first, rest = _first_sentence(text, language)
        if rest:
            texts[text] = Item(
                item_id=item.item_id,
                benchmark=f"{item.benchmark}-texts",
                kind="open",
                language=item.language,
                split=item.split,
                question=first,
                gold=(),
                explanation=rest,
                group=item.group,
            )
    return list(texts.values())


def _first_sentence(text: str, language: str) -> tuple[str, str]:
    """First sentence, and the rest on one line."""
    pieces = [" ".join(piece.split()) for piece in SentenceBreaker(text, language)]
    first, *rest = [piece for piece in pieces if piece] or [""]
    blank = " " if get_language(language).segmented else ""
    return first, blank.join(rest)


def _trained(config: RunConfig) -> list[Scenario]:
    """The run's scenarios without the control, which would be none if it were trained on."""
    return [name for name in config.scenarios if name in PAPER_SCENARIOS] or ["monolingual"]


def _render(config: RunConfig, benchmarks: Sequence[Benchmark], ask: bool = False) -> list[Prompt]:
    """All prompts of items with a task; with ``ask`` the monolingual ones, whatever is tuned on."""
    scenarios: list[Scenario] = ["monolingual"] if ask else _trained(config)
    prompts = render_all(
        benchmarks, config.languages, scenarios, None, config.seed, config.data.name_language
    )
    return [p for p in prompts if p.coincides_with is None and p.kind != "open"]


def _guarded(
    prompts: Sequence[Prompt], tested: HeldOut
) -> tuple[list[Prompt], list[tuple[str, str]]]:
    reasons = {prompt.prompt_id: tested.reason(prompt) for prompt in prompts}
    kept = [prompt for prompt in prompts if reasons[prompt.prompt_id] is None]
    return kept, [(name, reason) for name, reason in reasons.items() if reason is not None]


def _from_file(path: Path, tested: HeldOut, lm: LanguageModel) -> TuningData:
    kept: list[Prompt | TrainingExample] = []
    left_out: list[tuple[str, str]] = []
    for example in read_jsonl(path, lm):
        if isinstance(example, Prompt):
            name, item_id, text = example.prompt_id, example.item_id, example.text
        else:
            name, item_id = example.example_id, example.example_id.removeprefix("jsonl/")
            text = str(lm.tokenizer.decode(example.token_ids, skip_special_tokens=True))
        reason = tested.reason_in_text(item_id, text)
        if reason is None:
            kept.append(example)
        else:
            left_out.append((name, reason))
    facts: dict[str, Any] = {
        "source": [str(path)], "examples": len(kept), "left_out": some_left_out(left_out),
    }  # fmt: skip
    if not kept:
        raise UserError(f"tune: no training example is left; {_why(left_out, facts)}")
    return TuningData(kept, facts)


def _why(left_out: Sequence[tuple[str, str]], facts: dict[str, Any]) -> str:
    if facts.get("teacher"):
        return f"the teacher's answers were dropped: {facts['teacher']['dropped']}"
    name, reason = left_out[0] if left_out else ("all", "there were none")
    return f"{len(left_out)} left out, e.g. {name}: {reason}"


SHORTEST_QUESTION = 20
"""Characters; shorter test questions are looked for in free text only as whole questions."""


@dataclass(frozen=True)
class HeldOut:
    """What the run is tested on, in every language.

    Attributes:
        items: (benchmark, item id).
        questions: (question, passage or ""), blanks made single.
    """

    items: frozenset[tuple[str, str]]
    questions: frozenset[tuple[str, str]]

    @classmethod
    def of(cls, benchmarks: Iterable[Benchmark]) -> HeldOut:
        """All items of the test benchmarks, those not drawn for this run too."""
        tested = [
            item
            for benchmark in benchmarks
            for items in (*benchmark.items.values(), benchmark.english)
            for item in items
        ]
        return cls(
            frozenset((item.benchmark, item.item_id) for item in tested),
            frozenset((_plain(item.question), _plain(item.passage or "")) for item in tested),
        )

    def reason(self, prompt: Prompt) -> str | None:
        """Why a training prompt may not be used, or None."""
        if (prompt.benchmark, prompt.item_id) in self.items:
            return "its item is a test item"
        if (prompt.question, _plain(prompt.passage or "")) in self.questions:
            return "its question is a test item's"
        return None

    def reason_in_text(self, item_id: str, text: str) -> str | None:
        """Why a user's example may not be used, or None.

        Args:
            item_id: the id that the user gave; empty without one.
            text: the whole prompt. A test question inside it counts if its passage is there as well.
        """
        if item_id and any(item_id == known for _, known in self.items):
            return "its id is a test item's"
        plain = _plain(text)
        for question, passage in self.questions:
            inside = len(question) >= SHORTEST_QUESTION and question in plain
            if (inside and passage in plain) or plain == question:
                return "it holds a test item's question"
        return None


def _plain(text: str) -> str:
    return " ".join(text.split())


def some_left_out(left_out: Sequence[tuple[str, str]], shown: int = 20) -> dict[str, object]:
    """Count, and the first few names with their reasons, for ``tuning.json``."""
    return {
        "n": len(left_out),
        "first": [{"example": name, "reason": reason} for name, reason in left_out[:shown]],
    }
