"""Settings on their way in and out: YAML, ``a.b=value``, what each stage reads, all faults at once."""

from __future__ import annotations

import difflib
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ValidationError

from linguamap.config import PRESETS, RunConfig, merged, preset_settings
from linguamap.outside import LARGEST_SETTINGS, nearest, parse_yaml, read_text, shown
from linguamap.records import UserError

PROBED = (
    "model", "languages", "seed", "data", "probe", "tune.benchmarks", "tune.subjects",
    "evaluate.max_new_tokens", "evaluate.stop",
    "evaluate.batch_tokens", "evaluate.batch_size",
)  # fmt: skip
"""What the probes read: of ``evaluate`` what makes the texts that a model writes for them."""
TAUGHT = ("tune.teacher", "tune.teacher_model", "tune.teacher_tokens")
"""What they read, too, in a run on own prompts: who writes the answers in the language asked for."""

STAGE_SETTINGS: dict[str, tuple[str, ...]] = {
    "before": ("model", "languages", "scenarios", "seed", "data", "evaluate", "score", "tune.subjects"),
    "probe": PROBED,
    "locate": ("seed", "locate"),
    "choose": ("model", "languages", "scenarios", "seed", "data", "choose", "tune.benchmarks", "tune.subjects",
               "tune.data", "tune.examples", "tune.tasks", "tune.teacher", "tune.teacher_model",
               "tune.teacher_tokens", "tune.loss_on", "tune.learning_rate", "tune.validation_share",
               "tune.seed", "tune.dtype", "tune.clip_norm", "tune.batch_size", "locate.max_trainable_share"),
    "tune": ("model", "languages", "scenarios", "seed", "data", "tune",
             "evaluate.items", "evaluate.max_new_tokens"),
    "after": ("model", "languages", "scenarios", "seed", "data", "evaluate", "score", "tune.subjects"),
    "probe_after": PROBED,
    "compare": ("seed", "compare"),
    "report": tuple(RunConfig.model_fields),
}  # fmt: skip
"""The stages of a run in their order, and the sections or single settings that each one reads.

What a stage has from the stages before it is not repeated. The identifier of the probes is
``score.identifier`` all the same: curves keep the one that read them, and say which, so that another
way of scoring answers leaves them as they are. Few-shot prompting draws examples for the evaluated
prompts, hence the two single settings of ``tune``.
"""


HOW_ASKED = ("evaluate.concurrency", "evaluate.timeout")
"""Settings that change no answer."""


def what_is_asked(config: RunConfig) -> dict[str, Any]:
    """A config without what is no part of a run: dotted key -> value.

    Whether a server answers is a part of it; where the server is, is not.
    """
    flat = flatten(config.model_dump())
    asked = {key: value for key, value in flat.items() if key not in HOW_ASKED}
    return {**asked, "evaluate.endpoint": config.evaluate.endpoint is not None}


def settings_of(config: RunConfig, stage: str) -> dict[str, Any]:
    """What a stage reads of a config: dotted key -> value."""
    own = config.data.prompts is not None and STAGE_SETTINGS[stage] is PROBED
    read = (*STAGE_SETTINGS[stage], *(TAUGHT if own else ()))
    return {
        key: value
        for key, value in what_is_asked(config).items()
        if any(key == name or key.startswith(f"{name}.") for name in read)
    }


def load_config(path: Path | None = None, overrides: list[str] | None = None) -> RunConfig:
    """Build a config from defaults, a YAML file and ``a.b=c`` overrides, in that order; a preset
    among the overrides wins over the file.

    Args:
        path: a YAML file; None for the defaults.
        overrides: ``dotted.key=value`` strings; values are read as YAML.
    Raises:
        UserError: unknown keys or bad values; one line that names them all, each unknown key with
            its nearest valid name.
    """
    values: dict[str, Any] = {}
    if path is not None:
        values = _read_yaml(path)
    for name in PRESETS:
        if f"preset={name}" in [one.replace('"', "").replace(" ", "") for one in overrides or []]:
            values = merged(values, preset_settings(name))
    faults: list[str] = []
    for override in overrides or []:
        key, mark, text = override.partition("=")
        if not mark or not key:
            faults.append(f"'{override}' is not of the form a.b=value")
            continue
        try:
            _set(
                values,
                key.strip().split("."),
                parse_yaml(text, f"{key}: the value '{shown(text)}'"),
            )
        except UserError as error:
            faults.append(str(error))
    try:
        config = RunConfig.model_validate(values)
    except ValidationError as error:
        faults.extend(_describe(fault) for fault in error.errors())
    if faults:
        raise UserError("config: " + "; ".join(faults))
    return config


def dump_config(config: RunConfig) -> str:
    """The config as YAML, complete with defaults."""
    return yaml.safe_dump(config.model_dump(), sort_keys=False, allow_unicode=True)


def difference(old: RunConfig, new: RunConfig) -> list[str]:
    """Dotted keys whose values differ, each as ``key: old -> new``."""
    before, after = flatten(old.model_dump()), flatten(new.model_dump())
    return [
        f"{key}: {before[key]!r} -> {after[key]!r}" for key in before if before[key] != after[key]
    ]


def _read_yaml(path: Path) -> dict[str, Any]:
    if not path.exists():
        raise UserError(f"config: {path} does not exist; give an existing YAML file{nearest(path)}")
    values = parse_yaml(read_text(path, LARGEST_SETTINGS), f"config: {path}")
    if values is None:
        return {}
    if not isinstance(values, dict):
        raise UserError(f"config: {path} holds a {type(values).__name__}, not a table of keys")
    return values


def _set(values: dict[str, Any], keys: list[str], value: Any) -> None:
    for key in keys[:-1]:
        inner = values.setdefault(key, {})
        if not isinstance(inner, dict):
            raise UserError(f"{'.'.join(keys)}: '{key}' holds a value, not a section")
        values = inner
    values[keys[-1]] = value


def _describe(fault: Any) -> str:
    location = [str(part) for part in fault["loc"]]
    name = ".".join(location)
    if fault["type"] == "extra_forbidden":
        known = _keys_at(location[:-1])
        near = difflib.get_close_matches(location[-1], known, n=1)
        hint = f"; did you mean '{near[0]}'?" if near else "."
        return f"{name}: unknown key{hint} Known here: {', '.join(known)}"
    found = fault.get("input")
    if fault["type"] == "model_type":
        return f"{name}: is a section; give {name}.KEY=value (found {_quoted(found)})"
    text = fault["msg"].removeprefix("Value error, ")
    return f"{name}: {text}" + ("" if isinstance(found, dict) else f" (found {_quoted(found)})")


def _quoted(found: Any) -> str:
    return f"'{shown(found)}'" if isinstance(found, str) else shown(found)


def _keys_at(location: list[str]) -> list[str]:
    section: type[BaseModel] = RunConfig
    for part in location:
        annotation = section.model_fields[part].annotation
        if not (isinstance(annotation, type) and issubclass(annotation, BaseModel)):
            return []
        section = annotation
    return list(section.model_fields)


def flatten(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested settings by their dotted keys."""
    flat: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, dict):
            flat.update(flatten(value, f"{prefix}{key}."))
        else:
            flat[prefix + key] = value
    return flat
