"""How fast does linguamap read every layer's likeliest token, next to nnterp and plain Transformers?

    python bench/probe.py                                          # starter model, its own items
    python bench/probe.py --texts 4 --repeats 1 --dtypes float32   # a short try
    python bench/probe.py --curve                                  # cost by answer length and layers

All contenders read the same token ids with the same weights and dtype, at all layers 0 to L and all
positions that predict a token of the answer, and hand over the arg-max ids. Each runs in a process of
its own, one after the other.

    linguamap          the lens as the probe stage runs it; the identifier's time is told apart
    transformers       ``output_hidden_states``, then norm and head of each layer, arg-max, and of those
                       the answer's positions; layer by layer, on the same batches
    transformers-rows  the same, with the answer's positions taken before norm and head
    nnterp             ``nnterp.interventions.logit_lens`` knows only a prompt's last position; this is
                       its body (trace, norm and head, softmax, stack) over all answer positions, text
                       by text, and the arg-max of what it returns
    nnterp-argmax      the same trace on the same batches as the others, keeping the arg-max only

Time is that of reading alone, without loading. Memory is the largest resident size while reading, less
the weights (on a GPU: what is allocated); ``rise`` is the same less the size after loading. The floor
is one head product a layer and position, measured on full blocks, and one pass through the blocks.
Needs: pip install nnterp==1.3.0 "nnsight<0.8" (nnsight 0.8 moved a module that nnterp imports).
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from children import Row, run_child, write_result
from memory import Memory

RIVALS = ("transformers", "transformers-rows", "nnterp-argmax", "nnterp")
TOOLS = ("linguamap", *RIVALS)
BEFORE = 32
"""Tokens before the answer, with --curve."""


def main() -> None:
    options = _options()
    if options.child:
        _child(options)
        return
    lengths = [int(n) for n in options.lengths.split(",")] if options.curve else [0]
    strides = [int(n) for n in options.strides.split(",")] if options.curve else [1]
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        asked = Path(folder) / "texts.json"
        for dtype in options.dtypes.split(","):
            for length in lengths:
                asked.write_text(json.dumps(_texts(options, length)), encoding="utf-8")
                for stride in strides:
                    rows.append(_measure(options, asked, dtype, length, stride))
    if options.out:
        Path(options.out).write_text(json.dumps({"rows": rows}, indent=1))
    if options.json:
        print(json.dumps({"rows": rows}))
    else:
        for row in rows:
            print(json.dumps(row, indent=1))
        if options.curve:
            print(_curve(rows))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", default="starter", help="as linguamap's --model")
    parser.add_argument("--languages", default="en,fr,es,ar,hi,ja")
    parser.add_argument("--texts", type=int, default=24, help="over all languages and kinds")
    parser.add_argument("--dtypes", default="bfloat16,float32")
    parser.add_argument("--rivals", default=",".join(RIVALS))
    parser.add_argument("--batch-tokens", type=int, default=2048, help="padded tokens a batch")
    parser.add_argument("--curve", action="store_true", help="cost by answer length and layers")
    parser.add_argument("--lengths", default="16,64,256", help="answer positions, with --curve")
    parser.add_argument("--strides", default="1,3", help="every so manieth layer, with --curve")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=0, help="0: as torch chooses")
    parser.add_argument("--out", help="also write the rows to this file")
    parser.add_argument("--json", action="store_true", help="end with one line of JSON")
    parser.add_argument("--child", choices=TOOLS, help=argparse.SUPPRESS)
    parser.add_argument("--files", nargs=2, help=argparse.SUPPRESS)
    parser.add_argument("--stride", type=int, default=1, help=argparse.SUPPRESS)
    return parser.parse_args()


def _texts(options: argparse.Namespace, length: int) -> list[Row]:
    """Token ids and the range of positions that predict the answer, longest text first.

    Args:
        length: answer positions of each text; 0 takes the items' own worked answers.
    """
    from transformers import AutoTokenizer

    from linguamap.benchmarks import load_benchmark
    from linguamap.probes.texts import LensText, encode_texts, lens_prompts
    from linguamap.prompts.scenarios import render_all

    languages = options.languages.split(",")
    kinds = [load_benchmark(name, languages, "train") for name in ("sums", "choice", "passage")]
    prompts = render_all(kinds, languages, ["monolingual", "code_mixed"], None, 0)
    n_items = -(-options.texts // (len(kinds) * len(languages)))
    texts = [
        LensText(
            prompt.item_id, prompt.item_id, prompt.language, prompt.scenario, prompt.kind,
            prompt.text, "".join(part.text for part in prompt.reference),
        )
        for prompt in lens_prompts(prompts, n_items, 0)
    ]  # fmt: skip
    tokenizer = AutoTokenizer.from_pretrained(_source(options))
    only_tokenizer: Any = SimpleNamespace(tokenizer=tokenizer)
    found = [
        {"ids": one.token_ids, "first": one.first, "stop": one.stop}
        for one in encode_texts(only_tokenizer, texts)
    ]
    found = found[:: max(len(found) // options.texts, 1)][: options.texts]
    if length:
        stream = [token for one in found for token in one["ids"]]
        for i, one in enumerate(found):
            shift = i * len(stream) // len(found)
            ids = (stream[shift:] + stream[:shift])[: BEFORE + length]
            one.update(ids=ids, first=len(ids) - length, stop=len(ids))
    return sorted(found, key=lambda one: len(one["ids"]), reverse=True)


def _source(options: argparse.Namespace) -> str:
    """What Transformers calls the model."""
    if options.model != "starter":
        return str(options.model)
    from linguamap.models.starter import starter_folder

    return str(starter_folder())


def _measure(options: argparse.Namespace, asked: Path, dtype: str, length: int, stride: int) -> Row:
    tools = ("linguamap", *options.rivals.split(","))
    runs: dict[str, list[Row]] = {tool: [] for tool in tools}
    for _ in range(options.repeats):
        for tool in tools:
            runs[tool].append(run_child(__file__, tool, dtype, asked, "--stride", str(stride)))
            _say(options, tool, dtype, length, runs[tool][-1])
    return {"dtype": dtype, "answer_positions": length or None, **_row(options, runs)}


def _say(options: argparse.Namespace, tool: str, dtype: str, length: int, run: Row) -> None:
    line = (
        f"{dtype} {tool}{f' {length} positions' if length else ''}: {run['seconds']:.2f} s, "
        f"{run['memory'] / 1e6:.0f} MB above {run['weights_bytes'] / 1e6:.0f} MB of weights, "
        f"{run['rise'] / 1e6:.0f} MB above the size after loading"
    )
    print(line, file=sys.stderr if options.json else sys.stdout, flush=True)


# In the contender's own process -------------------------------------------------------------


def _child(options: argparse.Namespace) -> None:
    import torch

    if options.threads:
        torch.set_num_threads(options.threads)
    asked, result = map(Path, options.files)
    texts: list[Row] = json.loads(asked.read_text(encoding="utf-8"))
    readers: dict[str, Callable[[argparse.Namespace, list[Row]], Row]] = {
        "linguamap": _linguamap,
        "transformers": _transformers,
        "transformers-rows": _transformers_rows,
        "nnterp": _nnterp,
        "nnterp-argmax": _nnterp_argmax,
    }
    with torch.no_grad():
        run = readers[options.child](options, texts)
    write_result(result, run)


def _linguamap(options: argparse.Namespace, texts: list[Row]) -> Row:
    import pyarrow as pa

    from linguamap.config import ModelConfig
    from linguamap.models.loading import load_model
    from linguamap.probes.layer_reading import read_texts
    from linguamap.probes.logit_scan import TopTokens, state_bytes
    from linguamap.probes.texts import EncodedText, LensText

    class Ids:
        """Keeps what was read, by text and layer."""

        schema = pa.schema([("none", pa.int32())])
        reader = TopTokens()
        found: dict[str, list[list[int]]]

        def __init__(self) -> None:
            self.found = {}

        def rows(self, batch: Sequence[EncodedText], by_layer: Any) -> list[dict[str, object]]:
            start = 0
            for one in batch:
                stop = start + one.stop - one.first
                self.found[one.text.item_id] = [
                    ids[start:stop, 0].tolist() for ids in by_layer.values()
                ]
                start = stop
            return []

    lm = load_model(ModelConfig(name=options.model, dtype=options.dtypes, chat="no"))
    encoded = [
        EncodedText(LensText(str(i), "", "", "", "", "", ""), one["ids"], one["first"], one["stop"])
        for i, one in enumerate(texts)
    ]
    layers = list(range(0, lm.n_layers + 1, options.stride))
    read_texts(lm, encoded[-1:], [Ids()])  # warm
    ids = Ids()
    measure = Memory(lm.model)
    started = time.perf_counter()
    read_texts(lm, encoded, [ids], layers=layers, batch_tokens=options.batch_tokens)
    run = {"seconds": time.perf_counter() - started, **measure.end()}
    by_text = [ids.found[str(i)] for i in range(len(texts))]
    return {
        **run,
        "ids": by_text,
        "n_layers": len(layers),
        "logits_bytes": state_bytes(lm.structure),
        **_floor(options, lm, texts, len(layers)),
        "identifier_seconds": _identifier_seconds(options, lm, by_text),
    }


def _floor(options: argparse.Namespace, lm: Any, texts: list[Row], n_layers: int) -> Row:
    """Seconds of the head products alone, in full blocks, and of the blocks' forward passes."""
    import torch

    from linguamap.models.batching import right_padded
    from linguamap.probes.logit_scan import BLOCK_ROWS, scan_head

    rows = torch.randn((BLOCK_ROWS, lm.d_model), device=lm.device).to(lm.dtype)
    best = min(_seconds(lambda: scan_head(lm.structure, rows, [])) for _ in range(5))
    started = time.perf_counter()
    for batch in _batches(texts, options.batch_tokens):
        lm.run(*right_padded([texts[i]["ids"] for i in batch], lm.tokenizer.pad_token_id or 0))
    _wait()
    n_rows = sum(one["stop"] - one["first"] for one in texts) * n_layers
    return {
        "head_floor_seconds": best / BLOCK_ROWS * n_rows,
        "forward_seconds": time.perf_counter() - started,
        "n_rows": n_rows,
    }


def _identifier_seconds(
    options: argparse.Namespace, lm: Any, by_text: list[list[list[int]]]
) -> float:
    """Seconds to cut the arg-max texts into words and to identify each different word."""
    from linguamap.languages import words
    from linguamap.scoring.language_id import make_identifier

    identifier = make_identifier("lingua", options.languages.split(","))
    identifier.identify_words(["warm"])

    def identify() -> None:
        found = {
            word for layers in by_text for ids in layers for word in words(lm.tokenizer.decode(ids))
        }
        identifier.identify_words(sorted(found))

    return _seconds(identify)


def _transformers(options: argparse.Namespace, texts: list[Row]) -> Row:
    return _plain(options, texts, rows_first=False)


def _transformers_rows(options: argparse.Namespace, texts: list[Row]) -> Row:
    return _plain(options, texts, rows_first=True)


def _plain(options: argparse.Namespace, texts: list[Row], *, rows_first: bool) -> Row:
    import torch
    from transformers import AutoModelForCausalLM

    model: Any = AutoModelForCausalLM.from_pretrained(
        _source(options), dtype=getattr(torch, options.dtypes), device_map=_device()
    ).eval()

    def read(batch: list[int]) -> Iterator[Any]:
        ids, mask, rows, places = _padded(texts, batch, model.device)
        states = model(input_ids=ids, attention_mask=mask, output_hidden_states=True).hidden_states
        for layer in range(0, len(states), options.stride):
            hidden = states[layer][rows, places] if rows_first else states[layer]
            if layer < len(states) - 1:  # the last entry is normed already
                hidden = model.model.norm(hidden)
            best = model.lm_head(hidden).argmax(-1)
            yield best if rows_first else best[rows, places]

    return _timed(options, texts, model, read, list(_batches(texts, options.batch_tokens)))


def _nnterp_argmax(options: argparse.Namespace, texts: list[Row]) -> Row:
    import torch
    from nnterp.nnsight_utils import get_layer_output, project_on_vocab

    model = _standardized(options)

    def read(batch: list[int]) -> Iterator[Any]:
        ids, mask, rows, places = _padded(texts, batch, model.device)
        with model.trace({"input_ids": ids, "attention_mask": mask}):
            states = [model.layers_input[0][rows, places]]
            for layer in range(model.num_layers):
                states.append(get_layer_output(model, layer)[rows, places])
            chosen = [project_on_vocab(model, h).argmax(-1) for h in states[:: options.stride]]
            best = torch.stack(chosen).save()
        yield from best

    batches = list(_batches(texts, options.batch_tokens))
    return _timed(options, texts, model._model, read, batches)


def _nnterp(options: argparse.Namespace, texts: list[Row]) -> Row:
    import torch
    from nnterp.nnsight_utils import get_layer_output, project_on_vocab

    model = _standardized(options)

    def read(batch: list[int]) -> Iterator[Any]:
        ids, mask, rows, places = _padded(texts, batch, model.device)
        with model.trace({"input_ids": ids, "attention_mask": mask}):
            states = [model.layers_input[0][rows, places]]
            for layer in range(model.num_layers):
                states.append(get_layer_output(model, layer)[rows, places])
            logits = (project_on_vocab(model, h) for h in states[:: options.stride])
            probs = torch.stack([one.softmax(-1).cpu() for one in logits]).save()
        for layer_probs in probs:
            yield layer_probs.argmax(-1)

    return _timed(options, texts, model._model, read, [[i] for i in range(len(texts))])


def _timed(
    options: argparse.Namespace,
    texts: list[Row],
    model: Any,
    read: Callable[[list[int]], Iterator[Any]],
    batches: list[list[int]],
) -> Row:
    """Read all batches layer by layer, after one text to get warm."""
    for _ in read([len(texts) - 1]):
        pass
    found: list[list[list[int]]] = [[] for _ in texts]
    measure = Memory(model)
    started = time.perf_counter()
    for batch in batches:
        for ids in read(batch):
            _hand_out(ids, texts, batch, found)
    return {"seconds": time.perf_counter() - started, **measure.end(), "ids": found}


def _standardized(options: argparse.Namespace) -> Any:
    import torch
    from nnterp import StandardizedTransformer

    return StandardizedTransformer(
        _source(options),
        dtype=getattr(torch, options.dtypes),
        device_map=_device(),
        check_renaming=False,
        dispatch=True,  # load the weights now, not in the first trace
    )


def _device() -> str:
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


def _batches(texts: list[Row], batch_tokens: int) -> Iterator[list[int]]:
    """Numbers of texts, longest first, of at most so many padded tokens: linguamap's batches."""
    batch: list[int] = []
    for i in range(len(texts)):
        if batch and (len(batch) + 1) * len(texts[batch[0]]["ids"]) > batch_tokens:
            yield batch
            batch = []
        batch.append(i)
    yield batch


def _padded(texts: list[Row], batch: list[int], device: Any) -> tuple[Any, Any, Any, Any]:
    """Right-padded ids and mask, and row and place of each answer position."""
    import torch

    longest = len(texts[batch[0]]["ids"])
    ids = torch.zeros((len(batch), longest), dtype=torch.long)
    mask = torch.zeros_like(ids)
    rows, places = [], []
    for row, i in enumerate(batch):
        one = texts[i]
        ids[row, : len(one["ids"])] = torch.tensor(one["ids"])
        mask[row, : len(one["ids"])] = 1
        rows += [row] * (one["stop"] - one["first"])
        places += range(one["first"], one["stop"])
    return tuple(t.to(device) for t in (ids, mask, torch.tensor(rows), torch.tensor(places)))  # type: ignore[return-value]


def _hand_out(ids: Any, texts: list[Row], batch: list[int], found: list[list[list[int]]]) -> None:
    """Add one layer's ids of a batch to each of its texts."""
    start = 0
    values = ids.tolist()
    for i in batch:
        stop = start + texts[i]["stop"] - texts[i]["first"]
        found[i].append(values[start:stop])
        start = stop


def _wait() -> None:
    import torch

    if torch.cuda.is_available():
        torch.cuda.synchronize()


def _seconds(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    _wait()
    return time.perf_counter() - started


# What it comes to ---------------------------------------------------------------------------


def _row(options: argparse.Namespace, runs: dict[str, list[Row]]) -> Row:
    """Ratios of medians; of speed above 1 and of memory below 1 speak for linguamap."""

    def median(tool: str, field: str) -> float:
        return statistics.median(run[field] for run in runs[tool])

    ours = runs["linguamap"][0]
    seconds = median("linguamap", "seconds")
    floor, forward = (
        median("linguamap", "head_floor_seconds"),
        median("linguamap", "forward_seconds"),
    )
    rivals = [tool for tool in runs if tool != "linguamap"]
    return {
        "n_texts": len(ours["ids"]),
        "n_layers": ours["n_layers"],
        "n_layer_positions": ours["n_rows"],
        "speed_ratio": {t: round(median(t, "seconds") / seconds, 3) for t in rivals},
        "memory_ratio": {
            t: round(median("linguamap", "memory") / median(t, "memory"), 3) for t in rivals
        },
        "rise_ratio": {
            t: round(median("linguamap", "rise") / max(median(t, "rise"), 1), 3) for t in rivals
        },
        "equal_share": {t: _equal_share(ours["ids"], runs[t][0]["ids"]) for t in rivals},
        "seconds": {t: [round(run["seconds"], 3) for run in runs[t]] for t in runs},
        "microseconds_per_layer_position": round(seconds / ours["n_rows"] * 1e6, 1),
        "head_floor_seconds": round(floor, 3),
        "forward_seconds": round(forward, 3),
        "share_of_floor": round((floor + forward) / seconds, 3),
        "identifier_seconds": round(median("linguamap", "identifier_seconds"), 3),
        "memory_above_weights_bytes": {t: int(median(t, "memory")) for t in runs},
        "rise_while_reading_bytes": {t: int(median(t, "rise")) for t in runs},
        "weights_bytes": {t: runs[t][0]["weights_bytes"] for t in runs},
        "logits_bytes": ours["logits_bytes"],
        "settings": {
            "model": options.model,
            "languages": options.languages,
            "batch_tokens": options.batch_tokens,
            "repeats": options.repeats,
            "threads": ours["threads"],
            "device": ours["device"],
        },
    }


def _equal_share(ours: Any, theirs: Any) -> float:
    pairs = [
        (a, b)
        for one, other in zip(ours, theirs, strict=True)
        for first, second in zip(one, other, strict=True)
        for a, b in zip(first, second, strict=True)
    ]
    return round(sum(a == b for a, b in pairs) / len(pairs), 5)


def _curve(rows: list[Row]) -> str:
    """A Markdown table of the cost by answer length and layers."""
    names = list(rows[0]["seconds"])
    lines = [
        "| dtype | answer positions | layers | " + " | ".join(f"{n}, s" for n in names)
        + " | " + " | ".join(f"{n}, MB above weights" for n in names) + " | floor, s |",
        "|" + "---|" * (4 + 2 * len(names)),
    ]  # fmt: skip
    for row in rows:
        seconds = (f"{statistics.median(row['seconds'][n]):.2f}" for n in names)
        memory = (f"{row['memory_above_weights_bytes'][n] / 1e6:.0f}" for n in names)
        cells = [
            row["dtype"], str(row["answer_positions"]), str(row["n_layers"]), *seconds, *memory,
            f"{row['head_floor_seconds'] + row['forward_seconds']:.2f}",
        ]  # fmt: skip
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
