"""Tuning speed and memory, next to a hand-made loop and TRL's ``SFTTrainer``.

    python bench/tune.py --blocks last:2
    python bench/tune.py --model smollm2 --blocks 9,10 --examples 16 --peers plain,trl

All train the same blocks on the same token ids, mask, batch size and dtype; each runs in a process of its
own. Random ids: prompts of about 120 tokens that are not trained on, answers of about 35 that are.

    plain  the loop that one would write by hand at its best: other blocks frozen, batches of like
           lengths, only the trained positions through the head, fused AdamW
    trl    ``SFTTrainer`` with the same blocks frozen, batches of like lengths, no gradient checkpointing, fused
           AdamW, its chunked loss, nothing logged or saved. On a CPU that loss puts every position through
           the head, so ``plain`` is the fairer peer there

The floor of a warm epoch is the products of the blocks from the lowest trained one on (forward; the
gradient of their inputs but for the lowest; of the trained ones' weights) and twice the head at the
trained positions, at the rate of a large product.
"""

from __future__ import annotations

import argparse
import os
import random
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

from children import Row, contend, is_contender, write_entries
from model_folders import model_folder, product_rate, size_of
from results import entry

PEERS = {"plain": "loop by hand", "trl": "TRL"}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", default="starter", help="starter, smollm2 or a folder")
    parser.add_argument("--blocks", default="last:2", help="as --layers: last:2, or 9,10")
    parser.add_argument("--peers", default="plain")
    parser.add_argument("--examples", type=int, default=32)
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--dtype", default="bfloat16", choices=["bfloat16", "float32"])
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--out", help="file for the entries")
    options = parser.parse_args()
    asked: Row = vars(options)
    with tempfile.TemporaryDirectory() as scratch:
        folder = model_folder(options.model, Path(scratch))
        asked["folder"] = str(folder)
        ours = contend(__file__, "linguamap", asked)
        if "failed" in ours:
            raise SystemExit(ours["failed"])
        floor = _floor(folder, ours["layers"], asked)
        peers = {peer: contend(__file__, peer, asked) for peer in options.peers.split(",")}
    write_entries(options.out, [_entry(asked, ours, floor, *one) for one in peers.items()])


def _entry(asked: Row, ours: Row, floor: float, peer: str, theirs: Row) -> Row:
    blocks = ", ".join(map(str, ours["layers"]))
    model = asked["model"] if asked["model"] in ("starter", "smollm2") else "tiny"
    compared = {}
    if "failed" not in theirs:
        compared = {
            "peer_total_seconds": theirs["total"], "total_ratio": theirs["total"] / ours["total"],
            "memory_ratio": ours["peak_bytes"] / theirs["peak_bytes"],
            "peer_peak_bytes": theirs["peak_bytes"], "peer_loss": theirs["loss"][-1],
        }  # fmt: skip
    return entry(
        f"{model}, blocks {blocks}", ours["warm"], "s a warm epoch",
        peer=PEERS[peer] + theirs.get("version", ""), peer_value=theirs.get("warm"),
        failed=theirs.get("failed"), threads=asked["threads"], examples=asked["examples"],
        epochs=asked["epochs"], dtype=asked["dtype"], floor_seconds=floor,
        floor_share=floor / ours["warm"], build_seconds=ours["build"], total_seconds=ours["total"],
        peak_bytes=ours["peak_bytes"], loss=ours["loss"][-1], **compared,
    )  # fmt: skip


def _floor(folder: Path, layers: list[int], asked: Row) -> float:
    """Seconds of a warm epoch's products at the machine's rate."""
    import torch

    torch.set_num_threads(asked["threads"])
    size = size_of(folder)
    data = make_data(asked["examples"], 1000)
    tokens, trained = sum(len(ids) for ids, _ in data), sum(sum(mask) for _, mask in data)
    n_above = size.n_blocks - min(layers) + 1
    products = n_above + (n_above - 1) + len(layers)
    work = 2 * products * size.block * tokens + 4 * size.head * trained
    return work / product_rate(asked["dtype"])


def make_data(n: int, vocab: int) -> list[tuple[list[int], list[bool]]]:
    """Token ids and which of them are trained on."""
    draw = random.Random(0)
    data = []
    for _ in range(n):
        prompt, answer = draw.randint(90, 150), draw.randint(20, 50)
        ids = [draw.randrange(5, vocab) for _ in range(prompt + answer)]
        data.append((ids, [False] * prompt + [True] * answer))
    return data


# In the contender's own process -------------------------------------------------------------


def _linguamap(asked: Row) -> Row:
    import torch

    from linguamap.config import ModelConfig, TuneConfig
    from linguamap.models.loading import load_model
    from linguamap.tuning.blocks import parse_layers
    from linguamap.tuning.data.batches import TrainingExample
    from linguamap.tuning.run_tuning import tune

    torch.set_num_threads(asked["threads"])
    lm = load_model(ModelConfig(name=asked["folder"], dtype=asked["dtype"], chat="no"))
    examples = [
        TrainingExample(str(i), tuple(ids), tuple(mask), str(i))
        for i, (ids, mask) in enumerate(make_data(asked["examples"], lm.vocab_size))
    ]
    config = TuneConfig(
        epochs=asked["epochs"], batch_size=asked["batch"], learning_rate=1e-5,
        schedule="constant", validation_share=0.0, dtype=asked["dtype"],
    )  # fmt: skip
    layers = parse_layers(asked["blocks"], lm.n_layers)
    with tempfile.TemporaryDirectory() as out:
        started = time.perf_counter()
        tuning = tune(lm, examples, config, layers, Path(out), seed=0)
        total = time.perf_counter() - started
    return _run(tuning["seconds_per_epoch"], total, tuning["train_loss"]) | {
        "build": tuning["build_seconds"], "layers": list(layers),
    }  # fmt: skip


def _run(epochs: list[float], total: float, loss: list[float]) -> Row:
    from linguamap.run.memory import peak_memory_bytes

    warm = statistics.median(epochs[1:] or epochs)
    return {"warm": warm, "total": total, "loss": loss, "peak_bytes": peak_memory_bytes()}


def _frozen(asked: Row) -> tuple[Any, list[Any]]:
    """The model with all frozen but the trained blocks, and their weights."""
    import torch
    from transformers import AutoModelForCausalLM

    from linguamap.tuning.blocks import parse_layers

    torch.set_num_threads(asked["threads"])
    dtype = getattr(torch, asked["dtype"])
    model: Any = AutoModelForCausalLM.from_pretrained(asked["folder"], dtype=dtype)
    model.requires_grad_(False).train()
    for layer in parse_layers(asked["blocks"], len(model.model.layers)):
        model.model.layers[layer - 1].requires_grad_(True)
    return model, [p for p in model.parameters() if p.requires_grad]


def _plain(asked: Row) -> Row:
    model, trained = _frozen(asked)
    data = make_data(asked["examples"], model.config.vocab_size)
    return _run(*train_by_hand(model, trained, data, asked["epochs"], asked["batch"]))


def train_by_hand(
    model: Any, trained: list[Any], data: list[tuple[list[int], list[bool]]], epochs: int, size: int
) -> tuple[list[float], float, list[float]]:
    """Seconds of each epoch, of all, and each epoch's loss."""
    import torch
    from torch.nn.functional import cross_entropy

    device = model.device
    optimizer = torch.optim.AdamW(trained, lr=1e-5, fused=True)
    data = sorted(data, key=lambda one: len(one[0]))
    batches = [data[i : i + size] for i in range(0, len(data), size)]
    times, losses = [], []
    started = time.perf_counter()
    for epoch in range(epochs):
        begun, total, n_targets = time.perf_counter(), 0.0, 0
        for batch in random.Random(epoch).sample(batches, len(batches)):
            longest = max(len(ids) for ids, _ in batch)
            ids = torch.tensor([one + [0] * (longest - len(one)) for one, _ in batch]).to(device)
            is_target = torch.tensor([one + [False] * (longest - len(one)) for _, one in batch])
            mask = torch.tensor([[i < len(one) for i in range(longest)] for one, _ in batch])
            read = model.model(input_ids=ids, attention_mask=mask.long().to(device))
            places = is_target[:, 1:].to(device)
            logits = model.lm_head(read.last_hidden_state[:, :-1][places]).float()
            loss = cross_entropy(logits, ids[:, 1:][places])
            loss.backward()
            torch.nn.utils.clip_grad_norm_(trained, 1.0)
            optimizer.step()
            optimizer.zero_grad()
            total, n_targets = total + loss.item() * len(logits), n_targets + len(logits)
        times.append(time.perf_counter() - begun)
        losses.append(total / n_targets)
    return times, time.perf_counter() - started, losses


def _trl(asked: Row) -> Row:
    from importlib.metadata import version

    from datasets import Dataset
    from transformers import AutoTokenizer, TrainerCallback
    from trl import SFTConfig, SFTTrainer

    model, _ = _frozen(asked)
    data = make_data(asked["examples"], model.config.vocab_size)
    labels = [[t if m else -100 for t, m in zip(ids, mask, strict=True)] for ids, mask in data]
    dataset = Dataset.from_dict({"input_ids": [ids for ids, _ in data], "labels": labels})
    times: list[float] = []
    losses: list[float] = []

    class Clock(TrainerCallback):
        def on_epoch_begin(self, *args: Any, **kwargs: Any) -> None:
            self.started = time.perf_counter()

        def on_epoch_end(self, *args: Any, **kwargs: Any) -> None:
            times.append(time.perf_counter() - self.started)

        def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **kw: Any) -> None:
            if logs and "loss" in logs:
                losses.append(logs["loss"])

    with tempfile.TemporaryDirectory() as out:
        config = SFTConfig(
            output_dir=out, per_device_train_batch_size=asked["batch"],
            num_train_epochs=asked["epochs"], learning_rate=1e-5, lr_scheduler_type="constant",
            optim="adamw_torch_fused", max_length=None, bf16=False, gradient_checkpointing=False,
            train_sampling_strategy="group_by_length",
            dataset_kwargs={"skip_prepare_dataset": True}, save_strategy="no",
            logging_strategy="epoch", report_to="none", disable_tqdm=True, seed=0,
        )  # fmt: skip
        started = time.perf_counter()
        trainer = SFTTrainer(
            model, args=config, train_dataset=dataset, callbacks=[Clock()],
            processing_class=AutoTokenizer.from_pretrained(asked["folder"]),
        )  # fmt: skip
        trainer.train()
        total = time.perf_counter() - started
    return _run(times, total, losses) | {"version": f" {version('trl')}"}


TOOLS = {"linguamap": _linguamap, "plain": _plain, "trl": _trl}

if __name__ == "__main__" and not is_contender(TOOLS):
    main()
