"""Tuning speed and memory: linguamap against TRL's SFTTrainer, full fine-tuning and a hand-made loop.

    python bench/tune.py --json                      # both models, four contenders each
    python bench/tune.py --models starter --epochs 3

Every contender runs in a process of its own, one after the other, on the same token ids, batch size,
dtype, trained blocks and loss mask. TRL runs at its best settings found for this task: batches of
like lengths, no gradient checkpointing, fused AdamW, no saving or logging, its fused head that never
holds the full logits (the only loss that TRL 1.16 has). ``full`` is TRL with nothing frozen. ``plain`` is
the loop that one would write by hand: the same blocks frozen by ``requires_grad``, and only the counted
positions through the head; it shows what keeping the boundary states alone is worth. Needs: pip install 'trl==1.16.*'.

What the ratios mean: ``*_ratio`` over time is the rival's seconds over linguamap's, so more is better;
``memory_ratio`` is linguamap's peak memory over the rival's, so less is better.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

CONTENDERS = ("linguamap", "trl", "full", "plain")
N_BLOCKS_TUNED = 2
LLAMA_30: dict[str, Any] = {
    "vocab_size": 49152,
    "hidden_size": 576,
    "intermediate_size": 1536,
    "num_hidden_layers": 30,
    "num_attention_heads": 9,
    "num_key_value_heads": 3,
    "tie_word_embeddings": True,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "pad_token_id": 0,
}
PREDICTED = {
    # name: blocks, parameters a block, width, vocabulary, tuned blocks
    "Qwen3-32B": (64, 487_600_000, 5120, 151_936, 2),
    "BLOOM-7.1B": (30, 201_400_000, 4096, 250_880, 1),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", default="starter,llama30", help="starter, llama30 or folders")
    parser.add_argument("--contenders", default=",".join(CONTENDERS))
    parser.add_argument("--examples", type=int, default=96)
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--dtype", default="bfloat16", choices=["bfloat16", "float32"])
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--json", action="store_true", help="the last line is the table as JSON")
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        print(json.dumps(work(options)))
        return
    rows = []
    with tempfile.TemporaryDirectory() as scratch:
        for model in options.models.split(","):
            folder = model_folder(model, Path(scratch))
            results = {
                name: start_worker(name, folder, options) for name in options.contenders.split(",")
            }
            rows.append(compare(model, folder, results, options))
            print(text_row(rows[-1]), flush=True)
    if options.json:
        print(json.dumps({"rows": rows, "predicted_warm_ratio": predictions()}))


def start_worker(name: str, folder: Path, options: argparse.Namespace) -> dict[str, Any]:
    command = [sys.executable, __file__, "--worker", name, "--models", str(folder)]
    for key in ("examples", "epochs", "batch", "dtype", "threads"):
        command += [f"--{key}", str(getattr(options, key))]
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        sys.exit(f"{name} on {folder} failed:\n{done.stderr[-3000:]}")
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return result


def work(options: argparse.Namespace) -> dict[str, Any]:
    import torch

    torch.set_num_threads(options.threads)
    run = {
        "linguamap": run_linguamap,
        "trl": run_trl,
        "full": run_full,
        "plain": run_plain,
    }[options.worker]
    result = run(Path(options.models), options)
    result["warm_epoch"] = statistics.median(result["epochs"][1:] or result["epochs"])
    result["peak_memory_bytes"] = peak_memory()
    return result


def run_linguamap(folder: Path, options: argparse.Namespace) -> dict[str, Any]:
    from linguamap.config import ModelConfig, TuneConfig
    from linguamap.models.loading import load_model
    from linguamap.tuning.blocks import parse_layers
    from linguamap.tuning.data.batches import TrainingExample
    from linguamap.tuning.run_tuning import tune

    lm = load_model(ModelConfig(name=str(folder), dtype=options.dtype))
    data = make_data(options.examples, lm.vocab_size)
    examples = [
        TrainingExample(str(i), tuple(ids), tuple(mask), str(i))
        for i, (ids, mask) in enumerate(data)
    ]
    config = TuneConfig(
        epochs=options.epochs,
        batch_size=options.batch,
        learning_rate=1e-5,
        schedule="constant",
        validation_share=0.0,
        dtype=options.dtype,
    )
    layers = parse_layers(f"last:{N_BLOCKS_TUNED}", lm.n_layers)
    with tempfile.TemporaryDirectory() as out:
        started = time.monotonic()
        tuning = tune(lm, examples, config, layers, Path(out), seed=0)
        total = time.monotonic() - started
    return {
        "epochs": tuning["seconds_per_epoch"],
        "total": total,
        "build": tuning["build_seconds"],
        "loss": tuning["train_loss"],
        "cache_bytes": tuning["cache_bytes"],
    }


def run_trl(folder: Path, options: argparse.Namespace) -> dict[str, Any]:
    return sft(folder, options, only_last_blocks=True)


def run_full(folder: Path, options: argparse.Namespace) -> dict[str, Any]:
    return sft(folder, options, only_last_blocks=False)


def run_plain(folder: Path, options: argparse.Namespace) -> dict[str, Any]:
    """Transformers and a loop: batches of like lengths, padded on the right, fused AdamW."""
    import torch
    from torch.nn.functional import cross_entropy
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(folder, dtype=getattr(torch, options.dtype))
    model.requires_grad_(False).train()
    for block in model.model.layers[-N_BLOCKS_TUNED:]:
        block.requires_grad_(True)
    trained = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=1e-5, fused=True)
    data = sorted(make_data(options.examples, model.config.vocab_size), key=lambda one: len(one[0]))
    batches = [data[i : i + options.batch] for i in range(0, len(data), options.batch)]
    times, losses = [], []
    started = time.monotonic()
    for epoch in range(options.epochs):
        begun, total, n_counted = time.monotonic(), 0.0, 0
        for batch in random.Random(epoch).sample(batches, len(batches)):
            longest = max(len(ids) for ids, _ in batch)
            ids = torch.tensor([one + [0] * (longest - len(one)) for one, _ in batch])
            counted = torch.tensor([one + [False] * (longest - len(one)) for _, one in batch])
            mask = torch.tensor([[i < len(one) for i in range(longest)] for one, _ in batch])
            hidden = model.model(input_ids=ids, attention_mask=mask.long()).last_hidden_state
            logits = model.lm_head(hidden[:, :-1][counted[:, 1:]]).float()
            loss = cross_entropy(logits, ids[:, 1:][counted[:, 1:]])
            loss.backward()
            torch.nn.utils.clip_grad_norm_(trained, 1.0)
            optimizer.step()
            optimizer.zero_grad()
            total, n_counted = total + loss.item() * len(logits), n_counted + len(logits)
        times.append(time.monotonic() - begun)
        losses.append(total / n_counted)
    return {"epochs": times, "total": time.monotonic() - started, "build": 0.0, "loss": losses}


def sft(folder: Path, options: argparse.Namespace, *, only_last_blocks: bool) -> dict[str, Any]:
    """TRL's SFTTrainer on ready token ids, with all but the last blocks frozen or with none."""
    import torch
    from datasets import Dataset
    from transformers import AutoModelForCausalLM, AutoTokenizer, TrainerCallback
    from trl import SFTConfig, SFTTrainer

    model = AutoModelForCausalLM.from_pretrained(folder, dtype=getattr(torch, options.dtype))
    if only_last_blocks:
        model.requires_grad_(False)
        for block in model.model.layers[-N_BLOCKS_TUNED:]:
            block.requires_grad_(True)
    data = make_data(options.examples, model.config.vocab_size)
    labels = [[t if m else -100 for t, m in zip(ids, mask, strict=True)] for ids, mask in data]
    dataset = Dataset.from_dict({"input_ids": [ids for ids, _ in data], "labels": labels})
    times: list[float] = []
    losses: list[float] = []

    class Clock(TrainerCallback):
        def on_epoch_begin(self, *args: Any, **kwargs: Any) -> None:
            self.started = time.monotonic()

        def on_epoch_end(self, *args: Any, **kwargs: Any) -> None:
            times.append(time.monotonic() - self.started)

        def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **kw: Any) -> None:
            if logs and "loss" in logs:
                losses.append(logs["loss"])

    with tempfile.TemporaryDirectory() as out:
        config = SFTConfig(
            output_dir=out,
            per_device_train_batch_size=options.batch,
            num_train_epochs=options.epochs,
            learning_rate=1e-5,
            lr_scheduler_type="constant",
            optim="adamw_torch_fused",
            max_length=None,
            bf16=False,
            gradient_checkpointing=False,
            train_sampling_strategy="group_by_length",
            dataset_kwargs={"skip_prepare_dataset": True},
            save_strategy="no",
            logging_strategy="epoch",
            report_to="none",
            disable_tqdm=True,
            seed=0,
        )
        tokenizer = AutoTokenizer.from_pretrained(folder)
        started = time.monotonic()
        trainer = SFTTrainer(
            model,
            args=config,
            train_dataset=dataset,
            processing_class=tokenizer,
            callbacks=[Clock()],
        )
        trainer.train()
        total = time.monotonic() - started
    return {"epochs": times, "total": total, "build": 0.0, "loss": losses}


def make_data(n: int, vocab: int) -> list[tuple[list[int], list[bool]]]:
    """Random ids: prompts of about 120 tokens that are not trained on, answers of about 35 that are."""
    draw = random.Random(0)
    data = []
    for _ in range(n):
        prompt, answer = draw.randint(90, 150), draw.randint(20, 50)
        ids = [draw.randrange(5, vocab) for _ in range(prompt + answer)]
        data.append((ids, [False] * prompt + [True] * answer))
    return data


def model_folder(name: str, scratch: Path) -> Path:
    """A folder with weights and tokenizer: the starter, a random 30-block Llama, or as given."""
    if name not in ("starter", "llama30"):
        return Path(name)
    from linguamap.models.starter import starter_folder

    starter = starter_folder()
    if name == "starter":
        return starter
    import torch
    from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    folder = scratch / name
    LlamaForCausalLM(LlamaConfig(**LLAMA_30)).save_pretrained(folder)
    AutoTokenizer.from_pretrained(starter).save_pretrained(folder)
    return folder


def compare(
    model: str, folder: Path, results: dict[str, dict[str, Any]], options: argparse.Namespace
) -> dict[str, Any]:
    ours = results["linguamap"]
    row: dict[str, Any] = {
        "model": model,
        "dtype": options.dtype,
        "examples": options.examples,
        "batch": options.batch,
        "epochs": options.epochs,
        "threads": options.threads,
        **floor(folder, ours["warm_epoch"], options),
    }
    for rival, prefix in (("trl", ""), ("full", "full_"), ("plain", "plain_")):
        if rival in results:
            theirs = results[rival]
            row[f"{prefix}warm_ratio"] = round(theirs["warm_epoch"] / ours["warm_epoch"], 2)
            row[f"{prefix}five_epoch_ratio"] = round(theirs["total"] / ours["total"], 2)
            memory = ours["peak_memory_bytes"] / theirs["peak_memory_bytes"]
            row[f"{prefix}memory_ratio"] = round(memory, 3)
    return {**row, **results}


def floor(folder: Path, warm: float, options: argparse.Namespace) -> dict[str, float]:
    """How near a warm epoch is to suffix and head products alone, at this machine's own rate.

    The suffix is counted with all its rows: forward, and twice that backward. The last block's rows
    that are left out are a gain over this floor.
    """
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    torch.set_num_threads(options.threads)
    config = AutoConfig.from_pretrained(folder)
    with torch.device("meta"):
        make: Any = AutoModelForCausalLM.from_config
        model = make(config)
    block = sum(p.numel() for p in model.model.layers[-1].parameters())
    data = make_data(options.examples, config.vocab_size)
    tokens, counted = sum(len(ids) for ids, _ in data), sum(sum(mask) for _, mask in data)
    suffix = 6 * N_BLOCKS_TUNED * block * tokens
    head = 4 * config.vocab_size * config.hidden_size * counted
    rate = product_rate(getattr(torch, options.dtype))
    return {
        "counted_suffix_gflop": round(suffix / 1e9, 1),
        "counted_head_gflop": round(head / 1e9, 1),
        "product_gflops": round(rate / 1e9, 1),
        "floor_seconds": round((suffix + head) / rate, 2),
        "floor_share": round((suffix + head) / rate / warm, 3),
    }


def product_rate(dtype: Any) -> float:
    """Operations a second of a plain matrix product of the sizes that occur, the best of several."""
    import torch

    a, b = torch.randn(2048, 640).to(dtype), torch.randn(640, 4096).to(dtype)
    out = torch.empty(2048, 4096, dtype=dtype)
    best = float("inf")
    for _ in range(20):
        started = time.monotonic()
        torch.mm(a, b, out=out)
        best = min(best, time.monotonic() - started)
    return 2 * 2048 * 640 * 4096 / best


def predictions(prompt: int = 120, answer: int = 35) -> dict[str, float]:
    """What counted operations say of a warm epoch against the same blocks frozen in TRL on a GPU,
    where TRL too takes only the counted positions through the head (three products to our two)."""
    ratios = {}
    for name, (blocks, size, width, vocab, tuned) in PREDICTED.items():
        suffix = 6 * tuned * size * (prompt + answer)
        product = 2 * vocab * width * answer
        plain = 2 * (blocks - tuned) * size * (prompt + answer) + suffix + 3 * product
        ratios[name] = round(plain / (suffix + 2 * product), 2)
    return ratios


def peak_memory() -> int:
    import torch

    if torch.cuda.is_available():
        return int(torch.cuda.max_memory_allocated())
    from linguamap.run.folder import peak_memory_bytes

    return peak_memory_bytes()


def text_row(row: dict[str, Any]) -> str:
    def figures(names: Sequence[str]) -> str:
        return ", ".join(
            f"{name}: {row[name]['warm_epoch']:.1f} s a warm epoch, {row[name]['total']:.1f} s in all, "
            f"{row[name]['peak_memory_bytes'] / 1e9:.2f} GB"
            for name in names
            if name in row
        )

    ratios = {key: value for key, value in row.items() if key.endswith(("_ratio", "_share"))}
    return f"{row['model']} ({row['dtype']}): {figures(CONTENDERS)}; {ratios}"


if __name__ == "__main__":
    main()
