"""How fast is every layer's likeliest token read, next to plain Transformers and nnterp, and to the floor?

    python bench/lens.py --texts 12
    python bench/lens.py --texts 4 --peers transformers-rows     # a short try

All read the same token ids (the starter's own worked answers) with the same weights, at all layers 0 to L
and all positions that predict a token of the answer, and hand over the arg-max ids. Each runs in a
process of its own.

    linguamap          the lens as the probe stage runs it
    transformers-rows  ``output_hidden_states``, the answer's positions, norm, head, arg-max, layer by layer
    nnterp             ``nnterp.interventions.logit_lens`` knows only a prompt's last position; this is its
                       body (trace, norm and head, softmax, stack) over all answer positions, text by text
    transformers       as the first, with the positions taken only after norm and head

Time is that of reading, memory (``rise``) the largest resident size meanwhile less that after loading. The
floor is one head product a layer and position, measured on full blocks, and one pass through the blocks.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from children import Row, contend, is_contender, write_entries
from memory import Memory
from model_folders import model_folder
from results import entry

PEERS = ("transformers-rows", "nnterp", "transformers")
LANGUAGES = ["en", "fr", "es", "ar", "hi", "ja"]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", default="starter", help="or a folder")
    parser.add_argument("--texts", type=int, default=24, help="over all languages and kinds")
    parser.add_argument("--dtype", default="bfloat16")
    parser.add_argument("--peers", default=",".join(PEERS))
    parser.add_argument("--batch-tokens", type=int, default=2048, help="padded tokens a batch")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--out", help="file for the entries")
    options = parser.parse_args()
    asked: Row = vars(options)
    with tempfile.TemporaryDirectory() as scratch:
        folder = model_folder(options.model, Path(scratch))
        asked |= {"folder": str(folder), "texts": _texts(folder, options.texts)}
        ours = contend(__file__, "linguamap", asked)
        if "failed" in ours:
            raise SystemExit(ours["failed"])
        peers = {peer: contend(__file__, peer, asked) for peer in options.peers.split(",")}
    write_entries(options.out, [_entry(asked, ours, *one) for one in peers.items()])


def _texts(folder: Path, n: int) -> list[Row]:
    """Token ids and the range of positions that predict the answer, longest text first."""
    from transformers import AutoTokenizer

    from linguamap.benchmarks import load_benchmark
    from linguamap.probes.texts import LensText, encode_texts, lens_prompts
    from linguamap.prompts.scenarios import render_all

    kinds = [load_benchmark(name, LANGUAGES, "train") for name in ("sums", "choice", "passage")]
    prompts = render_all(kinds, LANGUAGES, ["monolingual", "code_mixed"], None, 0)
    texts = [
        LensText(
            prompt.item_id, prompt.item_id, prompt.language, prompt.scenario, prompt.kind,
            prompt.text, "".join(part.text for part in prompt.reference),
        )
        for prompt in lens_prompts(prompts, -(-n // (len(kinds) * len(LANGUAGES))), 0)
    ]  # fmt: skip
    only_tokenizer: Any = SimpleNamespace(tokenizer=AutoTokenizer.from_pretrained(folder))
    found = encode_texts(only_tokenizer, texts)
    chosen = found[:: max(len(found) // n, 1)][:n]
    chosen.sort(key=lambda one: len(one.token_ids), reverse=True)
    return [{"ids": one.token_ids, "first": one.first, "stop": one.stop} for one in chosen]


def _entry(asked: Row, ours: Row, peer: str, theirs: Row) -> Row:
    compared = {}
    if "ids" in theirs:
        pairs = list(zip(_flat(ours["ids"]), _flat(theirs["ids"]), strict=True))
        compared = {
            "rise_ratio": ours["rise"] / max(theirs["rise"], 1),
            "same_ids": sum(a == b for a, b in pairs) / len(pairs),
        }
    return entry(
        f"{len(asked['texts'])} texts, {asked['dtype']}", ours["seconds"], "s",
        peer=peer + theirs.get("version", ""), peer_value=theirs.get("seconds"),
        failed=theirs.get("failed"), threads=asked["threads"], floor_seconds=ours["floor_seconds"],
        floor_share=ours["floor_seconds"] / ours["seconds"], n_layer_positions=ours["n_rows"],
        rise_bytes=ours["rise"], **compared,
    )  # fmt: skip


def _flat(ids: list[list[list[int]]]) -> Iterator[int]:
    return (one for text in ids for layer in text for one in layer)


# In the contender's own process -------------------------------------------------------------


def _linguamap(asked: Row) -> Row:
    import pyarrow as pa
    import torch

    from linguamap.config import ModelConfig
    from linguamap.models.loading import load_model
    from linguamap.probes.layer_reading import by_text, read_texts
    from linguamap.probes.logit_scan import TopTokens
    from linguamap.probes.texts import EncodedText, LensText

    class Ids:
        """Keeps what was read, by text and layer."""

        schema = pa.schema([("none", pa.int32())])

        def __init__(self) -> None:
            self.reader, self.found = TopTokens(), [[] for _ in asked["texts"]]

        def rows(self, batch: list[EncodedText], by_layer: Any) -> list[dict[str, object]]:
            for ids in by_layer.values():
                for text, own in by_text(batch, ids):
                    self.found[int(text.item_id)].append(own[:, 0].tolist())
            return []

    torch.set_num_threads(asked["threads"])
    lm = load_model(ModelConfig(name=asked["folder"], dtype=asked["dtype"], chat="no"))
    encoded = [
        EncodedText(LensText(str(i), "", "", "", "", "", ""), one["ids"], one["first"], one["stop"])
        for i, one in enumerate(asked["texts"])
    ]
    read_texts(lm, encoded[-1:], [Ids()])  # warm
    ids, measure = Ids(), Memory(lm.model)
    started = time.perf_counter()
    read_texts(lm, encoded, [ids], batch_tokens=asked["batch_tokens"])
    run = {"seconds": time.perf_counter() - started, **measure.end()}
    n_positions = sum(one["stop"] - one["first"] for one in asked["texts"])
    n_rows = n_positions * (lm.n_layers + 1)
    return {**run, "ids": ids.found, "n_rows": n_rows, "floor_seconds": _floor(asked, lm, n_rows)}


def _floor(asked: Row, lm: Any, n_rows: int) -> float:
    """Seconds of the head products alone, in full blocks, and of the blocks' forward passes."""
    import torch

    from linguamap.models.batching import right_padded
    from linguamap.probes.logit_scan import BLOCK_ROWS, scan_head

    rows = torch.randn((BLOCK_ROWS, lm.d_model), device=lm.device).to(lm.dtype)
    head = min(_seconds(lambda: scan_head(lm.structure, rows, [])) for _ in range(5))

    def forward() -> None:
        for batch in _batches(asked):
            texts = [asked["texts"][i]["ids"] for i in batch]
            lm.run(*right_padded(texts, lm.tokenizer.pad_token_id or 0))

    return head / BLOCK_ROWS * n_rows + min(_seconds(forward) for _ in range(2))


def _seconds(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def _transformers(asked: Row) -> Row:
    return _plain(asked, rows_first=False)


def _transformers_rows(asked: Row) -> Row:
    return _plain(asked, rows_first=True)


def _plain(asked: Row, *, rows_first: bool) -> Row:
    import torch
    from transformers import AutoModelForCausalLM

    dtype = getattr(torch, asked["dtype"])
    model: Any = AutoModelForCausalLM.from_pretrained(asked["folder"], dtype=dtype).eval()

    def read(batch: list[int]) -> Iterator[Any]:
        ids, mask, rows, places = _padded(asked, batch)
        states = model(input_ids=ids, attention_mask=mask, output_hidden_states=True).hidden_states
        for layer, state in enumerate(states):
            hidden = state[rows, places] if rows_first else state
            if layer < len(states) - 1:  # the last entry is normed already
                hidden = model.model.norm(hidden)
            best = model.lm_head(hidden).argmax(-1)
            yield best if rows_first else best[rows, places]

    return _timed(asked, model, read, _batches(asked))


def _nnterp(asked: Row) -> Row:
    from importlib.metadata import version

    import torch
    from nnterp import StandardizedTransformer
    from nnterp.nnsight_utils import get_layer_output, project_on_vocab

    model = StandardizedTransformer(
        asked["folder"], dtype=getattr(torch, asked["dtype"]), device_map="cpu",
        check_renaming=False, dispatch=True,  # load the weights now, not in the first trace
    )  # fmt: skip

    def read(batch: list[int]) -> Iterator[Any]:
        ids, mask, rows, places = _padded(asked, batch)
        with model.trace({"input_ids": ids, "attention_mask": mask}):
            states = [model.layers_input[0][rows, places]]
            for layer in range(model.num_layers):
                states.append(get_layer_output(model, layer)[rows, places])
            logits = (project_on_vocab(model, h) for h in states)
            probs = torch.stack([one.softmax(-1).cpu() for one in logits]).save()
        for layer_probs in probs:
            yield layer_probs.argmax(-1)

    one_by_one = [[i] for i in range(len(asked["texts"]))]
    return _timed(asked, model._model, read, one_by_one) | {"version": f" {version('nnterp')}"}


def _timed(
    asked: Row, model: Any, read: Callable[[list[int]], Iterator[Any]], batches: list[list[int]]
) -> Row:
    """Read all batches layer by layer, after one text to get warm."""
    import torch

    torch.set_num_threads(asked["threads"])
    texts = asked["texts"]
    found: list[list[list[int]]] = [[] for _ in texts]
    with torch.no_grad():
        for _ in read([len(texts) - 1]):
            pass
        measure = Memory(model)
        started = time.perf_counter()
        for batch in batches:
            for ids in read(batch):
                sizes = [texts[i]["stop"] - texts[i]["first"] for i in batch]
                for i, own in zip(batch, ids.split(sizes), strict=True):
                    found[i].append(own.tolist())
    return {"seconds": time.perf_counter() - started, **measure.end(), "ids": found}


def _batches(asked: Row) -> list[list[int]]:
    """Numbers of texts, longest first, of at most so many padded tokens."""
    texts, batches = asked["texts"], [[]]
    for i in range(len(texts)):
        longest = len(texts[batches[-1][0] if batches[-1] else i]["ids"])
        if (len(batches[-1]) + 1) * longest > asked["batch_tokens"] and batches[-1]:
            batches.append([])
        batches[-1].append(i)
    return batches


def _padded(asked: Row, batch: list[int]) -> tuple[Any, Any, Any, Any]:
    """Right-padded ids and mask, and row and place of each answer position."""
    import torch

    texts = [asked["texts"][i] for i in batch]
    longest = len(texts[0]["ids"])
    ids = torch.tensor([one["ids"] + [0] * (longest - len(one["ids"])) for one in texts])
    mask = torch.tensor([[int(i < len(one["ids"])) for i in range(longest)] for one in texts])
    places = [(row, at) for row, one in enumerate(texts) for at in range(one["first"], one["stop"])]
    rows, columns = torch.tensor(places).T
    return ids, mask, rows, columns


TOOLS = {
    "linguamap": _linguamap, "transformers": _transformers,
    "transformers-rows": _transformers_rows, "nnterp": _nnterp,
}  # fmt: skip

if __name__ == "__main__" and not is_contender(TOOLS):
    main()
