"""Which texts the probes read: a choice among the training prompts, and their model-ready form."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

import regex

from linguamap import seeding
from linguamap.generation.encoding import encode
from linguamap.records import Prompt, UserError

if TYPE_CHECKING:
    from linguamap.config import RunConfig
    from linguamap.models.language_model import LanguageModel

RIVAL = "en"
STAND_IN_CHARACTERS = 400
_BEGINS_WITH_WORD = regex.compile(r"\s*(?![A-J](?:[).:]|\s*$))\p{L}")
"""The letter of an option is no word."""

Positions = Literal["all", "last"]
TextSource = Literal["auto", "reference", "generated"]
OwnAnswers = Callable[[Sequence[Prompt]], Mapping[str, str]]
"""Prompts -> the model's own answers, by prompt id."""


@dataclass(frozen=True)
class LensText:
    """A prompt and the answer to read under it.

    Attributes:
        group: what is resampled as one in the bootstrap (the passage, the template).
        language: the target language, in which the answer is written.
        prompt_ids: the prompt's token ids, where they are not those of ``prompt_text`` (chat
            templates); the answer is then tokenized on its own.
    """

    item_id: str
    group: str
    language: str
    scenario: str
    kind: str
    prompt_text: str
    answer_text: str
    prompt_ids: tuple[int, ...] | None = None


@dataclass(frozen=True)
class EncodedText:
    """A text's token ids and the range of positions whose next token belongs to the answer."""

    text: LensText
    token_ids: list[int]
    first: int
    stop: int


@dataclass(frozen=True)
class PromptPair:
    """One item's prompt in the target language and in English, as token ids.

    Attributes:
        first_ids: the tokens that the answers in the target language and in English begin with; None
            where they are not known.
    """

    item_id: str
    group: str
    kind: str
    language: str
    prompt_ids: list[int]
    english_ids: list[int]
    first_ids: tuple[int, int] | None = None


@dataclass(frozen=True)
class ParallelItem:
    """One item as short text in every language.

    Attributes:
        group: items of one group share text (a passage, a template) and are no unrelated pair.
        texts: language -> text; a pair of languages is compared over the items that have both.
    """

    item_id: str
    group: str
    kind: str
    texts: Mapping[str, str]


@dataclass(frozen=True)
class WordTexts:
    """Texts whose words make the token sets, and texts to see how much those cover.

    Attributes:
        texts: language -> questions, passages and worked answers.
        covered: language -> worked answers (or questions) of the items that the lens reads.
        source: where the texts come from, in words.
    """

    texts: dict[str, list[str]]
    covered: dict[str, list[str]]
    source: str


def pick(prompts: Iterable[Prompt], n: int, seed: int, purpose: str) -> list[Prompt]:
    """All languages' prompts of ``n`` items a benchmark, from as many groups as possible."""
    by_item: dict[tuple[str, str], list[Prompt]] = {}
    for prompt in prompts:
        by_item.setdefault((prompt.benchmark, prompt.item_id), []).append(prompt)
    ranked: dict[str, list[tuple[int, int, list[Prompt]]]] = {}
    taken: Counter[tuple[str, str]] = Counter()
    for order, key in enumerate(seeding.shuffled(by_item, purpose, seed)):
        group = (key[0], by_item[key][0].group or key[1])
        ranked.setdefault(key[0], []).append((taken[group], order, by_item[key]))
        taken[group] += 1
    chosen = [
        item for items in ranked.values() for item in sorted(items, key=lambda rank: rank[:2])[:n]
    ]
    return [prompt for _, _, same_item in chosen for prompt in same_item]


def lens_prompts(prompts: Sequence[Prompt], n: int, seed: int) -> list[Prompt]:
    """One prompt an item and language: monolingual and code-mixed in turn, English monolingual."""
    chosen: list[Prompt] = []
    turn: Counter[str] = Counter()
    by_item: dict[tuple[str, str], dict[tuple[str, str], Prompt]] = {}
    for prompt in pick(prompts, n, seed, "lens"):
        scenarios = by_item.setdefault((prompt.benchmark, prompt.item_id), {})
        scenarios[prompt.language, prompt.scenario] = prompt
    for (benchmark, _), versions in by_item.items():
        scenario = "code_mixed" if turn[benchmark] % 2 else "monolingual"
        turn[benchmark] += 1
        for language in dict.fromkeys(code for code, _ in versions):
            prompt = versions.get((language, scenario)) or versions[language, "monolingual"]
            if prompt.coincides_with is not None:
                prompt = versions[language, "monolingual"]
            chosen.append(prompt)
    return chosen


def lens_texts(
    lm: LanguageModel,
    prompts: Sequence[Prompt],
    wanted: TextSource,
    own_answers: OwnAnswers,
) -> list[LensText]:
    """The answers that the lens reads.

    ``reference``: the worked answer. ``generated``: the model's own, greedy. ``auto``: the
    reference, and for items without one the question (or passage) itself, as far as it goes, read
    after the text before it: known to be in the target language, which a model's own answer is not.

    Args:
        own_answers: writes the model's own, where they are wanted.
    Raises:
        UserError: no item has the wanted answers.
    """
    if wanted == "generated":
        answers = own_answers(prompts)
        given = [prompt for prompt in prompts if answers[prompt.prompt_id].strip()]
        if not given:
            raise UserError("probe: the model answered nothing; use probe.texts=auto")
        return [with_answer(lm, prompt, " " + answers[prompt.prompt_id]) for prompt in given]
    texts = []
    for prompt in prompts:
        if prompt.reference:
            texts.append(with_answer(lm, prompt, "".join(p.text for p in prompt.reference)))
        elif wanted == "auto":
            texts += _stand_in(prompt)
    if not texts:
        raise UserError(
            "probe: no training item has a worked answer; use probe.texts=auto or generated"
        )
    return texts


def count_sources(
    prompts: Sequence[Prompt], texts: Sequence[LensText], wanted: str
) -> dict[str, int]:
    """How many of the lens's texts are worked references, stand-ins, and the model's own answers.

    Args:
        prompts: those that :func:`lens_texts` made ``texts`` of.
        wanted: ``probe.texts`` of the config.
    """
    generated = len(texts) if wanted == "generated" else 0
    reference = 0 if generated else sum(bool(prompt.reference) for prompt in prompts)
    return {
        "n_reference": reference,
        "n_stand_in": len(texts) - generated - reference,
        "n_generated": generated,
    }


def parallel_items(
    prompts: Sequence[Prompt], n: int, seed: int, whole: bool = False
) -> list[ParallelItem]:
    """About ``n`` items over all benchmarks: the question without passage and options.

    Args:
        whole: take the whole prompt instead.
    """
    monolingual = [prompt for prompt in prompts if prompt.scenario == "monolingual"]
    share = max(n // max(len({prompt.benchmark for prompt in monolingual}), 1), 4)
    by_item: dict[tuple[str, str], list[Prompt]] = {}
    for prompt in pick(monolingual, share, seed, "similarity"):
        by_item.setdefault((prompt.benchmark, prompt.item_id), []).append(prompt)
    return [
        ParallelItem(
            item_id,
            same[0].group or item_id,
            same[0].kind,
            dict((one.language, one.text) if whole else _question(one) for one in same),
        )
        for (_, item_id), same in by_item.items()
    ]


def prompt_pairs(
    lm: LanguageModel, prompts: Sequence[Prompt], config: RunConfig
) -> list[PromptPair]:
    """Monolingual prompts with their English counterparts, ``handover_items`` a language.

    Only those whose answers begin with a word in both languages: the letter of an option or a number
    is in no language. What both answers begin with belongs to the prompt.
    """
    monolingual = [prompt for prompt in prompts if prompt.scenario == "monolingual"]
    benchmarks = len({prompt.benchmark for prompt in monolingual})
    n = -(-config.probe.handover_items // max(benchmarks, 1))
    chosen = [p for p in pick(monolingual, n, config.seed, "handover") if _first_words(p)]
    found = {
        (p.benchmark, p.item_id, p.language): _tokens(lm, with_answer(lm, p, _first_words(p)))
        for p in chosen
    }
    taken: Counter[str] = Counter()
    pairs = []
    for prompt in chosen:
        own = found[prompt.benchmark, prompt.item_id, prompt.language]
        english = found.get((prompt.benchmark, prompt.item_id, RIVAL))
        parted = None if english is None else _parting(lm, own, english)
        if parted is None or taken[prompt.language] == config.probe.handover_items:
            continue
        names = (prompt.item_id, prompt.group or prompt.item_id, prompt.kind, prompt.language)
        pairs.append(PromptPair(*names, *parted))
        taken[prompt.language] += 1
    return pairs


def _first_words(prompt: Prompt) -> str:
    """The worked answer, or the gold one, if it begins with a word; else nothing."""
    answer = "".join(part.text for part in prompt.reference) or f" {(*prompt.gold, '')[0]}"
    return answer if _BEGINS_WITH_WORD.match(answer) else ""


def _parting(
    lm: LanguageModel, own: tuple[list[int], list[int]], english: tuple[list[int], list[int]]
) -> tuple[list[int], list[int], tuple[int, int]] | None:
    """Token ids up to where two answers part, and their next tokens; None where they never do.

    A blank that is a token of its own, and what both answers begin with, is read and not compared.
    """
    sides = []
    for ids, inside in (own, english):
        place = inside[0]
        while place < len(ids) - 1 and not lm.tokenizer.decode([ids[place]]).strip():
            place += 1
        sides.append((ids, place))
    (ids, i), (others, j) = sides
    while i < len(ids) and j < len(others) and ids[i] == others[j]:
        i, j = i + 1, j + 1
    if i == len(ids) or j == len(others):
        return None
    return ids[:i], others[:j], (ids[i], others[j])


def gold_texts(prompts: Sequence[Prompt]) -> dict[str, list[str]]:
    """Texts known to be in each language: worked answers, or the questions where there are none."""
    gold: dict[str, list[str]] = {}
    for prompt in prompts:
        if prompt.scenario == "monolingual":
            answer = "".join(part.text for part in prompt.reference) or _question(prompt)[1]
            gold.setdefault(prompt.language, []).append(answer)
    return gold


def word_texts(prompts: Sequence[Prompt], read: Sequence[Prompt]) -> WordTexts:
    """The run's own texts of known language, without those items that the lens reads.

    Args:
        prompts: all training prompts.
        read: those that the lens reads; their items make no sets unless there are no others.
    """
    keys = {(prompt.benchmark, prompt.item_id) for prompt in read}
    monolingual = [prompt for prompt in prompts if prompt.scenario == "monolingual"]
    inside = [p for p in monolingual if (p.benchmark, p.item_id) in keys]
    others = [p for p in monolingual if (p.benchmark, p.item_id) not in keys]
    source = (
        "questions, passages and worked answers of the training items that the lens does not read"
    )
    if {p.language for p in others} != {p.language for p in monolingual}:
        others, source = monolingual, "questions, passages and worked answers of all training items"
    texts: dict[str, dict[str, None]] = {}
    for prompt in others:
        stretches = [part.text.strip() for part in prompt.parts if part.role == "Q"]
        stretches.append("".join(part.text for part in prompt.reference))
        texts.setdefault(prompt.language, {}).update(dict.fromkeys(filter(str.strip, stretches)))
    return WordTexts({code: list(t) for code, t in texts.items()}, gold_texts(inside), source)


def with_answer(lm: LanguageModel, prompt: Prompt, answer: str) -> LensText:
    """A prompt as the model reads it (under its chat template, if it has one), with an answer."""
    ids = None
    if lm.is_chat:
        ids = tuple(encode(lm, [prompt])[0].token_ids)
        answer = answer.strip()
    return LensText(
        item_id=prompt.item_id,
        group=prompt.group or prompt.item_id,
        language=prompt.language,
        scenario=prompt.scenario,
        kind=prompt.kind,
        prompt_text=prompt.text,
        answer_text=answer,
        prompt_ids=ids,
    )


def _stand_in(prompt: Prompt) -> list[LensText]:
    """The first longer Q part, cut at a blank, under the text that stands before it."""
    before = ""
    for part in prompt.parts:
        if part.role == "Q" and len(part.text.strip()) > 1:
            text = part.text.rstrip()
            if len(text) > STAND_IN_CHARACTERS:
                text = text[:STAND_IN_CHARACTERS].rpartition(" ")[0] or text[:STAND_IN_CHARACTERS]
            group = prompt.group or prompt.item_id
            names = (prompt.item_id, group, prompt.language, prompt.scenario, prompt.kind)
            return [LensText(*names, before, text)]
        before += part.text
    return []


def _question(prompt: Prompt) -> tuple[str, str]:
    """Language and question: the last Q stretch of a passage item, the first of any other."""
    stretches = [part.text.strip() for part in prompt.parts if part.role == "Q"]
    stretches = [text for text in stretches if text]
    return prompt.language, stretches[-1 if prompt.kind == "passage" else 0]


def encode_texts(
    lm: LanguageModel, texts: Sequence[LensText], positions: Positions = "all"
) -> list[EncodedText]:
    """Token ids of prompt + answer, and which positions predict the answer's tokens.

    Raises:
        UserError: there are no texts, or an answer has no tokens; names the item.
    """
    if not texts:
        raise UserError("probe: there are no texts to read; give benchmarks with training items")
    return [_encode(lm, text, positions) for text in texts]


def _encode(lm: LanguageModel, text: LensText, positions: Positions) -> EncodedText:
    ids, inside = _tokens(lm, text)
    inside = [i for i in inside if i > 0]
    if not inside:
        raise UserError(f"probe: the answer to {text.item_id} ({text.language}) has no tokens")
    stop = inside[-1] + 1 if positions == "all" else inside[0] + 1
    return EncodedText(text, ids[:stop], inside[0] - 1, stop - 1)


def _tokens(lm: LanguageModel, text: LensText) -> tuple[list[int], list[int]]:
    """All token ids, and the places among them that hold the answer."""
    if text.prompt_ids is None and getattr(lm.tokenizer, "is_fast", False):
        whole, boundary = text.prompt_text + text.answer_text, len(text.prompt_text)
        found = lm.tokenizer(whole, return_offsets_mapping=True)
        offsets = enumerate(found["offset_mapping"])
        return found["input_ids"], [i for i, (start, end) in offsets if end > max(boundary, start)]
    before = text.prompt_ids or lm.tokenizer(text.prompt_text)["input_ids"]
    after = lm.tokenizer(text.answer_text, add_special_tokens=False)["input_ids"]
    return [*before, *after], list(range(len(before), len(before) + len(after)))


def first_positions(encoded: EncodedText, n: int) -> tuple[EncodedText, int]:
    """At most the first ``n`` positions of an answer, and how many are left out."""
    if n < 1:
        raise UserError(f"grid: {n} positions; ask for at least 1")
    stop = min(encoded.stop, encoded.first + n)
    return replace(encoded, token_ids=encoded.token_ids[: stop + 1], stop=stop), encoded.stop - stop
