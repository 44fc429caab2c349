"""A made-up run folder, for tests of layout and robustness only: no number in it was measured.

``write_fake_run`` writes every file that the report reads, in the layouts of the real stages, from a
seed. The curves are logistic functions with noise, the answers templates; some answers are hostile.
"""

from __future__ import annotations

import json
import math
import random
from pathlib import Path
from typing import Any, get_args

import pyarrow as pa
import pyarrow.parquet as pq
import yaml

from linguamap.languages import LANGUAGES
from linguamap.records import PHASES, Answer, Kind
from linguamap.run.contents import as_json, as_type
from linguamap.scoring.compare import compare_answers
from linguamap.scoring.summary import summarise

PAPER_SCENARIOS = ("monolingual", "code_mixed", "english_distractor", "bilingual_answer")
SHARE_OF_TARGET = {"en": 0.97, "es": 0.8, "fr": 0.78, "ar": 0.55, "hi": 0.4, "ja": 0.5}
EASE = {
    "monolingual": 0.15,
    "code_mixed": -0.25,
    "english_distractor": 0.1,
    "bilingual_answer": 0.0,
}

HOSTILE = (
    "<script>window.pwned = 1; document.title = 'pwned'</script>",
    '"><img src="x" onerror="window.pwned = 2">',
    "</script><script>window.pwned = 3</script><!-- <script>",
    "\u202egnorw si siht\u202c and \u2066isolate\u2069 \u202b embedding",
    "supercalifragilistic" * 5_000,
    "NUL \x00 bell \x07 escape \x1b[31m end",
    "lone \ud800 surrogates \udfff here",
    "{{ 7 * 7 }} ${7 * 7} <%= 49 %> javascript:alert(1)\u2028next\u2029line",
)

TEXTS: dict[str, tuple[str, str, str]] = {
    "en": ("Sam has {a} marbles and gets {b} more. How many now?", "Add {b} to {a}.", "marbles"),
    "fr": ("Sam a {a} billes et en reçoit {b} de plus. Combien en a-t-il ?",
           "On ajoute {b} à {a}.", "billes"),
    "es": ("Sam tiene {a} canicas y recibe {b} más. ¿Cuántas tiene ahora?",
           "Se suma {b} a {a}.", "canicas"),
    "ar": ("لدى سامي {a} كرة زجاجية، وأعطاه ابن عمه {b} كرات أخرى. كم كرة لديه الآن؟",
           "نجمع {a} و {b} معًا.", "كرة"),
    "hi": ("सैम के पास {a} कंचे हैं और उसे {b} और मिलते हैं। अब कितने हैं?",
           "{a} में {b} जोड़ते हैं।", "कंचे"),
    "ja": ("健太さんはビー玉を{a}個持っていて、さらに{b}個もらいました。今は何個ですか。",
           "{a}に{b}を足します。", "ビー玉"),
}  # fmt: skip


def write_fake_run(
    folder: Path,
    *,
    languages: tuple[str, ...] = ("en", "fr", "es", "ar", "hi", "ja"),
    items: int = 8,
    n_layers: int = 18,
    seed: int = 0,
    hostile: bool = True,
    benchmarks: tuple[str, ...] = ("sums", "choice", "passage"),
) -> Path:
    """Write a complete run; ``items`` answers a cell. Returns the folder."""
    rng = random.Random(seed)
    folder.mkdir(parents=True, exist_ok=True)
    config = {
        "model": {"name": "starter", "revision": None, "dtype": "auto"},
        "languages": list(languages),
        "scenarios": list(PAPER_SCENARIOS),
        "seed": seed,
        "data": {"benchmarks": list(benchmarks), "folder": None},
        "score": {"identifier": "lingua"},
    }
    (folder / "config.yaml").write_text(yaml.safe_dump(config, sort_keys=False))
    questions = make_questions(languages, benchmarks, items, rng)
    before = [answer(question, 0.0, rng) for question in questions]
    after = [answer(question, 0.9, rng) for question in questions]
    if hostile:
        own = [row for row in before if not row["coincides_with"]]
        for index, text in enumerate(HOSTILE):
            own[index * 7 % len(own)]["answer"] = text
    write_rows(folder / "before" / "answers.jsonl", before)
    write_rows(folder / "after" / "answers.jsonl", after)
    sides = [[as_type(Answer, row, "a made-up answer") for row in rows] for rows in (before, after)]
    for phase, answers in zip(PHASES, sides, strict=True):
        put(folder / phase / "summary.json", as_json(summarise(answers, "starter")))
    put(folder / "comparison.json", as_json(compare_answers(*sides)))
    write_probes(folder / "probe", languages, n_layers, rng, shift=0.0)
    write_probes(folder / "probe_after", languages, n_layers, rng, shift=0.25)
    texts = [HOSTILE[index % len(HOSTILE)] for index in range(24)] if hostile else []
    for where, late in (("probe", 0.85), ("probe_after", 0.6)):
        put(folder / where / "grid.json", make_grid(languages, n_layers, late, rng, texts))
    write_rest(folder, n_layers, seed)
    return folder


def make_questions(
    languages: tuple[str, ...], benchmarks: tuple[str, ...], items: int, rng: random.Random
) -> list[dict[str, Any]]:
    """One dict for each prompt, in the order of a real run."""
    questions = []
    for benchmark in benchmarks:
        numbers = [(rng.randint(2, 60), rng.randint(2, 30)) for _ in range(items)]
        for scenario in PAPER_SCENARIOS:
            for language in languages:
                for index, (a, b) in enumerate(numbers):
                    parts = prompt_parts(benchmark, scenario, language, a, b)
                    questions.append(
                        {
                            "benchmark": benchmark,
                            "scenario": scenario,
                            "language": language,
                            "item_id": f"{benchmark}-{index:03d}",
                            "prompt_id": f"{benchmark}/{scenario}/{language}/{index:03d}",
                            "prompt": "".join(text for _, text in parts),
                            "prompt_parts": [[name, len(text)] for name, text in parts],
                            "numbers": (a, b),
                            "coincides_with": coincides(language, scenario),
                        }
                    )
    return questions


def coincides(language: str, scenario: str) -> str | None:
    """English prompts that are the same text as an earlier scenario's."""
    if language != "en":
        return None
    return {"code_mixed": "monolingual", "bilingual_answer": "english_distractor"}.get(scenario)


def prompt_parts(
    benchmark: str, scenario: str, language: str, a: int, b: int
) -> list[tuple[str, str]]:
    """A prompt in the layout of the scenarios, as names and texts."""
    framing = "en" if scenario == "code_mixed" else language
    texts = LANGUAGES[framing].texts
    name = LANGUAGES[language].english_name
    instruction = getattr(
        texts, benchmark if benchmark in ("sums", "choice", "passage") else "open"
    )
    words = TEXTS[language if language in TEXTS else "en"]
    question = words[0].format(a=a, b=b)
    parts = [
        ("preamble", f"{texts.preamble} {texts.answer_in.replace('{language}', name)}\n"),
        ("instruction", f"{instruction}\n\n"),
    ]
    if benchmark == "passage":
        parts += [("label", f"{texts.label_passage} "), ("passage", f"{question} 😀 {question}\n")]
    parts += [("label", f"{texts.label_question} "), ("question", f"{question}\n")]
    if benchmark == "choice" or scenario in ("english_distractor", "bilingual_answer"):
        offers = f"A) {a + b} {words[2]}\nB) {a} marbles\nC) {b} marbles\n"
        parts += [("label", f"{texts.label_options}\n"), ("options", offers)]
    return [*parts, ("answer_label", texts.label_answer)]


def answer(question: dict[str, Any], tuned: float, rng: random.Random) -> dict[str, Any]:
    """One row of answers.jsonl."""
    a, b = question["numbers"]
    language, scenario = question["language"], question["scenario"]
    chance = SHARE_OF_TARGET.get(language, 0.6) + EASE[scenario] * (language != "en")
    chance = min(1.0, max(0.02, chance + tuned * (1 - chance) + 0.09 * tuned))
    spoken = language if rng.random() < chance else ("en" if rng.random() < 0.85 else "fr")
    right = rng.random() < 0.33 + 0.05 * tuned
    value = a + b if right else a + b + rng.choice((-1, 1, 10))
    words = TEXTS[spoken if spoken in TEXTS else "en"]
    closing = LANGUAGES[spoken].texts.answer_phrase.format(answer=value)
    text = f"{words[1].format(a=a, b=b)} {closing}"
    row = {
        "item_id": question["item_id"], "group": question["item_id"], "benchmark": question["benchmark"], "language": language,
        "scenario": scenario, "prompt": question["prompt"],
        "prompt_parts": question["prompt_parts"], "answer": text, "thinking": None,
        "extracted": str(value), "gold": [str(a + b)], "task_correct": right,
        "answer_language": spoken, "language_correct": spoken == language, "outcome": "",
        "reason": None, "kind": question["benchmark"] if question["benchmark"] in get_args(Kind) else "sums",
        "prompt_id": question["prompt_id"],
        "coincides_with": question["coincides_with"], "finish": "stop", "n_tokens": len(text) // 3,
    }  # fmt: skip
    if rng.random() < 0.04:
        row.update(answer="", answer_language=None, language_correct=False, extracted=None,
                   task_correct=False, reason="empty")  # fmt: skip
    elif rng.random() < 0.04:
        row.update(
            answer=f"{value}", answer_language=None, language_correct=None, reason="too_short"
        )
    row["outcome"] = outcome(row)
    row["line_pass"] = row["reasoning_language_correct"] = row["language_correct"]
    latin = language in ("en", "fr", "es")
    row["word_pass"] = None if latin or not row["line_pass"] else rng.random() < 0.9
    if question["benchmark"] == "passage":
        row.update(f1=0.9 if row["task_correct"] else 0.2, exact_match=False)
    return row


def outcome(row: dict[str, Any]) -> str:
    if row["task_correct"] is None or row["language_correct"] is None:
        return "unscored"
    if row["task_correct"]:
        return "both" if row["language_correct"] else "consistency_bottleneck"
    return "transfer_bottleneck" if row["language_correct"] else "neither"


def logistic(x: float, centre: float, width: float = 1.0) -> float:
    return 1 / (1 + math.exp(-(x - centre) / width))


def write_probes(
    folder: Path, languages: tuple[str, ...], n_layers: int, rng: random.Random, shift: float
) -> None:
    """The four curve tables and probe.json."""
    lens, similarity, handover, mass = [], [], [], []
    for place, target in enumerate(languages):
        late = n_layers * (0.72 + 0.05 * place) if target != "en" else n_layers * 0.2
        for layer in range(n_layers + 1):
            lift = shift * logistic(layer, n_layers * 0.9, 0.4)
            own = min(0.98, (0.85 - 0.3 * (target == "es") + lift) * logistic(layer, late, 0.7))
            left = 1 - own
            english = left * (0.3 + 0.35 * math.exp(-(((layer - 0.65 * n_layers) / 4) ** 2)))
            shares: dict[str | None, float] = dict.fromkeys(languages, 0.02 * left)
            shares.update({"en": english, target: own if target != "en" else own + english})
            shares[None] = max(0.0, 1 - sum(shares.values()))
            for code, share in shares.items():
                value = min(1.0, max(0.0, share + rng.gauss(0, 0.012)))
                lens.append({"layer": layer, "target_language": target, "word_language": code,
                             "share": value, "low": max(0.0, value - 0.05),
                             "high": min(1.0, value + 0.05), "n_items": 30,
                             "n_words": 900})  # fmt: skip
            for code in dict.fromkeys(("en", target)):
                share = shares[code] * 0.3
                mass.append({"layer": layer, "target_language": target, "set_language": code,
                             "probability": share, "low": share * 0.8, "high": share * 1.2,
                             "n_items": 30, "n_positions": 700})  # fmt: skip
            if target != "en":
                handover += handover_rows(layer, target, n_layers * (0.36 + 0.03 * place))
    for i, a in enumerate(languages):
        for b in languages[i + 1 :]:
            for kind in ("sums", "choice", "passage", "all"):
                similarity += similarity_rows(a, b, kind, n_layers, rng)
    folder.mkdir(parents=True, exist_ok=True)
    tables = {
        "lens": lens,
        "fitted_lens": lens,
        "similarity": similarity,
        "handover": handover,
        "lens_outcomes": [
            {
                **row,
                "share": row["share"] * part,
                "low": row["low"] * part,
                "high": row["high"] * part,
                "n_items": 4,
                "outcome": outcome,
            }
            for outcome, part in (("consistent", 1.0), ("inconsistent", 0.4))
            for row in lens
            if row["target_language"] != "en"
        ],
        "token_set_probability": mass,
    }
    for name, rows in tables.items():
        pq.write_table(pa.Table.from_pylist(rows), folder / f"{name}.parquet")
    ceilings = {
        code: {"value": 0.9 + 0.02 * place, "n_words": 500}
        for place, code in enumerate(languages[:5])
    }
    facts = {"coverage": dict.fromkeys(languages, 0.6)}
    model = {"name": "google/gemma-3-270m"}
    put(
        folder / "probe.json",
        {"ceilings": ceilings, "model": model, "token_set_probability": facts},
    )


def make_grid(
    languages: tuple[str, ...], n_layers: int, late: float, rng: random.Random, odd: list[str]
) -> dict[str, Any]:
    """grid.json: a prompt a language; ``odd`` texts stand in the first row of the first prompt."""
    prompts = []
    for place, language in enumerate(languages):
        parts = prompt_parts("sums", "code_mixed", language, 12, 5)
        words = TEXTS[language if language in TEXTS else "en"]
        answer_text = f"{words[1].format(a=12, b=5)} {words[0].format(a=12, b=5)}"
        tokens = (answer_text.split() if " " in answer_text else list(answer_text))[:24]
        english = [
            "Add",
            "five",
            "to",
            "twelve",
            "and",
            "get",
            "the",
            "number",
            "seventeen",
            "marbles",
            "now",
        ]
        cells = []
        for layer in range(n_layers + 1):
            row: list[dict[str, Any]] = []
            for at, token in enumerate(tokens):
                code = language if rng.random() < logistic(layer, late * n_layers) else "en"
                word = token if code == language else english[at % len(english)]
                if rng.random() < (0.9 if layer < 3 else 0.1):
                    row.append({"t": " \n"[at % 2], "w": None, "l": None, "p": 0.02})
                else:
                    row.append({"t": f" {word[:3]}", "w": word, "l": code,
                                "p": round(rng.uniform(0.1, 0.2 + 0.8 * layer / n_layers), 4)})  # fmt: skip
            cells.append(row)
        if place == 0 and odd:
            for at, cell in enumerate(cells[-1]):
                cell.update(w=odd[at % len(odd)], t=odd[at % len(odd)])
            tokens = [odd[at % len(odd)] for at in range(len(tokens))]
        prompts.append({"prompt_id": f"sums/code_mixed/{language}/000", "item_id": "sums-000",
                        "kind": "sums", "scenario": "code_mixed", "language": language,
                        "prompt": "".join(text for _, text in parts), "answer": f" {answer_text}",
                        "tokens": tokens, "cells": cells, "source": "answer" if place % 2 else "reference",
                        "answer_language": "en" if place % 2 else None})  # fmt: skip
    return {"layers": list(range(n_layers + 1)), "prompts": prompts}


def handover_rows(layer: int, target: str, centre: float) -> list[dict[str, Any]]:
    """Rows of one layer; layer -1, where nothing is swapped, goes with layer 0."""
    rows = []
    for at in (-1, 0) if layer == 0 else (layer,):
        turned = logistic(at, centre) if at >= 0 else 0.0
        for name, shift in (("to_english", turned), ("from_english", turned), ("skip", 0.05)):
            rows.append({"layer": at, "language": target, "intervention": name, "n": 12,
                         "shift": shift, "low": max(0.0, shift - 0.15),
                         "high": min(1.0, shift + 0.15), "log_odds": 4 - 8 * shift})  # fmt: skip
    return rows


def similarity_rows(
    a: str, b: str, kind: str, n_layers: int, rng: random.Random
) -> list[dict[str, Any]]:
    rows = []
    near = 1.0 - 0.1 * (sum(map(ord, a + b)) % 5)
    for layer in range(n_layers + 1):
        x = layer / n_layers
        middle = near * math.exp(-(((x - 0.55 - 0.1 * near) / 0.25) ** 2))
        values = {
            "cosine": 0.4 + 0.59 * logistic(layer, 1, 0.4), "cosine_unrelated": 0.37 + 0.61 * logistic(layer, 1, 0.4),
            "centred": 0.2 + 0.25 * middle, "centred_unrelated": 0.0,
            "retrieval": 0.2 + 0.55 * middle, "cka": 0.3 + 0.4 * middle,
        }  # fmt: skip
        for measure, value in values.items():
            value += rng.gauss(0, 0.01)
            rows.append({"layer": layer, "language_a": a, "language_b": b, "kind": kind,
                         "measure": measure, "value": value, "low": value - 0.03,
                         "high": value + 0.03, "n": 60})  # fmt: skip
    return rows


def write_rest(folder: Path, n_layers: int, seed: int) -> None:
    """Layers, tuning, change, stages and manifest."""
    tuned = [n_layers - 1, n_layers]
    put(folder / "layers.json", {
        "n_layers": n_layers, "phases": {"early_end": 3, "late_start": n_layers - 3},
        "late_start_interval": [n_layers - 4, n_layers - 2], "tune_layers": tuned,
        "trainable_share": 0.0416, "fallback_layers": [n_layers],
        "overtakes_english": {"fr": n_layers - 4, "hi": n_layers - 1, "ja": None},
        "committed_layer": {"fr": n_layers // 2, "hi": n_layers // 2 + 1},
        "rule": "lens", "rules": make_rules(n_layers), "evidence": {"rule": "A rule made up for a test.", "reason": None, "languages": {
            "hi": {"boundary": 15.5, "reason": None, "curves": {
                "lens": {"turn": 16.2, "turn_interval": [15.9, 16.6], "counts": True, "reason": None},
                "retrieval": {"turn": 14.0, "turn_interval": None, "counts": False,
                              "reason": "it does not clearly fall"}}},
            "fr": {"boundary": None, "reason": "English never clearly leads", "curves": {}}}},
    })  # fmt: skip
    put(folder / "tuned" / "tuning.json", {
        "method": "selective", "layers": tuned, "trainable_parameters": 11_147_776,
        "total_parameters": 268_098_176, "trainable_share": 0.0416, "epochs": 3,
        "seconds_per_epoch": [74.0, 52.0, 51.5], "peak_memory_bytes": 3_100_000_000,
        "train_loss": [1.9, 0.8, 0.55], "validation_loss": [1.1, 0.9, 0.92], "best_epoch": 2,
        "delta_bytes": 22_300_000, "seed": seed,
    })  # fmt: skip
    put(
        folder / "change.json",
        {
            "share_in_tuned": None,
            "share_below": 0.0,
            "share_downstream": 0.0,
            "largest_below": 0.0,
            "tuned": tuned,
            "curves": {
                "lens": {
                    "by_layer": {
                        str(layer): 0.0 if layer < tuned[0] else 0.1 * (layer - tuned[0] + 1)
                        for layer in range(n_layers + 1)
                    }
                }
            },
        },
    )
    put(folder / "identifier.json", {
        "name": "lingua", "candidates": ["en", "fr"], "gold": "made up", "languages": {"fr": {
            "sentences": {"value": 1.0, "low": 0.96, "high": 1.0, "n": 100},
            "words": {"value": 0.85, "low": 0.81, "high": 0.89, "n": 300}}},
    })  # fmt: skip
    names = ("before", "probe", "locate", "choose", "tune", "after", "probe_after", "compare")
    put(folder / "stages.json", {
        name: {"seconds": 12.5 * (place + 1) ** 2, "peak_memory_bytes": 2_000_000_000 + place,
               "finished": f"2025-01-0{place + 1}T10:00:00Z", "inputs": "x", "outputs": {}}
        for place, name in enumerate(names)
    })  # fmt: skip
    put(folder / "manifest.json", {
        "linguamap": "0.1.0", "python": "3.11.2", "versions": {"torch": "2.13.0"}, "seed": seed,
        "model": {"name": "google/gemma-3-270m", "revision": None},
        "machine": {"system": "Linux x86_64", "processor": "a processor", "cores": 2,
                    "accelerator": None},
    })  # fmt: skip


def make_rules(n_layers: int) -> dict[str, Any]:
    """Three rules: one that was taken, one with negative scores and a front, one without any."""
    tuned, blocks = [n_layers - 1, n_layers], range(1, n_layers + 1)
    rising = [block / n_layers for block in blocks]
    signed = [math.sin(block) - 0.2 for block in blocks]
    front = [
        {"blocks": blocks, "gain": gain, "share": 0.02 * len(blocks), "seconds_per_epoch": seconds,
         "memory_bytes": 3_000_000_000}
        for blocks, gain, seconds in (([8], 0.2, 90.0), ([2, 8], 0.4, 150.0))
    ]  # fmt: skip
    return {
        "lens": {"values": rising, "low": [one - 0.1 for one in rising], "high": [one + 0.1 for one in rising],
                 "interval": "95 % over items", "n": 5, "seconds": 1.2, "blocks": tuned, "share": 0.0416},
        "gradient": {"values": signed, "seconds": 250.0, "blocks": [2, 8], "share": 0.0416,
                     "front": front},
        "handover": {"reason": "handover was not measured"},
    }  # fmt: skip


def put(path: Path, value: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value, indent=1), encoding="utf-8")


def write_rows(path: Path, rows: list[dict[str, Any]]) -> None:
    """JSON lines as the store writes them: ASCII only, so lone surrogates survive."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="ascii")
