"""What a run is asked: typed and validated; :mod:`linguamap.run.settings` reads it from YAML."""

from __future__ import annotations

import os
import re
from importlib import resources
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from linguamap.records import PAPER_SCENARIOS, Scenario

MOST = 100_000_000
"""The largest count of anything that can be asked for."""
LARGEST_SEED = 2**63 - 1
"""Numbers of units are added to a seed, and PyTorch takes seeds below 2^64."""
BASE_TOKENS, CHAT_TOKENS = 72, 256
"""The longest answer by default: a base model's ends with its line, a chat model works aloud first."""
COOLEST = 0.001
"""The least temperature but 0: logits divided by less leave the range of half precision."""


class Section(BaseModel):
    """A part of the config: unknown keys are refused, values are checked on assignment."""

    model_config = ConfigDict(
        extra="forbid",
        validate_assignment=True,
        allow_inf_nan=False,
        use_attribute_docstrings=True,
    )


def _yes_or_no(value: Any) -> Any:
    """YAML reads a bare ``yes`` or ``no`` as true or false."""
    return {True: "yes", False: "no"}[value] if isinstance(value, bool) else value


def _different(values: list[str]) -> list[str]:
    twice = [one for one in dict.fromkeys(values) if values.count(one) > 1]
    if twice:
        raise ValueError(f"{', '.join(twice)} is named twice; name each once")
    return values


def _absolute(value: str | None) -> str | None:
    """A path on this machine, so that a run goes on from any working directory; other names stay."""
    if value is None or not (Path(value).expanduser().exists() or value.endswith(".jsonl")):
        return value
    return os.path.abspath(Path(value).expanduser())


def _absolute_files(names: list[str] | None) -> list[str] | None:
    if names is None:
        return None
    return [_absolute(name) or name if name.endswith(".jsonl") else name for name in names]


class ModelConfig(Section):
    """Which model, and how it is loaded; everything is passed through to Transformers."""

    name: str = "starter"
    """``starter``, a hub name, a folder or a .gguf file."""
    revision: str | None = None
    """Of the model on the hub."""
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    device_map: str | None = None
    """Where the weights go, e.g. ``auto`` (several GPUs) or ``cuda:1``."""
    attention: Literal["eager", "sdpa", "flash_attention_2"] | None = None
    quantization: Literal["4bit", "8bit"] | None = None
    trust_remote_code: bool = False
    """Whether code that comes with the model may run on this machine."""
    chat: Literal["auto", "yes", "no"] = "auto"
    """Whether prompts go through the chat template; auto: if the tokenizer, or the server, has one."""
    thinking: Literal["auto", "yes", "no"] = "auto"
    """Whether a chat template's thinking is asked for; auto leaves it to the template."""

    _name_absolute = field_validator("name")(_absolute)
    _bare = field_validator("chat", "thinking", mode="before")(_yes_or_no)


class DataConfig(Section):
    """Which items."""

    benchmarks: list[str] = Field(["sums", "choice", "passage"], min_length=1)
    """Of sums, choice, passage (the starter items), mgsm, mmlu, xquad, lcb, or a .jsonl of own items."""
    prompts: str | None = None
    """A .jsonl, .csv or .txt file of own prompts without right answers, in place of benchmarks. Half of
    them, by id, are asked before and after tuning; the other half is for probing and tuning."""
    prompts_language: str | None = None
    """Language that answers are wanted in, where a row of ``prompts`` names none."""
    folder: str | None = None
    """Folder of benchmark files; None takes the hub or the package's own starter items."""
    revision: str | dict[str, str] | None = None
    """On the hub: one for every data set, or by data set (``{mgsm: REV, xquad: REV}``; of MMLU
    ``global_mmlu_lite``, ``global_mmlu``, ``mmmlu`` and ``mmlu``)."""
    subjects: list[str] | None = None
    """Subjects or categories of MMLU; None takes all that ``tune.subjects`` does not name."""
    hold_out: bool = True
    """Cut real benchmarks in two by item group: one half is for probing and tuning,
    the other for evaluation. False evaluates all items; then nothing may be tuned on them."""
    name_language: bool = True
    """Whether the prompt says which language is wanted or only implies it."""

    _paths_absolute = field_validator("folder", "prompts")(_absolute)
    _benchmarks_differ = field_validator("benchmarks")(_different)

    _files_absolute = field_validator("benchmarks")(_absolute_files)


class EvaluateConfig(Section):
    """Generation for the four scenarios."""

    items: int | None = Field(8, ge=1, le=MOST)
    """Test items per cell; None (on the command line ``all``) asks all."""
    max_new_tokens: int | None = Field(None, ge=1, le=MOST)
    """Of an answer; None takes 72 for a base model and 256 for a chat model."""
    options: Literal["auto", "generated", "likelihood"] = "auto"
    """How a choice is read: from the answer's words, or as the option that the model gives the highest
    probability (where all options are in one language). auto: likelihood for a local base model."""
    temperature: float = Field(0.0, ge=0.0, le=100.0)
    stop: list[str] | None = None
    """Strings that end an answer; None takes the end of the line for base models."""
    batch_tokens: int = Field(16384, ge=64, le=MOST)
    """Upper bound of batch x (longest prompt + new tokens)."""
    batch_size: int = Field(48, ge=1, le=MOST)
    endpoint: str | None = None
    """An OpenAI-compatible server's URL; the answers before tuning come from it."""
    endpoint_model: str | None = None
    """The server's name of the model, where it offers several."""
    concurrency: int = Field(8, ge=1, le=1024)
    """Requests to the server at once."""
    timeout: float = Field(120.0, gt=0, le=86_400)

    def answer_tokens(self, is_chat: bool) -> int:
        """Tokens that an answer may have, by what the model is."""
        return self.max_new_tokens or (CHAT_TOKENS if is_chat else BASE_TOKENS)

    def reads_options(self, is_chat: bool) -> bool:
        """Whether a choice is read by likelihood."""
        return self.options == "likelihood" or (self.options == "auto" and not is_chat)

    @field_validator("temperature")
    @classmethod
    def _not_too_cool(cls, value: float) -> float:
        if 0 < value < COOLEST:
            raise ValueError(f"must be 0 (greedy) or at least {COOLEST}")
        return value

    @field_validator("stop")
    @classmethod
    def _stops_at_something(cls, stops: list[str] | None) -> list[str] | None:
        if stops is not None and "" in stops:
            raise ValueError("an empty text would end every answer before it begins; leave it out")
        return stops


class ScoreConfig(Section):
    """How answers are judged."""

    identifier: Literal["lingua", "langdetect", "fasttext"] = "lingua"
    min_letters: int = Field(8, ge=1, le=MOST)
    """Letters of alphabetic script that prose must hold to be identified; a syllabic or
    logographic letter counts three times."""
    f1_threshold: float = Field(0.5, gt=0.0, le=1.0)


class ProbeConfig(Section):
    """The language lens, similarity and handover."""

    items: int = Field(6, ge=2, le=MOST)
    """Training items a kind and language for the lens."""
    similarity_items: int = Field(60, ge=4, le=MOST)
    texts: Literal["auto", "reference", "generated"] = "auto"
    """Which answers are read by the lens; auto takes worked references where items have them."""
    similarity_on: Literal["questions", "prompts"] = "questions"
    """Which translations are laid side by side: bare questions, or whole prompts as the paper does."""
    positions: Literal["all", "last"] = "all"
    top_k: int = Field(1, ge=1, le=1000)
    pooling: Literal["mean", "last"] = "mean"
    fitted_lens: bool = True
    """Also read each layer through an affine map to the last one, fitted on texts that the lens does not read."""
    handover_items: int = Field(12, ge=0, le=MOST)
    """Prompts a language; 0 leaves the handover out."""
    bootstrap: int = Field(1000, ge=10, le=1_000_000)
    confidence: float = Field(0.95, gt=0.5, lt=1.0)


class CompareConfig(Section):
    """What is called a loss, stated before anything is tuned."""

    accuracy_margin: float = Field(0.05, gt=0.0, lt=1.0)
    """Tuning is called harmless to the task if the 95 % interval of the change of accuracy lies above
    minus this margin (non-inferiority)."""


class LocateConfig(Section):
    """The boundary rule and the cap on what is trained."""

    max_trainable_share: float = Field(0.05, gt=0.0, le=1.0)
    bootstrap: int = Field(1000, ge=10, le=1_000_000)


class ChooseConfig(Section):
    """Which blocks are tuned, see :mod:`linguamap.tuning.choosing.choose`."""

    rule: Literal[
        "lens", "handover", "gradient", "gradient_product", "gradient_sign", "step", "trial", "lora",
        "last", "middle", "random",
    ] = "lens"  # fmt: skip
    """``lens`` takes the last blocks from the located boundary on; the others are for comparison until a
    study has shown one to be better."""
    aim: Literal["quality", "cost"] = "quality"
    """quality takes the most predicted gain under the cap, cost the most gain a predicted second."""
    examples: int = Field(32, ge=2, le=MOST)
    """Training examples that gradients are made of, a tenth of all at most; and that trials are judged by."""


PLACED = re.compile(r"(first|middle|last|random):[0-9]+")


class TuneConfig(Section):
    """Selective tuning and its rivals."""

    method: Literal["selective", "full", "lora", "steer", "few_shot"] = "selective"
    """selective, full, lora, or without training steer, few-shot; or blocks, as first:2. ``steer`` and ``few_shot`` train nothing; ``first:2``, ``middle:2``, ``last:2`` and ``random:2`` are
    read as selective, with these layers."""
    layers: str | None = None
    """None takes layers.json; else ``last:2``, ``first:2``, ``middle:2``, ``random:2`` or ``17,18``."""
    benchmarks: list[str] | None = None
    """Benchmarks whose training items are tuned and probed on; None takes those of ``data``."""
    subjects: list[str] | None = None
    """Subjects or categories of MMLU to tune on; None takes those of ``data``. Where nothing of
    them is tested, all of its items train, not a half."""
    data: str | None = None
    """Training examples; None takes the run's training items. ``gsm_symbolic`` (in ``data.folder``), a
    folder in its form, or a .jsonl file in one of the two forms of :mod:`linguamap.tuning.data.user_texts`."""
    examples: int | None = Field(800, ge=1, le=MOST)
    tasks: bool = True
    """False leaves out every example with a task to solve, so that only the language is trained; of
    the run's own items their texts are then continued, see :mod:`linguamap.tuning.data.gather`."""
    teacher: str | None = None
    """URL of an OpenAI-compatible server whose model writes the reasoning of the training items."""
    teacher_model: str | None = None
    """The teacher server's name of the model, where it offers several."""
    teacher_tokens: int = Field(1024, ge=1, le=MOST)
    """The longest answer of the teacher, in its own tokens."""
    strength: float | None = Field(None, gt=0.0)
    """steer: what the language vectors are multiplied by; None chooses it on validation items, by the
    loss of the answers' first tokens."""
    shots: int = Field(4, ge=1, le=1000)
    """few_shot: worked examples in front of a prompt."""
    loss_on: Literal["QRA", "RA"] = "RA"
    """Parts whose tokens are trained on. The paper counts Q too; that multiplies the costly head
    products by the question's length and teaches to write questions."""
    epochs: int = Field(2, ge=1, le=10_000)
    learning_rate: float = Field(1.5e-4, gt=0.0, le=100.0)
    schedule: Literal["one_cycle", "cosine", "constant"] = "one_cycle"
    weight_decay: float = Field(0.0, ge=0.0, le=100.0)
    batch_size: int = Field(16, ge=1, le=MOST)
    """Examples a forward pass. An optimiser step takes ``batch_size`` x ``accumulation`` examples,
    however many processes share them."""
    accumulation: int = Field(1, ge=1, le=MOST)
    batch_tokens: int | None = Field(None, ge=1, le=MOST)
    """Padded tokens a forward pass: a step's examples are cut into passes of at most so many (an
    example that is longer has its own). The step stays the same; None cuts by ``batch_size``."""
    clip_norm: float | None = Field(1.0, gt=0.0)
    dtype: Literal["auto", "float32", "bfloat16"] = "auto"
    validation_share: float = Field(0.1, ge=0.0, lt=1.0)
    patience: int | None = Field(None, ge=1, le=MOST)
    check_items: int = Field(2, ge=0, le=MOST)
    """Validation examples a language whose teacher-forced language is read after each epoch."""
    best_by: Literal["loss", "consistency"] = "loss"
    """What the kept epoch is best by: validation loss, or teacher-forced consistency."""
    tracker: Literal["none", "tensorboard", "wandb"] = "none"
    cache_gb: float = Field(2.0, ge=0.0, le=1e6)
    """Budget for the frozen blocks' states, in 1e9 bytes; 0 keeps none."""
    cache_on: Literal["disk", "memory"] = "disk"
    """Disk: a file mapped into memory, which outlasts a killed run."""
    seed: int | None = Field(None, ge=0, le=LARGEST_SEED)
    """Of validation split, order and adapters; None takes the run's, which also draws the items."""
    lora_rank: int = Field(8, ge=1, le=65_536)
    train_norm: bool = False
    train_head: Literal["no", "untied"] = "no"

    _data_absolute = field_validator("data")(_absolute)
    _files_absolute = field_validator("benchmarks")(_absolute_files)
    _bare = field_validator("train_head", mode="before")(_yes_or_no)

    @field_validator("method", mode="before")
    @classmethod
    def _either_spelling(cls, value: Any) -> Any:
        return value.replace("-", "_") if isinstance(value, str) else value

    @model_validator(mode="before")
    @classmethod
    def _blocks_as_method(cls, values: Any) -> Any:
        """The method ``first:2`` is selective tuning of these blocks."""
        method = values.get("method") if isinstance(values, dict) else None
        if not isinstance(method, str) or not PLACED.fullmatch(method):
            return values
        if values.get("layers") not in (None, method):
            raise ValueError(
                f"method {method} names blocks, and so does layers {values['layers']}; give the "
                f"method selective, and layers {method}"
            )
        return {**values, "method": "selective", "layers": method}


PRESETS = ("paper",)


def preset_settings(name: str) -> dict[str, Any]:
    """The settings that a preset stands for, as in YAML."""
    path = resources.files("linguamap") / "data" / "presets" / f"{name}.yaml"
    settings: dict[str, Any] = yaml.safe_load(path.read_text(encoding="utf-8"))
    return settings


def merged(below: dict[str, Any], above: dict[str, Any]) -> dict[str, Any]:
    """Two tables of settings in one, section by section; the second wins."""
    both = {**below, **above}
    for name in below.keys() & above.keys():
        if isinstance(below[name], dict) and isinstance(above[name], dict):
            both[name] = merged(below[name], above[name])
    return both


class RunConfig(Section):
    """Everything that a run folder was asked to do."""

    preset: Literal["paper"] | None = None
    """``paper``: the paper's readings where the defaults differ (answers of its own under the lens,
    prompts under similarity, langdetect, loss on Q, R and A, a fifth to validate); other settings win."""
    model: ModelConfig = ModelConfig()
    languages: list[str] = Field(["en", "fr", "es", "ar", "hi", "ja"], min_length=1)
    """Languages that answers are asked for in, as ISO 639-1 codes."""
    scenarios: list[Scenario] = Field(list(PAPER_SCENARIOS), min_length=1)
    """Some of the four, and other_language as a control, see docs/methods/scenarios.md."""
    seed: int = Field(0, ge=0, le=LARGEST_SEED)
    """Of every random choice."""
    data: DataConfig = DataConfig()
    evaluate: EvaluateConfig = EvaluateConfig()
    score: ScoreConfig = ScoreConfig()
    probe: ProbeConfig = ProbeConfig()
    locate: LocateConfig = LocateConfig()
    choose: ChooseConfig = ChooseConfig()
    tune: TuneConfig = TuneConfig()
    compare: CompareConfig = CompareConfig()

    _lists_differ = field_validator("languages", "scenarios")(_different)

    @model_validator(mode="before")
    @classmethod
    def _with_preset(cls, values: Any) -> Any:
        if not isinstance(values, dict) or values.get("preset") not in PRESETS:
            return values
        return merged(preset_settings(values["preset"]), values)
