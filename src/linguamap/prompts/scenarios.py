"""Which part of a prompt is in which language: the four scenarios and a control, as text and as chat messages.

=================  =====================  ==================  =====================================
scenario           preamble, instruction  question            answers that are offered
=================  =====================  ==================  =====================================
monolingual        target language        target language     target language (choice items)
code_mixed         English                target language     target language (choice items)
english_distractor target language        target language     right one target, wrong ones English
bilingual_answer   target language        target language     right one in both, a wrong one in each
=================  =====================  ==================  =====================================

The answer is wanted in the target language in all of them, and the right answer means the same.

``other_language`` is the control: everything is in another language of the run (the next one that the
benchmark has, English only where there is no other), and the prompt asks in that language for an answer
in the target language. Copying and obeying part there.

Requests of the Language Confusion Benchmark stand alone: as the user's turn of a chat, or as that
benchmark asks base models, ``Q: request``, line end, ``A:``.
"""

from __future__ import annotations

import dataclasses
import tomllib
from collections.abc import Iterable, Sequence
from functools import cache
from importlib import resources
from typing import Any

from linguamap.languages import Language, get_language
from linguamap.prompts.answer_options import AnswerOptions
from linguamap.prompts.sampling import Halves, pick_items, split_items, spread_examples
from linguamap.records import (
    SCENARIOS,
    Benchmark,
    Item,
    Option,
    Part,
    Prompt,
    Scenario,
    UserError,
)

__all__ = [
    "Halves",
    "applies",
    "render",
    "render_all",
    "split_items",
    "training_examples",
]


def render(
    benchmark: Benchmark,
    scenario: Scenario,
    language: str,
    item: Item,
    *,
    name_language: bool = True,
    seed: int = 0,
) -> Prompt:
    """One item as a prompt.

    Args:
        benchmark: where ``item`` is from; it gives the English answers.
        language: the target language, the item's own.
        name_language: whether the preamble says which language is wanted. The requests of the
            Language Confusion Benchmark are their own test and are never added to.
        seed: for the order of options and the choice of wrong answers.
    Raises:
        UserError: the scenario does not apply to the item, or needs English items that are not
            there, or wrong answers that cannot be found.
    """
    return _render(AnswerOptions(benchmark, seed), scenario, language, item, name_language)


def render_all(
    benchmarks: Benchmark | Sequence[Benchmark],
    languages: Sequence[str],
    scenarios: Sequence[Scenario],
    n_items: int | None = None,
    seed: int = 0,
    name_language: bool = True,
) -> list[Prompt]:
    """All prompts of a run, by benchmark, language, scenario and item.

    A prompt whose text is that of an earlier scenario of the same item names it in
    ``coincides_with``. Languages that a benchmark lacks, and scenarios that do not apply to its
    items, are left out.

    Args:
        n_items: items per cell, the same ones in every language and scenario, from as many
            different groups as possible; None for all.
    Raises:
        UserError: as :func:`render`, or no scenario applies to a benchmark.
    """
    prompts: list[Prompt] = []
    for benchmark in [benchmarks] if isinstance(benchmarks, Benchmark) else benchmarks:
        answer_options = AnswerOptions(benchmark, seed)
        rendered: list[Prompt] = []
        for language in languages:
            items = benchmark.items.get(language, ())
            texts: dict[tuple[str, str], Scenario] = {}
            for scenario in [name for name in SCENARIOS if name in scenarios]:
                if scenario == "other_language" and answer_options.other_language(language) is None:
                    continue
                fitting = [item for item in items if applies(scenario, item, benchmark.bare)]
                for item in pick_items(fitting, n_items, seed):
                    prompt = _render(answer_options, scenario, language, item, name_language)
                    earlier = texts.setdefault((item.item_id, prompt.text), scenario)
                    if earlier != scenario:
                        prompt = dataclasses.replace(prompt, coincides_with=earlier)
                    rendered.append(prompt)
        if not rendered and any(code in benchmark.items for code in languages):
            raise UserError(
                f"{benchmark.name}: none of the scenarios {', '.join(scenarios)} applies to it; "
                "open requests have monolingual and code_mixed only"
            )
        prompts += rendered
    return prompts


def training_examples(
    benchmarks: Benchmark | Sequence[Benchmark],
    languages: Sequence[str],
    scenarios: Sequence[Scenario],
    n: int | None = None,
    seed: int = 0,
    name_language: bool = True,
) -> list[Prompt]:
    """Prompts with a reference answer, spread evenly over kinds, scenarios and languages.

    Coinciding prompts are left out. See :func:`linguamap.prompts.sampling.spread_examples`.

    Args:
        n: how many; None for all. Fewer come back if there are fewer.
    Raises:
        UserError: no item has worked reasoning to learn from.
    """
    prompts = render_all(benchmarks, languages, scenarios, None, seed, name_language)
    usable = [prompt for prompt in prompts if prompt.reference and prompt.coincides_with is None]
    if not usable:
        names = sorted({prompt.benchmark for prompt in prompts})
        raise UserError(
            f"{', '.join(names)}: no training item has worked reasoning to learn from; add the "
            "benchmarks sums, choice and passage, or items with an explanation"
        )
    return spread_examples(usable, n, seed)


def applies(scenario: Scenario, item: Item, bare: bool) -> bool:
    """Whether a scenario makes sense for an item, of a benchmark whose requests are sent bare or not.

    Open requests offer no answers. Of the Language Confusion Benchmark's two tasks, monolingual
    requests are the monolingual scenario, and crosslingual ones (English requests for an answer in
    the target language) stand under code_mixed.
    """
    if item.kind != "open":
        return True
    if bare:
        task = (item.subject or "").partition("/")[0]
        return scenario == {"monolingual": "monolingual", "crosslingual": "code_mixed"}.get(task)
    return scenario in ("monolingual", "code_mixed", "other_language")


def _render(
    answer_options: AnswerOptions,
    scenario: Scenario,
    language: str,
    item: Item,
    name_language: bool,
) -> Prompt:
    if not applies(scenario, item, answer_options.bare):
        raise UserError(
            f"{item.benchmark}: the scenario {scenario} does not apply to item {item.item_id}, "
            "an open request"
        )
    target = get_language(language)
    frame = get_language("en") if scenario == "code_mixed" else target
    asked = item
    if scenario == "other_language":
        other = answer_options.other_language(language)
        if other is None:
            raise UserError(
                f"{item.benchmark}: the scenario other_language needs a second language; add one"
            )
        frame, asked = get_language(other), answer_options.items[other][item.item_id]
    options = answer_options.options(scenario, asked.language, asked)
    return Prompt(
        item_id=item.item_id,
        benchmark=item.benchmark,
        kind=item.kind,
        language=language,
        scenario=scenario,
        parts=tuple(_parts(asked, options, frame, target, name_language, answer_options.bare)),
        gold=_gold(answer_options, scenario, item, asked, options),
        options=options,
        passage=asked.passage,
        reference=_reference(target, item, options) if asked is item else (),
        group=item.group,
        bare=answer_options.bare,
    )


@cache
def _requests() -> dict[str, dict[str, Any]]:
    table = resources.files("linguamap") / "data" / "answer_language.toml"
    return tomllib.loads(table.read_text(encoding="utf-8"))


def request_for(frame: str, target: str) -> str:
    """The sentence of one language that asks for an answer in another one."""
    row = _requests()[frame]
    return str(row["request"]).replace("{language}", row["names"][target])


def _parts(
    item: Item,
    options: Sequence[Option],
    frame: Language,
    target: Language,
    named: bool,
    bare: bool,
) -> Iterable[Part]:
    """Preamble, instruction, labels and question, ready to be continued with the answer."""
    if bare:
        yield from (Part("I", "Q: "), Part("Q", f"{item.question.strip()}\n"), Part("I", "A:"))
        return
    texts = frame.texts
    answer_in = texts.answer_in.replace("{language}", target.english_name)
    if item.language != target.code:  # asked for in the language of the prompt, whatever is named
        answer_in, named = request_for(frame.code, target.code), True
    yield Part("P", f"{texts.preamble} {answer_in}\n" if named else f"{texts.preamble}\n")
    candidates = options if item.kind != "choice" else ()
    instruction = {
        "sums": texts.sums,
        "choice": texts.choice,
        "passage": texts.passage,
        "open": texts.open,
    }[item.kind]
    yield Part("I", f"{instruction} {texts.candidates}\n\n" if candidates else f"{instruction}\n\n")
    if item.passage is not None:
        yield Part("I", f"{texts.label_passage} ")
        yield Part("Q", f"{item.passage}\n")
    yield Part("I", f"{texts.label_question} ")
    yield Part("Q", f"{item.question}\n")
    if candidates:
        yield Part("I", f"{texts.label_candidates}\n")
        yield Part("Q", "".join(f"- {option.text}\n" for option in candidates))
    elif options:
        yield Part("I", f"{texts.label_options}\n")
        yield Part("Q", "".join(f"{option.letter}) {option.text}\n" for option in options))
    yield Part("I", texts.label_answer)


def _gold(
    answer_options: AnswerOptions,
    scenario: Scenario,
    item: Item,
    asked: Item,
    options: Sequence[Option],
) -> tuple[str, ...]:
    if item.kind == "passage" and asked is not item:  # right in either language, judged for one
        return tuple(dict.fromkeys(item.gold + asked.gold))
    if item.kind == "choice":
        return tuple(option.letter for option in options if option.correct)
    if item.kind == "passage" and scenario == "bilingual_answer":
        return tuple(dict.fromkeys(item.gold + answer_options.items["en"][item.item_id].gold))
    return item.gold


def _reference(target: Language, item: Item, options: Sequence[Option]) -> tuple[Part, ...]:
    """Reasoning and closing phrase of a right answer, both in the target language."""
    if item.explanation is None:
        return ()
    if item.kind == "open":
        return (Part("R", f" {item.explanation}"),)
    if not item.gold:
        return ()
    answer = item.gold[0]
    if item.kind == "choice":
        answer = next(
            option.letter for option in options if option.correct and option.language == target.code
        )
    elif item.kind == "sums":
        answer = answer.replace(".", target.decimal_mark)
    phrase = target.texts.answer_phrase.replace("{answer}", answer)
    blank = " " if target.segmented else ""
    return (Part("R", f" {item.explanation}"), Part("A", f"{blank}{phrase}"))
