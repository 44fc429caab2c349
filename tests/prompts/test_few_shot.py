"""Few-shot prompting: the right examples, in front, the same every time."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
from tuning_cases import some_prompts, tiny_lm

from linguamap.benchmarks import load_benchmark
from linguamap.config import RunConfig, TuneConfig
from linguamap.generation.encoding import encode, render_chat
from linguamap.models.chat_template import without_system
from linguamap.prompts.sampling import with_shots
from linguamap.prompts.scenarios import render_all
from linguamap.records import Part, Prompt, UserError
from linguamap.run.settings import load_config
from linguamap.tuning.delta import read_delta
from linguamap.tuning.serve import merge
from linguamap.tuning.untrained import few_shot

LANGUAGES = ["en", "es", "hi"]


def _rendered(split: str, name: str = "choice") -> list[Prompt]:
    benchmark = load_benchmark(name, LANGUAGES, split)  # type: ignore[arg-type]
    scenarios = RunConfig().scenarios
    return render_all(benchmark, LANGUAGES, scenarios, 3 if split == "test" else None)


@pytest.mark.parametrize("name", ["sums", "choice", "passage"])
def test_examples_are_of_the_same_cell_and_no_test_item(name: str) -> None:
    test, train = _rendered("test", name), _rendered("train", name)
    tested = {prompt.item_id for prompt in test}
    for before, after in zip(test, with_shots(test, train, 4, seed=0), strict=True):
        assert after.prompt_id == before.prompt_id
        assert dataclasses.replace(after, shots=()) == before
        assert len({shot.item_id for shot in after.shots}) == 4
        for shot in after.shots:
            assert (shot.language, shot.kind) == (before.language, before.kind)
            assert shot.scenario == (before.coincides_with or before.scenario)
            assert shot.item_id not in tested
            assert shot.reference


def test_the_draw_is_the_seeds_and_the_same_in_every_language() -> None:
    test, train = _rendered("test"), _rendered("train")

    def items(seed: int, k: int = 4) -> dict[tuple[str, str], list[str]]:
        return {
            (p.item_id, f"{p.language}/{p.scenario}"): [shot.item_id for shot in p.shots]
            for p in with_shots(test, train, k, seed)
        }

    first = items(0)
    assert items(0) == first
    assert items(1) != first
    assert items(0, 2) == {key: shots[:2] for key, shots in first.items()}
    # every prompt of a cell has the same beginning, and so have all cells but for their language
    assert len({tuple(shots) for shots in first.values()}) == 1


def test_what_is_too_near_gives_way_to_the_next() -> None:
    first, second, third, asked = some_prompts(4)[::2]
    (usual,) = with_shots([asked], [first, second, third], 2, seed=0)
    place = usual.shots[0]
    rest = [one for one in (first, second, third) if one is not place]
    near = dataclasses.replace(asked, group="g")
    (other,) = with_shots([near], [dataclasses.replace(place, group="g"), *rest], 2, seed=0)
    assert other.shots[0] is usual.shots[1]
    assert set(other.shots) == set(rest)


def test_text_is_the_examples_and_then_the_prompt() -> None:
    asked, shot = some_prompts(2)[0], some_prompts(2)[2]
    (prompt,) = with_shots([asked], [shot], 4, seed=0)
    assert prompt.text == (
        "Responde en español.\nCuenta las manzanas.\n\nPregunta: Ana 1 + 2?\nRespuesta: 1 y 2. = 3\n\n"
        "Responde en español.\nCuenta las manzanas.\n\nPregunta: Ana 0 + 1?\nRespuesta:"
    )
    assert sum(size for _, size in prompt.named_parts) == len(prompt.text)
    assert prompt.named_parts[0][0] == "examples"
    assert prompt.question == "Ana 0 + 1?"


def test_chat_models_get_earlier_turns() -> None:
    asked, shot = some_prompts(2)[0], some_prompts(2)[2]
    (prompt,) = with_shots([asked], [shot], 4, seed=0)
    messages = render_chat(prompt)
    assert messages == [
        {"role": "system", "content": "Responde en español."},
        {"role": "user", "content": "Cuenta las manzanas.\n\nPregunta: Ana 1 + 2?"},
        {"role": "assistant", "content": "1 y 2. = 3"},
        {"role": "user", "content": "Cuenta las manzanas.\n\nPregunta: Ana 0 + 1?"},
    ]
    merged = without_system(messages)
    assert [message["role"] for message in merged] == ["user", "assistant", "user"]
    assert merged[0]["content"].startswith("Responde en español.\nCuenta")
    assert render_chat(asked) == [messages[0], messages[3]]


def test_own_item_group_and_question_are_no_example() -> None:
    asked = some_prompts(1)[0]
    near = dataclasses.replace(some_prompts(2)[2], group="g")
    same_question = dataclasses.replace(asked, item_id="other", benchmark="else")
    with pytest.raises(UserError, match="no training item for es, sums, monolingual"):
        with_shots([asked], [asked], 2, seed=0)
    with pytest.raises(UserError, match="no training item for es"):
        with_shots([dataclasses.replace(asked, group="g")], [near], 2, seed=0)
    with pytest.raises(UserError, match="no training item for es"):
        with_shots([asked], [same_question], 2, seed=0)
    (prompt,) = with_shots([asked], [near, same_question], 4, seed=0)
    assert prompt.shots == (near,)  # fewer where there are fewer


def test_examples_without_an_answer_are_none() -> None:
    asked, shot = some_prompts(2)[0], some_prompts(2)[2]
    bare = dataclasses.replace(shot, reference=())
    coinciding = dataclasses.replace(shot, coincides_with="monolingual")
    with pytest.raises(UserError, match="has worked reasoning; add a benchmark"):
        with_shots([asked], [bare, coinciding], 2, seed=0)


def test_it_trains_nothing_and_says_so(tmp_path: Path) -> None:
    lm = tiny_lm(tmp_path / "base", "llama")
    prompts = with_shots(some_prompts(1), some_prompts(4)[2:], 2, seed=0)
    config = RunConfig(tune=TuneConfig(method="few_shot", shots=2))
    config.evaluate.max_new_tokens = 8
    lm.model.config.max_position_embeddings = 64
    with pytest.raises(
        UserError, match=r"takes \d+ tokens .*, the model reads 64; it holds 2 examples"
    ):
        few_shot(lm, prompts, config, tmp_path / "tuned")
    lm.model.config.max_position_embeddings = 4096
    tuning = few_shot(lm, prompts, config, tmp_path / "tuned")
    assert (tuning["trainable_parameters"], tuning["trainable_share"]) == (0, 0.0)
    assert (tuning["layers"], tuning["epochs"], tuning["train_loss"]) == ([], 0, [])
    assert (tuning["shots"], tuning["fewest_shots"]) == (2, 2)
    longest = max(len(one.token_ids) for one in encode(lm, prompts))
    assert tuning["longest_prompt_tokens"] == longest
    delta = read_delta(tmp_path / "tuned" / "delta.safetensors")
    assert (delta.method, delta.tensors, delta.layers) == ("few_shot", {}, ())
    with pytest.raises(UserError, match="of the method few_shot, which changes no weight"):
        merge(lambda: lm, tmp_path / "tuned" / "delta.safetensors", tmp_path / "merged")


def test_either_spelling() -> None:
    assert load_config(None, ["tune.method=few-shot"]).tune.method == "few_shot"
    assert load_config(None, ["tune.method=few_shot"]).tune.method == "few_shot"
    with pytest.raises(UserError, match=r"tune.method: Input should be .* \(found 'few_shots'\)"):
        load_config(None, ["tune.method=few-shots"])


def test_a_passage_prompt_is_judged_by_its_own_passage() -> None:
    """Worked examples are text in front; what the answer is judged by stays the prompt's own."""
    test, train = _rendered("test", "passage"), _rendered("train", "passage")
    for prompt in with_shots(test, train, 2, seed=0):
        assert prompt.passage is not None
        assert Part("Q", f"{prompt.passage}\n") in prompt.parts
        assert prompt.text.endswith("".join(part.text for part in prompt.parts))
