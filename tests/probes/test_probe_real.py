"""The probe and locate commands on the real benchmark files: all curves, bands and controls."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from tiny import save_tiny
from typer.testing import CliRunner

from linguamap.cli.app import app
from linguamap.probes.similarity import MEASURES

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny(tmp_path_factory.mktemp("m") / "llama", "llama", max_position_embeddings=8192)


@pytest.mark.parametrize(
    ("benchmark", "languages"), [("xquad", "en,es,ar,hi"), ("mgsm", "en,fr,es,ja")]
)
def test_probe_and_locate(
    benchmark: str, languages: str, model: Path, benchmarks_dir: Path, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    asked = ["--model", str(model), "--data", str(benchmarks_dir), "--benchmark", benchmark]
    settings = ["probe.items=2", "probe.similarity_items=16", "probe.handover_items=2"]
    settings += ["probe.bootstrap=20", "locate.bootstrap=20"]
    sets = [part for setting in settings for part in ("--set", setting)]
    done = CliRunner().invoke(
        app, ["probe", "--out", str(out), *asked, "--languages", languages, *sets]
    )
    assert done.exit_code == 0, done.output
    codes = languages.split(",")
    names = ["lens", "token_set_probability", "similarity"]
    missing = json.loads((out / "probe" / "probe.json").read_text())["missing"]
    assert "lens_outcomes" in missing  # nothing was answered yet
    if benchmark == "mgsm":  # answers that are numbers are in no language
        assert missing.keys() == {"lens_outcomes", "handover"}
    else:
        assert missing.keys() == {"lens_outcomes"}
        names.append("handover")
    tables = {name: pq.read_table(out / "probe" / f"{name}.parquet").to_pylist() for name in names}
    assert {row["target_language"] for row in tables["lens"]} == set(codes)
    assert {row["target_language"] for row in tables["token_set_probability"]} == set(codes)
    assert {row["set_language"] for row in tables["token_set_probability"]} == set(codes)
    assert {row["measure"] for row in tables["similarity"]} == {*MEASURES, "cka"}
    pairs = {(row["language_a"], row["language_b"]) for row in tables["similarity"]}
    assert len(pairs) == 6  # all pairs of four languages
    interventions = {row["intervention"] for row in tables.get("handover", ())}
    assert interventions == (
        {"to_english", "from_english", "skip"} if "handover" in tables else set()
    )
    for name, low in (("lens", "low"), ("token_set_probability", "low"), ("similarity", "low")):
        assert all(row[low] is not None for row in tables[name] if row["layer"] == 4), name
    found = CliRunner().invoke(app, ["locate", "--out", str(out)])
    assert found.exit_code == 0, found.output
    layers = json.loads((out / "layers.json").read_text())
    assert set(layers["evidence"]["languages"]) == set(codes) - {"en"}
    # A random model has no late phase, or one with an interval; never one without either.
    assert (layers["late_start_interval"] is None) == (layers["phases"]["late_start"] is None)
    assert layers["late_start_interval"] or layers["evidence"]["reason"]
