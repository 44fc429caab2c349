"""What a model would need, from its config alone: memory, cache size, operations, time.

The model is built on PyTorch's meta device, which holds shapes and no numbers, so that a model of any
size can be planned for on a small machine. Parameters are counted on the modules, operations by
PyTorch's FlopCounterMode, activations by asking autograd what it keeps for the backward pass.
"""

from __future__ import annotations

import json
import math
import textwrap
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from linguamap.records import UserError

HALF, SINGLE = 2, 4
OPTIMISER_BYTES = 3 * SINGLE
"""Float32 weight and AdamW's two moments."""
GRADIENT_BYTES = SINGLE + HALF
"""The float32 sum, and what a backward pass has just made, before it is added."""
SHARE_USED = 0.9
"""Of a device's memory; the rest is for the library's buffers and holes."""
DECODERS = "only causal (decoder-only) language models are planned for"
LINE = 160
"""Characters of another library's error that are shown; some list all that they know."""


@dataclass(frozen=True)
class Work:
    """What is to be done.

    Attributes:
        blocks: trained ones, the last k.
        examples: training and validation examples.
        tokens: a training text's, on average, padding included.
        counted: of them, those trained on.
        pass_tokens: padded tokens in one forward pass (``tune.batch_tokens``).
        texts: texts that the language lens reads, of ``tokens`` tokens.
        prompts, new_tokens: an evaluation's prompts and the longest answer.
        concurrency: prompts answered at once.
    """

    blocks: int = 2
    examples: int = 800
    tokens: int = 256
    counted: int = 64
    epochs: int = 2
    pass_tokens: int = 4096
    texts: int = 216
    prompts: int = 576
    new_tokens: int = 72
    concurrency: int = 64


@dataclass(frozen=True)
class Machine:
    """Devices of one kind.

    Attributes:
        memory: of one, in bytes.
        operations: that one does in a second on large bfloat16 products.
        bandwidth: of its memory, in bytes a second.
    """

    memory: float = 80e9
    operations: float = 4e14
    bandwidth: float = 3.35e12


@dataclass(frozen=True)
class Size:
    """What was counted on a model.

    Attributes:
        parameters: all, tied ones once.
        block: of one block, the largest.
        embedding, head: of the two tables; ``head`` is 0 if it is the embedding's (tied).
        width: of the residual stream.
        vocabulary: rows of the head.
        block_operations: multiplications and additions of one block over one text.
        block_kept: bytes that autograd keeps of one block over one text, in bfloat16.
        key_values: bytes of keys and values of one token in all blocks, in bfloat16.
    """

    name: str
    parameters: int
    n_blocks: int
    block: int
    embedding: int
    head: int
    width: int
    vocabulary: int
    block_operations: int
    block_kept: int
    key_values: int


@dataclass(frozen=True)
class Row:
    """One line of a plan: a quantity, how it comes about, its value."""

    part: str
    what: str
    formula: str
    value: float
    unit: str


def measure(config: Any, name: str, tokens: int) -> Size:
    """Count a model on the meta device.

    Args:
        config: a Transformers config.
        tokens: of the text that operations and activations are counted on.
    """
    whole = _build(config)
    blocks = _blocks(whole)
    short = _build(_shortened(config, 2))
    operations, kept, keys = _watch_blocks(short, tokens)
    embed, head = whole.get_input_embeddings(), whole.get_output_embeddings()
    tied = head.weight is embed.weight
    return Size(
        name=name,
        parameters=sum(parameter.numel() for parameter in whole.parameters()),
        n_blocks=len(blocks),
        block=max(sum(p.numel() for p in block.parameters()) for block in blocks),
        embedding=embed.weight.numel(),
        head=0 if tied else head.weight.numel(),
        width=int(head.weight.shape[1]),
        vocabulary=int(head.weight.shape[0]),
        block_operations=operations,
        block_kept=kept,
        key_values=keys * len(blocks),
    )


def read_config(name: str, revision: str | None = None) -> Any:
    """A Transformers config of ``starter``, a hub name, a model folder or a ``config.json``.

    Raises:
        UserError: not found, not understood, or no causal language model's.
    """
    from huggingface_hub.errors import StrictDataclassError
    from transformers import AutoConfig

    if name == "starter":
        from linguamap.models.starter import starter_folder

        name = str(starter_folder())
    path = Path(name).expanduser()
    try:
        if path.suffix == ".json":
            values = json.loads(path.read_text(encoding="utf-8"))
            if not isinstance(values, dict):
                raise ValueError("it is no JSON object")
            return AutoConfig.for_model(values.pop("model_type"), **values)
        return AutoConfig.from_pretrained(name, **({"revision": revision} if revision else {}))
    except (
        OSError, ValueError, KeyError, TypeError, ZeroDivisionError, StrictDataclassError,
    ) as error:  # fmt: skip
        raise UserError(
            f"plan: no config for {name} ({_line(error)}); give a hub name, a model folder or a config.json"
        ) from None


def plan(size: Size, work: Work, machine: Machine) -> list[Row]:
    """All quantities of the job, in the order in which it is done."""
    if not 1 <= work.blocks <= size.n_blocks:
        raise UserError(
            f"plan: --blocks {work.blocks} is not possible; the model has {size.n_blocks} blocks"
        )
    return [
        *_model_rows(size),
        *_probe_rows(size, work, machine),
        *_selective_rows(size, work, machine),
        *_full_rows(size, work, machine),
        *_answer_rows(size, work, machine),
    ]


def _model_rows(size: Size) -> list[Row]:
    part = "model"
    return [
        Row(part, "parameters P", "counted, tied ones once", size.parameters, ""),
        Row(part, "blocks L", "counted", size.n_blocks, ""),
        Row(part, "parameters a block p", "counted", size.block, ""),
        Row(part, "embedding, rows x width V d", "counted", size.embedding, ""),
        Row(part, "head of its own h", "counted; 0 if tied", size.head, ""),
        Row(part, "weights in bfloat16", "2 P", HALF * size.parameters, "B"),
    ]


def _probe_rows(size: Size, work: Work, machine: Machine) -> list[Row]:
    part = "probe and locate"
    head = 2 * work.counted * size.vocabulary * size.width
    total = work.texts * (size.n_blocks * size.block_operations + (size.n_blocks + 1) * head)
    return [
        Row(part, "operations a block and text f", "counted", size.block_operations, "op"),
        Row(part, "operations", "texts (L f + (L + 1) 2 C V d)", total, "op"),
        Row(part, "time, 1 device", "operations / speed", total / machine.operations, "s"),
    ]


def _selective_rows(size: Size, work: Work, machine: Machine) -> list[Row]:
    part = f"selective, last {work.blocks}"
    k, below = work.blocks, size.n_blocks - work.blocks
    trained = k * size.block
    cache = work.examples * work.tokens * size.width * HALF
    texts = max(1, work.pass_tokens // work.tokens)
    kept = k * size.block_kept * texts
    held = HALF * (size.parameters - below * size.block)
    training = held + (OPTIMISER_BYTES + GRADIENT_BYTES) * trained + kept
    build = work.examples * below * size.block_operations
    head = 4 * work.counted * size.vocabulary * size.width
    epoch = work.examples * ((3 * k - 1) * size.block_operations + head)
    speed = machine.operations
    return [
        Row(part, "trained parameters t", "k p", trained, ""),
        Row(part, "trained share", "t / P", trained / size.parameters, "share"),
        Row(part, "boundary states (cache)", "examples tokens d 2", cache, "B"),
        Row(part, "memory while building", "2 P", HALF * size.parameters, "B"),
        Row(part, "weights held in training", "2 (P - (L - k) p)", held, "B"),
        Row(part, "master weights, moments, gradients", "(4 + 8 + 4 + 2) t", 18 * trained, "B"),
        Row(part, "activations of a pass", "k x kept a text x texts a pass", kept, "B"),
        Row(part, "memory in training", "sum of the three", training, "B"),
        Row(part, "devices by memory", "", _fitting(training, HALF * size.parameters, machine), ""),
        Row(part, "operations, building", "examples (L - k) f", build, "op"),
        Row(part, "operations, an epoch", "examples ((3 k - 1) f + 4 C V d)", epoch, "op"),
        Row(part, "time, building, 1 device", "operations / speed", build / speed, "s"),
        Row(part, "time, an epoch, 1 device", "operations / speed", epoch / speed, "s"),
        Row(
            part, "time, all epochs with building", "building + E epochs",
            (build + work.epochs * epoch) / speed, "s",
        ),
    ]  # fmt: skip


def _fitting(training: float, weights: float, machine: Machine) -> int:
    """1 if both the build and the training fit one device, else how many the weights need."""
    return math.ceil(max(training, weights) / (SHARE_USED * machine.memory))


def _full_rows(size: Size, work: Work, machine: Machine) -> list[Row]:
    part = "full, sharded"
    n, memory = sharded_devices(size, work, machine)
    head = 6 * work.counted * size.vocabulary * size.width
    epoch = work.examples * (3 * size.n_blocks * size.block_operations + head)
    together = _gathered(size)
    texts = _texts_a_pass(size, work, machine)
    kept = size.n_blocks * size.block_kept * texts
    state = (OPTIMISER_BYTES + SINGLE) * size.parameters
    return [
        Row(part, "slices over all devices", "(4 + 8 + 4) P", state, "B"),
        Row(part, "put together at a time", "2 (2 (V d + h) + 3 p)", together, "B"),
        Row(part, "texts a pass", "as many as keep a quarter of a device", texts, ""),
        Row(part, "activations of a pass", "L x kept a text x texts a pass", kept, "B"),
        Row(part, "devices n", "smallest power of 2 that fits", n, ""),
        Row(part, "memory a device", "slices / n + the other two", memory, "B"),
        Row(part, "operations, an epoch", "examples (3 L f + 6 C V d)", epoch, "op"),
        Row(part, "time, an epoch, n devices", "operations / (n speed)", epoch / n / machine.operations, "s"),
        Row(part, "checkpoint on disk", "12 P", OPTIMISER_BYTES * size.parameters, "B"),
    ]  # fmt: skip


def sharded_devices(size: Size, work: Work, machine: Machine) -> tuple[int, float]:
    """How many devices full tuning needs (a power of 2), and the bytes on each."""
    texts = _texts_a_pass(size, work, machine)
    fixed = _gathered(size) + size.n_blocks * size.block_kept * texts
    if fixed > SHARE_USED * machine.memory:
        raise UserError(
            f"plan: whole blocks and the activations of one text of {work.tokens} tokens take "
            f"{fixed / 1e9:.0f} GB, more than a device has; give a smaller --tokens"
        )
    n = 1
    while _sharded(size, fixed, n) > SHARE_USED * machine.memory:
        n *= 2
    return n, _sharded(size, fixed, n)


def _texts_a_pass(size: Size, work: Work, machine: Machine) -> int:
    room = machine.memory / 4
    fitting = int(room // (size.n_blocks * size.block_kept))
    return max(1, min(fitting, work.pass_tokens // work.tokens))


def _sharded(size: Size, fixed: float, n: int) -> float:
    return (OPTIMISER_BYTES + SINGLE) * size.parameters / n + fixed


def _gathered(size: Size) -> float:
    """Whole tensors in bfloat16: embedding and head with their gradients; two blocks (one is sent
    while the other runs) and the gradients of one."""
    return HALF * (2 * (size.embedding + size.head) + 3 * size.block)


def _answer_rows(size: Size, work: Work, machine: Machine) -> list[Row]:
    part = "answers (vLLM)"
    tokens = work.tokens + work.new_tokens
    waves = math.ceil(work.prompts / work.concurrency)
    reading = 2 * size.parameters * work.prompts * work.tokens / machine.operations
    writing = waves * work.new_tokens * HALF * size.parameters / machine.bandwidth
    return [
        Row(part, "keys and values a token", "counted", size.key_values, "B"),
        Row(part, "memory", "2 P + prompts at once x tokens x keys and values",
            HALF * size.parameters + work.concurrency * tokens * size.key_values, "B"),
        Row(part, "time at least", "2 P prompts tokens / speed + waves new 2 P / bandwidth",
            reading + writing, "s"),
    ]  # fmt: skip


def _build(config: Any) -> Any:
    from transformers import AutoModelForCausalLM

    build: Any = AutoModelForCausalLM.from_config
    if getattr(config, "is_encoder_decoder", False):
        raise UserError(f"plan: the model ({config.model_type}) is an encoder-decoder; {DECODERS}")
    try:
        with torch.device("meta"):
            model: Any = build(config, dtype=torch.bfloat16)
    except (ValueError, RuntimeError) as error:  # a class without a head, sizes that do not fit
        raise UserError(f"plan: the config makes no model ({_line(error)}); {DECODERS}") from None
    model.tie_weights()
    return model.eval()


def _line(error: Exception) -> str:
    """What another library says, on one line; its second one where the first only announces it."""
    lines = (str(error).strip() or type(error).__name__).splitlines()
    text = " ".join(lines[:2]) if lines[0].endswith(":") else lines[0]
    return textwrap.shorten(text.rstrip(". "), LINE, placeholder=" ...")


def _shortened(config: Any, n_blocks: int) -> Any:
    """The same config with fewer blocks."""
    values = config.to_dict()
    names = ("num_hidden_layers", "n_layer", "num_layers", "n_layers")
    name = next((name for name in names if name in values), None)
    if name is None:
        raise UserError(f"plan: the config ({config.model_type}) gives no blocks; {DECODERS}")
    if isinstance(values.get("layer_types"), list):
        values["layer_types"] = values["layer_types"][:n_blocks]
    # With a padding token some models look for padding, and there are no numbers to look at.
    return type(config)(**{**values, name: n_blocks, "pad_token_id": None})


NO_KEYS = "plan: the last block keeps no keys and values; only transformers are planned for"


def _blocks(model: nn.Module) -> nn.ModuleList:
    lists = [one for one in model.modules() if isinstance(one, nn.ModuleList) and len(one)]
    if not lists:
        raise UserError("plan: the model has no list of blocks; only transformers are planned for")
    return max(lists, key=lambda found: sum(p.numel() for p in found.parameters()))


def _watch_blocks(model: Any, tokens: int) -> tuple[int, int, int]:
    """Operations, bytes kept for the backward pass, and bytes of keys and values a token, of the
    last block over one text."""
    from torch.utils.flop_counter import FlopCounterMode

    kept: dict[int, int] = {}
    watching = [False]
    own = {id(parameter) for parameter in model.parameters()}

    def note(tensor: Tensor) -> Tensor:
        base = tensor if tensor._base is None else tensor._base
        if watching[0] and id(base) not in own and not isinstance(tensor, nn.Parameter):
            storage = base.untyped_storage()
            kept[storage._cdata] = storage.nbytes()
            alive.append(base)  # or its number would be given to another
        return tensor

    alive: list[Tensor] = []
    block = _blocks(model)[-1]
    path = next(name for name, module in model.named_modules() if module is block)
    handles = [
        block.register_forward_pre_hook(lambda *_: watching.__setitem__(0, True)),
        block.register_forward_hook(lambda *_: watching.__setitem__(0, False)),
    ]
    ids = torch.zeros((1, tokens), dtype=torch.long, device="meta")
    counter: Any = FlopCounterMode(display=False)
    with counter, torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        # An all-ones mask would be looked at, and there is nothing in it to look at.
        try:
            cache = getattr(model(input_ids=ids, use_cache=True), "past_key_values", None)
        except ValueError as error:  # hybrids whose shortened copy has no attention
            raise UserError(f"{NO_KEYS} ({error})") from None
    for handle in handles:
        handle.remove()
    counts = counter.get_flop_counts()
    name = next(name for name in counts if name.endswith(path))
    layers = getattr(cache, "layers", [])
    states = [getattr(layers[-1], name, None) for name in ("keys", "values")] if layers else []
    held = [one.numel() * one.element_size() for one in states if one is not None]
    if len(held) < 2:
        raise UserError(NO_KEYS)
    keys = sum(held)
    return sum(counts[name].values()), sum(kept.values()), keys // tokens


def shown(row: Row) -> str:
    """A row's value with three or four digits and its unit."""
    if row.unit == "share":
        return f"{100 * row.value:.2f} %"
    if row.unit == "s":
        return f"{row.value:.1f} s" if row.value < 120 else f"{row.value / 60:.0f} min"
    scales = {"B": ((1e12, "TB"), (1e9, "GB"), (1e6, "MB"), (1e3, "kB"))}
    for scale, name in scales.get(row.unit, ((1e15, "e15"), (1e12, "e12"), (1e9, "e9"))):
        if row.value >= scale:
            gap = " " if row.unit == "B" else ""
            return f"{row.value / scale:.4g}{gap}{name}"
    return f"{row.value:,.0f}"
