"""Malformed files of every kind: a value, or one line that says what is wrong; never another exception.

``LINGUAMAP_STRESS_EXAMPLES`` says how many inputs each reader gets; few without it.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow
import pytest
from fake_run import write_fake_run
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from stress_figures import count

from linguamap import outside
from linguamap.benchmarks.own import own_items
from linguamap.config import RunConfig
from linguamap.records import Answer, Comparison, IdentifierAccuracy, Summary, UserError
from linguamap.run import files
from linguamap.run.contents import CurveChanges, Grid, Layers, Manifest, StageEntry, Tuning
from linguamap.run.folder import STAGES, open_run
from linguamap.run.read_run import read_run
from linguamap.run.record import RECORD, recorded
from linguamap.run.settings import load_config
from linguamap.tuning.delta import read_delta

pytestmark = pytest.mark.slow

MANY = int(os.environ.get("LINGUAMAP_STRESS_EXAMPLES", "8"))
LONGEST_SECONDS = 20.0

ODD_TEXTS = (
    "", "[" * 10_000, '{"a":' * 5_000, "9" * 5_000, '"\\ud800"', '"\\u0000"', "NaN", "[1e999]", "null", "[]",
    "{}", "true", '{"a": 1, "a": 2}', "\ufeff{}", "a: &x [1]\nb: [*x, *x]", "!!python/object:os.system x",
    "2025-99-99", "epochs: 1e12", "seed: 18446744073709551616", "- - - - -", "a\tb\nc", "\u2028\u0085\x1b[31m",
    '{"rows": ' + "[" * 200 + "]" * 200 + "}", "x" * 1_200_000,
)  # fmt: skip
ODD_BYTES = (
    b"\xff\xfe\x00\x00",
    b"\x00" * 64,
    "é".encode("latin-1"),
    b"PAR1",
    b"PAR1" + b"\x00" * 64 + b"PAR1",
)

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4)
    ),
    max_leaves=12,
)
contents = (
    st.binary(max_size=200)
    | st.sampled_from(ODD_TEXTS).map(lambda text: text.encode("utf-8", "surrogatepass"))
    | st.sampled_from(ODD_BYTES)
    | json_values.map(lambda value: json.dumps(value).encode())
)

READERS: dict[str, Callable[[Path], Any]] = {
    "text": outside.read_text,
    "json": outside.read_json,
    "jsonl": outside.json_rows,
    "csv": lambda path: outside.csv_table(path, ["a"]),
    "parquet": outside.parquet_rows,
    "yaml": lambda path: outside.parse_yaml(outside.read_text(path, outside.LARGEST_SETTINGS), path),
    "config": load_config,
    "own items": lambda path: own_items(path, "test", ["en", "es"]),
    "answers": files.read_answers,
    "growing answers": lambda path: files.read_answers(path, growing=True),
    "rows": files.read_rows,
    "delta": read_delta,
    **{
        kind.__name__: lambda path, kind=kind: files.read_as(kind, path)
        for kind in (Answer, Comparison, CurveChanges, Grid, IdentifierAccuracy, Layers, Manifest,
                     StageEntry, Summary, Tuning)
    },
}  # fmt: skip


def reads_or_refuses(read: Callable[[Path], Any], path: Path) -> None:
    """A value, or one line, soon."""
    count("malformed")
    began = time.monotonic()
    try:
        read(path)
        said = ""
    except UserError as error:
        said = str(error)
        count("refused")
    assert "\n" not in said.strip()
    assert time.monotonic() - began < LONGEST_SECONDS


@pytest.mark.parametrize("reader", READERS)
@settings(
    max_examples=MANY, deadline=None, derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)  # fmt: skip
@given(data=contents)
def test_any_bytes_are_read_or_refused(reader: str, data: bytes, tmp_path: Path) -> None:
    path = tmp_path / "file.jsonl"
    path.write_bytes(data)
    reads_or_refuses(READERS[reader], path)


@settings(
    max_examples=MANY, deadline=None, derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)  # fmt: skip
@given(cut=st.integers(0, 400), place=st.integers(0, 400), value=st.integers(0, 255))
def test_any_cut_or_flipped_table_is_read_or_refused(
    cut: int, place: int, value: int, tmp_path: Path
) -> None:
    path = tmp_path / "t.parquet"
    pyarrow.parquet.write_table(pyarrow.table({"a": ["x", None, "y"]}), path)
    data = bytearray(path.read_bytes())
    data[place % len(data)] = value
    path.write_bytes(data[: len(data) - cut] if cut % 2 else data)
    reads_or_refuses(outside.parquet_rows, path)


# A run folder -------------------------------------------------------------------------------------


def damages(data: bytes, draw: random.Random) -> Iterator[tuple[str, bytes | None]]:
    """What may have become of a file."""
    yield "missing", None
    yield "emptied", b""
    yield "cut", data[: len(data) // 2]
    yield "foreign", b'{"someone": "else"}'
    yield "null", b"null"
    yield "deep", b"[" * 10_000
    yield "digits", b"9" * 5_000
    yield "zeros", bytes(len(data))
    flipped = bytearray(data)
    place = draw.randrange(len(flipped))
    flipped[place] ^= 1 << draw.randrange(8)
    yield "one bit flipped", bytes(flipped)
    if data[:1] == b"{":
        yield "newer", b'{"of_a_later_version": 1, ' + data[1:]


def put(path: Path, data: bytes | None) -> None:
    path.unlink()
    if data is not None:
        path.write_bytes(data)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A made-up run, whose record and stages name every file of it."""
    folder = tmp_path_factory.mktemp("stress") / "run"
    made = write_fake_run(tmp_path_factory.mktemp("made") / "run", items=1, languages=("en", "es"))
    run = open_run(folder, RunConfig(languages=["en", "es"]))
    folders = {"before": "before", "probe": "probe", "tune": "tuned", "after": "after",
               "probe_after": "probe_after", "locate": "layers.json", "compare": "comparison.json"}  # fmt: skip
    for stage in STAGES:
        source = made / folders.get(stage, "-")
        inner = [path for path in source.rglob("*") if path.is_file()] or [source]
        names = [path.relative_to(made).as_posix() for path in inner if path.is_file()]
        for name in names:
            run.path(name)
            shutil.copy(made / name, folder / name)
        run.note(stage, names, 0.0)
    return folder


def test_every_damage_to_every_file_of_a_finished_stage_is_noticed(finished: Path) -> None:
    draw, run = random.Random(1), open_run(finished, None)
    owners = {name: stage for stage, entry in run.stages().items() for name in entry.outputs}
    assert len(owners) > 10
    for name, stage in owners.items():
        path = finished / name
        data = path.read_bytes()
        for kind, damaged in damages(data, draw):
            if damaged == data:
                continue
            put(path, damaged)
            count("malformed")
            assert run.damaged(stage) == [name], (name, kind)
            assert any(name in fault for fault in read_run(finished).faults), (name, kind)
            path.write_bytes(data)
    assert not any(run.damaged(stage) for stage in STAGES)


def test_every_damage_to_a_file_that_no_record_knows_is_read_or_refused(
    finished: Path, tmp_path: Path
) -> None:
    """As before its stage is noted, or after somebody deleted the notes."""
    folder = tmp_path / "r"
    shutil.copytree(finished, folder)
    (folder / "stages.json").unlink()
    draw = random.Random(2)
    names = sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file())
    for name in names:
        path = folder / name
        data = path.read_bytes()
        for _, damaged in damages(data, draw) if data else ():
            put(path, damaged)
            reads_or_refuses(read_run, folder)
            reads_or_refuses(lambda at: open_run(at, None).is_done("before"), folder)
            path.write_bytes(data)


@pytest.mark.parametrize("name", ["config.yaml", "stages.json", "model.json", RECORD])
def test_every_damage_to_the_runs_own_notes_is_one_line_or_told(
    finished: Path, tmp_path: Path, name: str
) -> None:
    folder = tmp_path / "r"
    shutil.copytree(finished, folder)
    (folder / "model.json").write_text('{"weights_sha256": "aa"}')
    path, draw = folder / name, random.Random(3)
    data = path.read_bytes() or b'"before/answers.jsonl"\n'
    for _, damaged in damages(data, draw):
        put(path, damaged) if path.exists() else path.write_bytes(damaged or b"")
        reads_or_refuses(lambda at: [open_run(at, None).is_done(one) for one in STAGES], folder)
        if name == RECORD and path.exists():
            reads_or_refuses(recorded, folder)
        path.write_bytes(data)
