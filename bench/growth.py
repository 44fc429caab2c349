"""Does anything cost more than its work? Small random models, one size doubled at a time.

    python bench/growth.py
    python bench/growth.py --quick     # does it run?

Each stage is timed at several sizes. Its work is counted: weights times tokens for the blocks and the head,
and the products of attention. ``growth`` is the time's factor from the second largest size to the
largest, over the work's factor: 1 is as much as the work, below 1 less.
"""

from __future__ import annotations

import argparse
import math
import os
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from children import Row, write_entries
from results import ROOT, entry

VOCAB = 8192
LANGUAGES = ["en", "fr", "es", "ar", "hi", "ja"]
PROMPT = 48
SHORT = 2.0


@dataclass(frozen=True)
class Shape:
    """A random Llama's."""

    layers: int = 4
    width: int = 256

    @property
    def block(self) -> int:
        """Weights of a block."""
        return (4 + 3 * 3) * self.width**2

    def forward(self, n_texts: int, start: int, stop: int, heads: float) -> float:
        """Operations of reading each text's tokens ``start`` to ``stop``, ``heads`` of them through the head."""
        tokens = n_texts * (stop - start)
        attention = 4 * self.layers * self.width * n_texts * (stop**2 - start**2) / 2
        return 2 * (self.layers * self.block * tokens + VOCAB * self.width * heads) + attention


@dataclass(frozen=True)
class Curve:
    """One stage against one of its sizes.

    Attributes:
        run: size -> (seconds, operations).
    """

    stage: str
    size: str
    values: Sequence[int]
    run: Callable[[int], tuple[float, float]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--out", help="file for the entries")
    options = parser.parse_args()
    import torch

    torch.set_num_threads(options.threads)
    entries = []
    for curve in _curves(options.quick):
        curve.run(curve.values[0])  # warm
        points = [_best(curve.run, value, options.quick) for value in curve.values]
        entries.append(_entry(curve, points, options.threads))
        print(entries[-1]["what"], entries[-1]["value"], flush=True)
    write_entries(options.out, entries)


def _best(run: Callable[[int], tuple[float, float]], value: int, once: bool) -> tuple[float, float]:
    """The best of three where one is short."""
    first = run(value)
    return first if once or first[0] > SHORT else min(first, run(value), run(value))


def _entry(curve: Curve, points: list[tuple[float, float]], threads: int) -> Row:
    (a, work_a), (b, work_b) = points[-2:]
    more: Row = {
        "sizes": list(curve.values),
        "seconds": [float(f"{seconds:.3g}") for seconds, _ in points],
        "operations": [float(f"{work:.3g}") for _, work in points],
    }
    growth = (b / a) / (work_b / work_a)
    return entry(f"{curve.stage}: {curve.size}", growth, "", threads=threads, **more)


def _curves(quick: bool) -> list[Curve]:
    """All curves; the smallest of each are what ``quick`` keeps."""
    some = (lambda *values: values[:2]) if quick else (lambda *values: values)
    new = 4 if quick else 64
    plain = Shape()
    return [
        Curve("answers", "prompts", some(16, 64, 256), lambda n: answers(plain, n, new)),
        Curve("answers", "tokens of an answer", (4, 8) if quick else (64, 256, 1024),
              lambda n: answers(plain, 16, n)),
        Curve("answers", "blocks", some(4, 8, 16), lambda n: answers(Shape(layers=n), 32, new)),
        Curve("answers", "width", some(256, 512, 1024), lambda n: answers(Shape(width=n), 32, new)),
        Curve("lens", "texts", some(8, 32, 128), lambda n: lens(plain, n, 32)),
        Curve("lens", "tokens of an answer", (4, 8) if quick else (64, 256, 1024),
              lambda n: lens(plain, 8, n)),
        Curve("lens", "blocks", some(4, 8, 16), lambda n: lens(Shape(layers=n), 16, 32)),
        Curve("lens", "width", some(256, 512, 1024), lambda n: lens(Shape(width=n), 16, 32)),
        Curve("similarity", "languages", some(2, 4, 6), similarity),
        Curve("warm epoch", "examples", some(8, 32, 128), lambda n: epoch(plain, n, 16)),
        Curve("warm epoch", "tokens of an answer", (8, 16) if quick else (64, 256, 1024),
              lambda n: epoch(plain, 8, n)),
        Curve("warm epoch", "blocks", some(4, 8, 16), lambda n: epoch(Shape(layers=n), 32, 16)),
        Curve("warm epoch", "width", some(256, 512, 1024), lambda n: epoch(Shape(width=n), 32, 16)),
    ]  # fmt: skip


def model(shape: Shape) -> Any:
    """A random model that never ends an answer by itself."""
    import sys

    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    sys.path.append(str(ROOT / "tests" / "support"))
    from tiny import tiny_tokenizer

    from linguamap.config import ModelConfig
    from linguamap.models.language_model import assemble

    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=VOCAB, hidden_size=shape.width, intermediate_size=3 * shape.width,
        num_hidden_layers=shape.layers, num_attention_heads=8, max_position_embeddings=4096,
        pad_token_id=0, bos_token_id=1, eos_token_id=2,
    )  # fmt: skip
    network = LlamaForCausalLM(config).eval()
    with torch.no_grad():
        network.lm_head.weight[: VOCAB // 2] = (
            0  # neither the end token nor text that could stop it
        )
    return assemble(ModelConfig(name="growth"), network, tiny_tokenizer())


def answers(shape: Shape, n: int, new: int) -> tuple[float, float]:
    """Greedy answers of ``new`` tokens to prompts that share no beginning."""
    from linguamap.config import EvaluateConfig
    from linguamap.generation.local import generate
    from linguamap.records import Part, Prompt

    lm = model(shape)
    texts = [f"{i:04d}".translate(str.maketrans("0123456789", "abcdefghij")) * 12 for i in range(n)]
    prompts = [
        Prompt(f"{i:04d}", "x", "sums", "en", "monolingual", (Part("P", text),), ())
        for i, text in enumerate(texts)
    ]
    config = EvaluateConfig(max_new_tokens=new, stop=[], batch_size=16, batch_tokens=1 << 20)
    done: list[Any] = []
    started = time.perf_counter()
    generate(lm, prompts, config, save=done.extend)
    seconds = time.perf_counter() - started
    assert len(done) == n
    assert all(one.n_tokens == new for one in done)
    length = len(lm.tokenizer(texts[0])["input_ids"])
    return seconds, shape.forward(n, 0, length + new, n * new)


def lens(shape: Shape, n: int, length: int) -> tuple[float, float]:
    """Arg-max tokens of all layers at ``length`` positions a text."""
    import torch

    from linguamap.probes.layer_reading import read_texts
    from linguamap.probes.lens import WordCounts
    from linguamap.probes.texts import EncodedText, LensText

    class Nobody:
        """An identifier that knows no word, at no cost."""

        name, languages = "nobody", ("en",)

        def identify_words(self, words: Sequence[str]) -> list[None]:
            return [None] * len(words)

    lm = model(shape)
    ids = torch.randint(5, VOCAB, (n, PROMPT + length)).tolist()
    texts = [
        EncodedText(LensText(str(i), str(i), "en", "monolingual", "sums", "", ""), one, PROMPT - 1,
                    PROMPT + length - 1)
        for i, one in enumerate(ids)
    ]  # fmt: skip
    nobody: Any = Nobody()
    started = time.perf_counter()
    read_texts(lm, texts, [WordCounts(lm, nobody)])
    seconds = time.perf_counter() - started
    heads = n * length * (shape.layers + 1)
    return seconds, shape.forward(n, 0, PROMPT + length, heads)


def similarity(n: int) -> tuple[float, float]:
    """Translations of 24 items laid side by side, each pair of languages; the work is that of the pairs."""
    import numpy as np

    from linguamap.probes.similarity import compare_states
    from linguamap.probes.texts import ParallelItem

    draw, languages = np.random.default_rng(0), LANGUAGES[:n]
    items = [
        ParallelItem(item_id=str(i), group=str(i), kind="sums", texts=dict.fromkeys(languages, ""))
        for i in range(24)
    ]
    states = {code: draw.standard_normal((5, 24, 256)) for code in languages}
    started = time.perf_counter()
    compare_states(states, items, bootstrap=200, seed=0, confidence=0.95)
    return time.perf_counter() - started, float(math.comb(n, 2))


def epoch(shape: Shape, n: int, length: int) -> tuple[float, float]:
    """A warm epoch of the last block; its work does not depend on the blocks below."""
    import torch

    from linguamap.config import TuneConfig
    from linguamap.tuning.data.batches import TrainingExample
    from linguamap.tuning.run_tuning import tune

    lm = model(shape)
    mask = (False,) * PROMPT + (True,) * length
    ids = torch.randint(5, VOCAB, (n, PROMPT + length)).tolist()
    examples = [TrainingExample(str(i), tuple(one), mask, str(i)) for i, one in enumerate(ids)]
    config = TuneConfig(
        epochs=3, batch_size=8, validation_share=0.0, schedule="constant", dtype="float32"
    )
    with tempfile.TemporaryDirectory() as out:
        tuning = tune(lm, examples, config, (shape.layers,), Path(out), seed=0)
    one = Shape(layers=1, width=shape.width)
    return min(tuning["seconds_per_epoch"]), 3 * one.forward(
        n, 0, PROMPT + length, n * length * 2 / 3
    )


if __name__ == "__main__":
    main()
