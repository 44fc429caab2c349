"""Where does the main job's time go? By stage, and by kind of work.

    python bench/main_job.py                      # make run, on the starter model
    python bench/main_job.py --config FILE.yaml   # a run's settings, for a smaller job

The run is linguamap's own pipeline; functions are wrapped from outside, and each second is counted for the
innermost wrapped function that is at work. ``handover`` and ``token grids`` are told whole, as well.

    prefill     prompts read by the decoder          decode    one more token for all rows
    options     choices read by likelihood
    blocks      forward passes of the probes         head      vocabulary products, in every stage
    identifier  the language of words and answers    loading   weights, and the self-check
    build       states kept for training             training  epochs, without the head
    drawing     the page and its charts              rest      everything else
"""

from __future__ import annotations

import argparse
import functools
import importlib
import os
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from children import Row, write_entries
from results import entry

WRAPPED = {
    "loading": ["models.loading:load_model", "tuning.delta:apply_delta"],
    "prefill": ["generation.decoder:RowReader.read"],
    "options": ["generation.local:OptionReader.scores"],
    "decode": ["generation.decoder:RowReader.step"],
    "head": [
        "probes.logit_scan:scan_head", "models.language_model:LanguageModel.project",
        "tuning.training.loss:tiled_cross_entropy",
    ],
    "identifier": [
        "scoring.language_id:Lingua.identify", "scoring.language_id:Lingua.identify_words",
    ],
    "build": ["tuning.training.activation_cache:ActivationCache.build"],
    "training": ["tuning.training.trainer:Trainer.run"],
    "drawing": ["report.run_page:write_all"],
}  # fmt: skip
"""Kind of work -> module:function or module:Class.method within linguamap."""
WHOLE = {
    "handover": "probes.run_probes:_Probe.hand_over",
    "token grids": "probes.token_grid:write_grids",
    "lens": "probes.run_probes:_Probe.read_layers",
}
KINDS = (*WRAPPED, "blocks", "rest")
STAGES = (
    "before", "probe", "locate", "choose", "tune", "after", "probe_after", "compare", "report",
)  # fmt: skip


class Clock:
    """Seconds by stage and kind of work, each counted once."""

    def __init__(self) -> None:
        self.seconds: Counter[tuple[str, str]] = Counter()
        self.whole: dict[str, list[float]] = {}
        self.stage, self.stack, self.since = "", ["rest"], time.perf_counter()

    def enter(self, kind: str) -> None:
        self._count()
        self.stack.append(kind)

    def enter_blocks(self) -> None:
        """A forward pass is part of what it is made for, and a kind of its own where nothing says for what."""
        self.enter("blocks" if self.stack[-1] == "rest" else self.stack[-1])

    def leave(self) -> None:
        self._count()
        self.stack.pop()

    def _count(self) -> None:
        now = time.perf_counter()
        self.seconds[self.stage, self.stack[-1]] += now - self.since
        self.since = now

    def counted(self, kind: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
        """Count calls of a function as this kind of work."""

        def wrap(function: Callable[..., Any]) -> Callable[..., Any]:
            @functools.wraps(function)
            def call(*args: Any, **options: Any) -> Any:
                self.enter(kind)
                try:
                    return function(*args, **options)
                finally:
                    self.leave()

            return call

        return wrap

    def timed(self, name: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
        """Tell what each call of a function took from its beginning to its end."""

        def wrap(function: Callable[..., Any]) -> Callable[..., Any]:
            @functools.wraps(function)
            def call(*args: Any, **options: Any) -> Any:
                started = time.perf_counter()
                try:
                    return function(*args, **options)
                finally:
                    self.whole.setdefault(name, []).append(time.perf_counter() - started)

            return call

        return wrap

    def staged(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """Note the stage that is at work; the first argument after self is its name."""

        @functools.wraps(function)
        def call(pipeline: Any, name: str, *args: Any) -> Any:
            self._count()
            self.stage = name
            function(pipeline, name, *args)
            self._count()

        return call


def replace(where: str, wrap: Callable[[Callable[..., Any]], Callable[..., Any]]) -> None:
    """Put the wrapped function in place of it wherever linguamap's modules name it."""
    module_name, path = where.split(":")
    module = importlib.import_module(f"linguamap.{module_name}")
    *owners, name = path.split(".")
    owner = functools.reduce(getattr, owners, module)
    before = getattr(owner, name)
    after = wrap(before)
    setattr(owner, name, after)
    if owner is module:
        for other in [one for key, one in sys.modules.items() if key.startswith("linguamap")]:
            if getattr(other, name, None) is before:
                setattr(other, name, after)


def wrap_all(clock: Clock) -> None:
    """Wrap what is measured, and hook each loaded model's blocks and head."""
    import linguamap.pipeline
    import linguamap.report.run_page
    import linguamap.tuning.run_tuning  # noqa: F401  all that names a wrapped function is loaded now

    for kind, places in WRAPPED.items():
        for where in places:
            replace(where, clock.counted(kind))
    for name, where in WHOLE.items():
        replace(where, clock.timed(name))
    replace("pipeline:Pipeline._stage", clock.staged)
    replace("models.loading:load_model", lambda load: _with_hooks(load, clock))


def _with_hooks(load: Callable[..., Any], clock: Clock) -> Callable[..., Any]:
    """Loading, after which calls of the model's blocks and head are counted."""
    head = functools.partial(clock.enter, "head")

    @functools.wraps(load)
    def call(*args: Any, **options: Any) -> Any:
        lm = load(*args, **options)
        for module, enter in ((lm.structure.trunk, clock.enter_blocks), (lm.structure.head, head)):
            module.register_forward_pre_hook(lambda *_, enter=enter: enter())
            module.register_forward_hook(lambda *_: clock.leave(), always_call=True)
        return lm

    return call


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--config", type=Path, help="a run's settings; the default is make run's")
    parser.add_argument("--model", help="other than the config's")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--out", help="file for the entries")
    options = parser.parse_args()
    started = time.perf_counter()
    import torch

    from linguamap.pipeline import Pipeline
    from linguamap.progress import silent
    from linguamap.run.folder import open_run
    from linguamap.run.memory import trimming
    from linguamap.run.settings import load_config

    torch.set_num_threads(options.threads)
    config = load_config(options.config, [f"model.name={options.model}"] if options.model else [])
    clock = Clock()
    wrap_all(clock)
    imported = time.perf_counter() - started
    with tempfile.TemporaryDirectory() as folder:
        run = open_run(Path(folder) / "run", config, writes=True)
        pipeline = Pipeline(run, trimming(silent))
        n_prompts = len(pipeline.items.test_prompts)
        pipeline.all()
    total = time.perf_counter() - started
    write_entries(options.out, _entries(clock, total, imported, n_prompts, options.threads))


def _entries(
    clock: Clock, total: float, imported: float, n_prompts: int, threads: int
) -> list[Row]:
    stages = {
        stage: {kind: clock.seconds[stage, kind] for kind in KINDS if clock.seconds[stage, kind]}
        for stage in STAGES
    }
    rows = [
        entry("whole", total, "s", threads=threads, n_prompts=n_prompts, imports=imported),
        *(entry(one, sum(kinds.values()), "s", threads=threads, **kinds) for one, kinds in stages.items()),
    ]  # fmt: skip
    for name, (first, *more) in clock.whole.items():
        rows.append(entry(name, first, "s", threads=threads, again=more[0] if more else None))
    return rows


if __name__ == "__main__":
    main()
