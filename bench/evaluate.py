"""How fast does linguamap answer prompts, next to lm-evaluation-harness (``hf``) on the same prompts?

    python bench/evaluate.py --data ../shared/benchmarks
    python bench/evaluate.py --prompts 8 --repeats 1 --dtypes float32      # a short try

The prompts are MGSM's, as linguamap's monolingual scenario words them. Each tool runs in a process of
its own, one after the other, with the same weights, dtype, threads, token limit, stop string and
batch size; lm-evaluation-harness gets prompts sorted by length, as it does by itself. Time is that of
answering alone, without loading; memory is the largest resident size while answering, less the weights
(on a GPU: what is allocated, less the weights).

The default token limit is lm-evaluation-harness's own for MGSM. The default stop string is the end of
the line, where the answer of a base model ends. linguamap counts it after the answer's first visible
character, lm-evaluation-harness from the start; an answer that begins with an empty line differs
for that reason, is counted as ``n_empty_in_harness`` and left out of ``equal_share_of_answered``.
Greedy answers can differ in float32, too, where two tokens are nearly tied, since rounding depends
on the batch; such answers stand in the file of ``--out``.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path

from children import Row, run_child, write_result
from memory import Memory

TOOLS = ("linguamap", "lm-eval")


def main() -> None:
    options = _options()
    if options.child:
        _child(options)
        return
    rows, details = [], []
    with tempfile.TemporaryDirectory() as folder:
        asked = Path(folder) / "prompts.json"
        asked.write_text(json.dumps(_prompts(options)), encoding="utf-8")
        for dtype in options.dtypes.split(","):
            runs: dict[str, list[Row]] = {tool: [] for tool in TOOLS}
            for _ in range(options.repeats):
                for tool in TOOLS:
                    runs[tool].append(run_child(__file__, tool, dtype, asked))
                    _say(options, tool, dtype, runs[tool][-1])
            rows.append(_row(options, dtype, runs))
            details += _differing(json.loads(asked.read_text(encoding="utf-8")), runs, dtype)
    if options.out:
        Path(options.out).write_text(json.dumps({"rows": rows, "differing": details}, indent=1))
    if options.json:
        print(json.dumps({"rows": rows}))
    else:
        for row in rows:
            print(json.dumps(row, indent=1))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    default_data = os.environ.get("LINGUAMAP_BENCHMARKS", "../shared/benchmarks")
    parser.add_argument("--data", default=default_data, help="folder that holds mgsm/")
    parser.add_argument("--model", default="starter", help="as linguamap's --model")
    parser.add_argument("--languages", default="en,es,ja,sw")
    parser.add_argument("--prompts", type=int, default=96, help="over all languages")
    parser.add_argument("--dtypes", default="float32,bfloat16")
    parser.add_argument("--max-new-tokens", type=int, default=256)
    parser.add_argument("--stop", default="\n", help="one string that ends an answer")
    parser.add_argument("--batch-size", type=int, default=48, help="rows, for both tools")
    parser.add_argument("--batch-tokens", type=int, default=1 << 20, help="linguamap's other bound")
    parser.add_argument("--harness-batch-size", type=int, help="rows, if other than --batch-size")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=0, help="0: as torch chooses")
    parser.add_argument("--out", help="also write rows and differing answers to this file")
    parser.add_argument("--json", action="store_true", help="end with one line of JSON")
    parser.add_argument("--child", choices=TOOLS, help=argparse.SUPPRESS)
    parser.add_argument("--files", nargs=2, help=argparse.SUPPRESS)
    return parser.parse_args()


def _prompts(options: argparse.Namespace) -> list[str]:
    """MGSM's questions in linguamap's words, as many of each language."""
    from linguamap.benchmarks import load_benchmark
    from linguamap.prompts.scenarios import render_all

    languages = options.languages.split(",")
    benchmark = load_benchmark("mgsm", languages, "test", Path(options.data))
    n_items = max(1, options.prompts // len(languages))
    return [prompt.text for prompt in render_all(benchmark, languages, ["monolingual"], n_items)]


def _say(options: argparse.Namespace, tool: str, dtype: str, run: Row) -> None:
    line = (
        f"{dtype} {tool}: {run['seconds']:.1f} s, {run['memory'] / 1e6:.0f} MB above "
        f"{run['weights_bytes'] / 1e6:.0f} MB of weights, loaded in {run['load_seconds']:.1f} s"
    )
    print(line, file=sys.stderr if options.json else sys.stdout, flush=True)


# In the tool's own process ------------------------------------------------------------------


def _child(options: argparse.Namespace) -> None:
    import torch

    if options.threads:
        torch.set_num_threads(options.threads)
    asked, result = map(Path, options.files)
    prompts: list[str] = json.loads(asked.read_text(encoding="utf-8"))
    run = (_linguamap if options.child == "linguamap" else _lm_eval)(options, prompts)
    write_result(result, run)


def _linguamap(options: argparse.Namespace, prompts: list[str]) -> Row:
    started = time.perf_counter()
    from linguamap.config import EvaluateConfig, ModelConfig
    from linguamap.generation.local import generate
    from linguamap.models.loading import load_model
    from linguamap.records import Completion, Part, Prompt

    lm = load_model(ModelConfig(name=options.model, dtype=options.dtypes, chat="no"))
    config = EvaluateConfig(
        max_new_tokens=options.max_new_tokens,
        stop=[options.stop],
        batch_size=options.batch_size,
        batch_tokens=options.batch_tokens,
    )
    items = [
        Prompt(f"{i:04d}", "mgsm", "sums", "en", "monolingual", (Part("P", text),), ())
        for i, text in enumerate(prompts)
    ]
    done: list[Completion] = []
    loaded = time.perf_counter()
    steps: list[int] = []
    lm.model.register_forward_hook(lambda *_: steps.append(1))
    measure = Memory(lm.model)
    generate(lm, items, config, save=done.extend)
    seconds = time.perf_counter() - loaded
    by_id = {int(one.item_id): one for one in items}
    answers = {int(c.prompt_id.rsplit("/", 1)[1]): c for c in done}
    return {
        "answers": [answers[i].answer for i in sorted(by_id)],
        "n_tokens": sum(one.n_tokens for one in done),
        "steps": len(steps),
        "seconds": seconds,
        "load_seconds": loaded - started,
        **measure.end(),
        "bytes_per_second": _read_speed(),
    }


def _lm_eval(options: argparse.Namespace, prompts: list[str]) -> Row:
    started = time.perf_counter()
    import torch
    from lm_eval.api.instance import Instance
    from lm_eval.models.huggingface import HFLM

    name = options.model
    if name == "starter":
        from linguamap.models.starter import starter_folder

        name = str(starter_folder())
    device = "cuda" if torch.cuda.is_available() else "cpu"
    harness = HFLM(
        pretrained=name,
        device=device,
        dtype=options.dtypes,
        batch_size=options.harness_batch_size or options.batch_size,
    )
    settings = {
        "until": [options.stop],
        "max_gen_toks": options.max_new_tokens,
        "do_sample": False,
    }
    requests = [
        Instance("generate_until", {}, (text, dict(settings)), number)
        for number, text in enumerate(prompts)
    ]
    loaded = time.perf_counter()
    measure = Memory(harness.model)
    answers = harness.generate_until(requests, disable_tqdm=True)
    return {
        "answers": [answer.strip() for answer in answers],
        "seconds": time.perf_counter() - loaded,
        "load_seconds": loaded - started,
        **measure.end(),
    }


def _read_speed() -> float:
    """Bytes a second that the machine reads from memory, the best of some goes over 1 GB."""
    import torch

    block = torch.ones(1 << 28, device="cuda" if torch.cuda.is_available() else "cpu")
    best = float("inf")
    for _ in range(5):
        started = time.perf_counter()
        float(block.sum())
        best = min(best, time.perf_counter() - started)
    return float(block.numel() * block.element_size() / best)


# What it comes to ---------------------------------------------------------------------------


def _row(options: argparse.Namespace, dtype: str, runs: dict[str, list[Row]]) -> Row:
    """Ratios of medians; a ratio of speed above 1 and of memory below 1 speak for linguamap."""

    def median(tool: str, field: str) -> float:
        return statistics.median(run[field] for run in runs[tool])

    ours, theirs = runs["linguamap"][0], runs["lm-eval"][0]
    equal = [a == b for a, b in zip(ours["answers"], theirs["answers"], strict=True)]
    answered = [same for same, answer in zip(equal, theirs["answers"], strict=True) if answer]
    read_seconds = ours["steps"] * ours["weights_bytes"] / median("linguamap", "bytes_per_second")
    seconds = {tool: [round(run["seconds"], 2) for run in runs[tool]] for tool in TOOLS}
    return {
        "dtype": dtype,
        "n_prompts": len(equal),
        "n_tokens": ours["n_tokens"],
        "speed_ratio": round(median("lm-eval", "seconds") / median("linguamap", "seconds"), 3),
        "memory_ratio": round(median("linguamap", "memory") / median("lm-eval", "memory"), 3),
        "equal_share": round(sum(equal) / len(equal), 4),
        "equal_share_of_answered": round(sum(answered) / max(len(answered), 1), 4),
        "n_empty_in_harness": sum(not answer for answer in theirs["answers"]),
        "seconds": seconds,
        "memory_above_weights_bytes": {tool: int(median(tool, "memory")) for tool in TOOLS},
        "peak_bytes": {tool: int(median(tool, "peak_bytes")) for tool in TOOLS},
        "rise_while_answering_bytes": {tool: int(median(tool, "rise")) for tool in TOOLS},
        "weights_bytes": ours["weights_bytes"],
        "tokens_per_second": round(ours["n_tokens"] / median("linguamap", "seconds"), 1),
        "steps": ours["steps"],
        "weight_read_seconds": round(read_seconds, 2),
        "share_of_weight_read_limit": round(read_seconds / median("linguamap", "seconds"), 3),
        "same_answers_each_time": {
            tool: all(run["answers"] == runs[tool][0]["answers"] for run in runs[tool])
            for tool in TOOLS
        },
        "settings": {
            "model": options.model,
            "languages": options.languages,
            "max_new_tokens": options.max_new_tokens,
            "stop": options.stop,
            "batch_size": options.batch_size,
            "batch_tokens": options.batch_tokens,
            "harness_batch_size": options.harness_batch_size or options.batch_size,
            "repeats": options.repeats,
            "threads": ours["threads"],
            "device": ours["device"],
        },
    }


def _differing(prompts: list[str], runs: dict[str, list[Row]], dtype: str) -> list[Row]:
    both = zip(prompts, runs["linguamap"][0]["answers"], runs["lm-eval"][0]["answers"], strict=True)
    return [
        {"dtype": dtype, "prompt": prompt, "linguamap": ours, "lm-eval": theirs}
        for prompt, ours, theirs in both
        if ours != theirs
    ]


if __name__ == "__main__":
    main()
