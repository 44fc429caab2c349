"""The same training gives the same bytes, in whatever order a process happens to keep its sets."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import torch
from safetensors import safe_open

from linguamap.run.files import load_tensors, save_tensors

PROGRAM = """
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from tuning_cases import some_examples, tiny_lm

from linguamap.config import ModelConfig, TuneConfig
from linguamap.models.loading import load_model
from linguamap.probes.curves import change_outside
from linguamap.run.files import write_json
from linguamap.tuning.serve import merge
from linguamap.tuning.run_tuning import tune

folder = Path(sys.argv[1])
settings = TuneConfig(epochs=1, batch_size=4, dtype="float32")
tune(tiny_lm(folder / "base", "llama"), some_examples(8), settings, (3, 4), folder / "tuned", seed=0)
base = ModelConfig(name=str(folder / "base"), dtype="float32")
merge(lambda: load_model(base), folder / "tuned" / "delta.safetensors", folder / "merged")
for number, name in enumerate(("before", "after")):
    (folder / name).mkdir()
    languages = ["en", "fr", "es", "ar", "hi", "ja"]
    rows = [
        {"layer": layer, "target_language": language, "word_language": other, "share": share}
        for layer in range(5) for language in languages for place, other in enumerate(languages)
        for share in [((layer * 7 + place * 3 + number * 5) % 11) / 37]
    ]
    pq.write_table(pa.Table.from_pylist(rows), folder / name / "lens.parquet")
write_json(folder / "change.json", change_outside(folder / "before", folder / "after", (3, 4)))
"""
FILES = ("tuned/delta.safetensors", "merged/model.safetensors", "change.json")


def test_two_processes_write_the_same_bytes(tmp_path: Path) -> None:
    """The delta's SHA-256 once differed between equal runs, and so did a last digit of the change."""
    program = tmp_path / "program.py"
    program.write_text(PROGRAM)
    written = []
    for seed in ("1", "2"):
        environment = {
            **os.environ, "PYTHONHASHSEED": seed, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1",
            "PYTHONPATH": os.pathsep.join(sys.path),
        }  # fmt: skip
        folder = tmp_path / seed
        command = [sys.executable, str(program), str(folder)]
        subprocess.run(command, check=True, timeout=300, env=environment)
        written.append([(folder / name).read_bytes() for name in FILES])
    # The base's name, a path of its folder, is told in the delta.
    written[1][0] = written[1][0].replace(
        str(tmp_path / "2").encode(), str(tmp_path / "1").encode()
    )
    for name, first, second in zip(FILES, *written, strict=True):
        assert first == second, name


def test_the_header_is_in_order_and_other_readers_take_it(tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    tensors = {"b": torch.ones(2, 3), "a": torch.arange(4, dtype=torch.bfloat16)}
    facts = {"zz": "1", "é\n\u2028": 'a "quoted" \\ \x01', "aa": json.dumps({"k": [1, 2]})}
    save_tensors(path, tensors, facts)
    raw = path.read_bytes()
    length = int.from_bytes(raw[:8], "little")
    header = json.loads(raw[8 : 8 + length])
    assert list(header["__metadata__"]) == sorted(facts)
    with safe_open(path, framework="pt") as file:
        assert file.metadata() == facts
    found, said = load_tensors(path)
    assert said == facts
    assert found.keys() == tensors.keys()
    for name, tensor in tensors.items():
        assert torch.equal(found[name], tensor)
