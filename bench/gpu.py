"""Answers, lens, cache build and warm epoch of large models on one GPU, next to the same loops by hand.

    bench/gpu.sh                          # Qwen3-8B, then Qwen3-32B: at most 10 minutes on one H100
    bench/gpu.sh --models tiny --results /tmp/r.json    # does it run? also without a GPU

Weights are random, in bfloat16, drawn on the device from the published configs: they cost the same, and nothing is
downloaded. Each contender has a process, and so the device, of its own:

    linguamap  as it is
    by hand    Transformers: the lens on the answer's positions, norm, head, arg-max, layer by layer; all but the
               last two blocks frozen, batches of like lengths, trained positions through the head, fused AdamW
    vllm       answers, where it is installed; else Transformers' continuous batching (``generate_batch``)

Beside each time stands what ``studies/model_needs.py`` predicts for one H100.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import sys
import tempfile
import time
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import results
from children import Row, contend, is_contender
from model_folders import wait
from results import ROOT, entry

QWEN3: Row = {
    "model_type": "qwen3", "num_key_value_heads": 8, "head_dim": 128, "vocab_size": 151936,
    "tie_word_embeddings": False, "max_position_embeddings": 4096,
}  # fmt: skip
CONFIGS: dict[str, Row] = {
    "qwen3-8b": {**QWEN3, "num_hidden_layers": 36, "hidden_size": 4096, "intermediate_size": 12288,
                 "num_attention_heads": 32},
    "qwen3-32b": {**QWEN3, "num_hidden_layers": 64, "hidden_size": 5120, "intermediate_size": 25600,
                  "num_attention_heads": 64},
    "tiny": {**QWEN3, "num_hidden_layers": 3, "hidden_size": 32, "intermediate_size": 48, "head_dim": 8,
             "num_attention_heads": 4, "num_key_value_heads": 2, "vocab_size": 512},
}  # fmt: skip
SIZES: dict[str, Row] = {
    "full": {"prompts": 64, "prompt": 256, "new": 128, "texts_read": 24, "examples": 256, "tokens": 256,
             "targets": 64, "batch": 16, "epochs": 3},
    "tiny": {"prompts": 2, "prompt": 16, "new": 4, "texts_read": 2, "examples": 4, "tokens": 16,
             "targets": 4, "batch": 2, "epochs": 2},
}  # fmt: skip
MINUTES = {"qwen3-8b": 3.0, "qwen3-32b": 6.5, "tiny": 5.0}
"""Of each model's contenders together; under ten for both."""
PLANNED = {
    "answers": "time at least", "lens": "time, 1 device", "build": "time, building, 1 device",
    "warm": "time, an epoch, 1 device",
}  # fmt: skip
NAMES = {"answers": "answers", "lens": "lens", "build": "cache build", "warm": "warm epoch"}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--models", default="qwen3-8b,qwen3-32b", help=", ".join(CONFIGS))
    parser.add_argument("--results", type=Path, default=results.RESULTS)
    options = parser.parse_args()
    about = results.machine() | {"commit": results.commit(), "command": "bench/gpu.sh"}
    meanwhile, entries = results.Others(), []
    for name in options.models.split(","):
        entries += _measure(name)
    about |= {"others": meanwhile.share(), "quick": options.models == "tiny"}
    results.replace(options.results, "gpu", [{"job": "gpu", **one, **about} for one in entries])
    for one in entries:
        print(json.dumps(one))


def _measure(name: str) -> list[Row]:
    size = SIZES["tiny" if name == "tiny" else "full"]
    draw = random.Random(0)
    words = "".join(chr(97 + draw.randrange(26)) for _ in range(size["prompts"] * size["prompt"]))
    texts = [words[i : i + size["prompt"]] for i in range(0, len(words), size["prompt"])]
    asked = {"model": name, "texts": texts, **size}
    end, runs = time.monotonic() + MINUTES[name] * 60, {}
    for tool in TOOLS:
        if tool != "vllm" or find_spec("vllm"):
            runs[tool] = contend(__file__, tool, asked, seconds=max(end - time.monotonic(), 1))
    planned, entries = _planned(name, size), []
    for key, what in NAMES.items():
        ours = runs["linguamap"]
        peer = "vllm" if key == "answers" and "answers" in runs.get("vllm", {}) else "by hand"
        theirs = runs[peer]
        peer = theirs.get("how", peer) if key == "answers" else peer
        entries.append(
            entry(
                f"{name}: {what}", ours.get(key), "s", peer=peer, peer_value=theirs.get(key),
                failed=ours.get("failed"), peer_failed=theirs.get("failed"),
                planned_seconds=planned[key], device=ours.get("device"), **size,
            )
        )  # fmt: skip
    return entries


def _planned(name: str, size: Row) -> Row:
    """Seconds that the counted operations predict for one H100."""
    from transformers import AutoConfig

    sys.path.append(str(ROOT / "studies"))
    from model_needs import Machine, Work, measure, plan

    work = Work(
        blocks=2, examples=size["examples"], tokens=size["tokens"], counted=size["targets"],
        epochs=size["epochs"], pass_tokens=size["batch"] * size["tokens"], texts=size["texts_read"],
        prompts=size["prompts"], new_tokens=size["new"], concurrency=size["prompts"],
    )  # fmt: skip
    rows = plan(measure(AutoConfig.for_model(**CONFIGS[name]), name, work.tokens), work, Machine())
    return {
        key: next(one.value for one in rows if one.what == what) for key, what in PLANNED.items()
    }


# In a contender's own process ----------------------------------------------------------------


def _model(asked: Row) -> Any:
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    make: Any = AutoModelForCausalLM.from_config
    torch.manual_seed(0)
    with torch.device(_device()):
        config = AutoConfig.for_model(**CONFIGS[asked["model"]])
        return make(config, dtype=torch.bfloat16).eval()


def _device() -> str:
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


def _device_name() -> str:
    import torch

    return torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu"


def _tokenizer() -> Any:
    sys.path.append(str(ROOT / "tests" / "support"))
    from tiny import tiny_tokenizer

    return tiny_tokenizer()


def _examples(asked: Row, n: int) -> list[tuple[list[int], list[bool]]]:
    """Random ids of which the last ones are trained on, or read by the lens."""
    draw, vocab = random.Random(1), CONFIGS[asked["model"]]["vocab_size"]
    rest = asked["tokens"] - asked["targets"]
    mask = [False] * rest + [True] * asked["targets"]
    return [([draw.randrange(5, vocab) for _ in mask], mask) for _ in range(n)]


def _linguamap(asked: Row) -> Row:
    from linguamap.config import EvaluateConfig, ModelConfig, TuneConfig
    from linguamap.generation.local import generate
    from linguamap.models.language_model import assemble
    from linguamap.probes.layer_reading import read_texts
    from linguamap.probes.lens import WordCounts
    from linguamap.probes.texts import EncodedText, LensText
    from linguamap.records import Part, Prompt
    from linguamap.tuning.blocks import parse_layers
    from linguamap.tuning.data.batches import TrainingExample
    from linguamap.tuning.run_tuning import tune

    class Nobody:
        name, languages = "nobody", ("en",)

        def identify_words(self, words: list[str]) -> list[None]:
            return [None] * len(words)

    lm = assemble(ModelConfig(name=asked["model"]), _model(asked), _tokenizer())
    prompts = [
        Prompt(f"{i:04d}", "x", "sums", "en", "monolingual", (Part("P", text),), ())
        for i, text in enumerate(asked["texts"])
    ]
    config = EvaluateConfig(
        max_new_tokens=asked["new"], stop=[], batch_size=asked["prompts"], batch_tokens=1 << 20
    )
    texts = [
        EncodedText(LensText(str(i), str(i), "en", "monolingual", "sums", "", ""), ids,
                    len(ids) - asked["targets"] - 1, len(ids) - 1)
        for i, (ids, _) in enumerate(_examples(asked, asked["texts_read"]))
    ]  # fmt: skip
    nobody: Any = Nobody()
    run: Row = {"device": _device_name()}
    generate(lm, prompts[:1], config, save=lambda done: None)  # warm, as the others
    read_texts(lm, texts[:1], [WordCounts(lm, nobody)])
    run["answers"] = _timed(lambda: generate(lm, prompts, config, save=lambda done: None))
    run["lens"] = _timed(lambda: read_texts(lm, texts, [WordCounts(lm, nobody)]))
    examples = [
        TrainingExample(str(i), tuple(ids), tuple(mask), str(i))
        for i, (ids, mask) in enumerate(_examples(asked, asked["examples"]))
    ]
    settings = TuneConfig(
        epochs=asked["epochs"], batch_size=asked["batch"], validation_share=0.0,
        schedule="constant", cache_gb=20, cache_on="memory",
    )  # fmt: skip
    with tempfile.TemporaryDirectory() as out:
        last = parse_layers("last:2", lm.n_layers)
        tuning = tune(lm, examples, settings, last, Path(out), seed=0)
    warm = statistics.median(tuning["seconds_per_epoch"][1:])
    return run | {"build": tuning["build_seconds"], "warm": warm}


def _by_hand(asked: Row) -> Row:
    from tune import train_by_hand

    model = _model(asked)
    run: Row = {} if find_spec("vllm") else _answers_by_hand(asked, model)
    _lens_by_hand(asked | {"texts_read": 1}, model)
    run["lens"] = _timed(lambda: _lens_by_hand(asked, model))
    model.requires_grad_(False).train()
    for block in model.model.layers[-2:]:
        block.requires_grad_(True)
    trained = [p for p in model.parameters() if p.requires_grad]
    data = _examples(asked, asked["examples"])
    epochs, _, _ = train_by_hand(model, trained, data, 2, asked["batch"])
    return run | {"warm": epochs[1]}


def _answers_by_hand(asked: Row, model: Any) -> Row:
    """Continuous batching where it runs, else ``generate`` on one padded batch."""
    import torch

    ids = [_tokenizer()(text)["input_ids"] for text in asked["texts"]]
    options = {"max_new_tokens": asked["new"], "do_sample": False, "eos_token_id": -1}
    if _device() == "cuda":
        try:
            from transformers import GenerationConfig

            settings = GenerationConfig(**options)
            work = lambda: model.generate_batch(ids, generation_config=settings)  # noqa: E731
            model.generate_batch(ids[:1], generation_config=settings)
            return {"answers": _timed(work), "how": "Transformers, continuous batching"}
        except Exception as error:
            print(f"continuous batching: {error}", file=sys.stderr)
    longest = max(map(len, ids))
    padded = torch.tensor([[0] * (longest - len(one)) + one for one in ids], device=model.device)
    mask = (torch.arange(longest) >= longest - torch.tensor([[len(one)] for one in ids])).long()
    options |= {"input_ids": padded, "attention_mask": mask.to(model.device), "pad_token_id": 0}
    model.generate(**options | {"max_new_tokens": 2})
    return {"answers": _timed(lambda: model.generate(**options)), "how": "Transformers, generate"}


def _lens_by_hand(asked: Row, model: Any) -> None:
    import torch

    texts = [ids for ids, _ in _examples(asked, asked["texts_read"])]
    places = slice(asked["tokens"] - asked["targets"] - 1, asked["tokens"] - 1)
    with torch.no_grad():
        for start in range(0, len(texts), 8):
            ids = torch.tensor(texts[start : start + 8], device=model.device)
            states = model.model(ids, output_hidden_states=True, use_cache=False).hidden_states
            for layer, state in enumerate(states):
                rows = state[:, places]
                rows = rows if layer == len(states) - 1 else model.model.norm(rows)
                model.lm_head(rows).argmax(-1).tolist()


def _vllm(asked: Row) -> Row:
    from transformers import AutoConfig
    from vllm import LLM, SamplingParams

    with tempfile.TemporaryDirectory() as folder:
        config = AutoConfig.for_model(**CONFIGS[asked["model"]])
        config.architectures = ["Qwen3ForCausalLM"]
        config.save_pretrained(folder)
        engine = LLM(
            model=folder, load_format="dummy", skip_tokenizer_init=True, dtype="bfloat16",
            max_model_len=2048, gpu_memory_utilization=0.92, enable_prefix_caching=False,
        )  # fmt: skip
        prompts = [{"prompt_token_ids": _tokenizer()(text)["input_ids"]} for text in asked["texts"]]
        params = SamplingParams(
            temperature=0, max_tokens=asked["new"], ignore_eos=True, detokenize=False
        )
        engine.generate(prompts[:1], params, use_tqdm=False)  # warm
        seconds = _timed(lambda: engine.generate(prompts, params, use_tqdm=False))
    return {"answers": seconds, "how": "vLLM"}


def _timed(work: Any) -> float:
    wait(_device())
    started = time.perf_counter()
    work()
    wait(_device())
    return time.perf_counter() - started


TOOLS = {"linguamap": _linguamap, "by hand": _by_hand, "vllm": _vllm}

if __name__ == "__main__" and not is_contender(TOOLS):
    main()
