"""What is asked and what is trained on can differ in one run, and never overlap."""

from __future__ import annotations

from pathlib import Path

import pytest

from linguamap.benchmarks import select_subjects
from linguamap.config import RunConfig
from linguamap.prompts.run_prompts import RunItems


def items(**sections: object) -> RunItems:
    return RunItems(RunConfig.model_validate({"languages": ["en", "es"], **sections}))


def test_other_benchmarks_train_than_are_tested() -> None:
    run = items(data={"benchmarks": ["passage"]}, tune={"benchmarks": ["sums", "choice"]})
    assert {prompt.benchmark for prompt in run.test_prompts} == {"passage"}
    assert {prompt.benchmark for prompt in run.train_prompts} == {"sums", "choice"}
    assert {one.split for one in run.training_benchmarks} == {"train"}


def test_by_default_the_same_benchmarks_train() -> None:
    run = items(data={"benchmarks": ["sums"]})
    assert [one.name for one in run.training_benchmarks] == ["sums"]


def test_five_subjects_train_and_all_others_and_mgsm_are_tested(benchmarks_dir: Path) -> None:
    """The paper's protocol: business subjects against the other subjects and another benchmark."""
    trained = [
        "business_ethics",
        "management",
        "marketing",
        "professional_accounting",
        "econometrics",
    ]
    run = items(
        data={"benchmarks": ["mmlu", "mgsm"], "folder": str(benchmarks_dir)},
        tune={"benchmarks": ["mmlu"], "subjects": trained},
    )
    (mmlu,) = run.training_benchmarks
    tested = {one.name: one for one in run.test_benchmarks}
    assert set(tested) == {"mmlu", "mgsm"}
    assert {item.subject for item in mmlu.items["es"]} <= set(trained)
    assert {item.subject for item in tested["mmlu"].items["es"]} <= select_subjects(None) - set(
        trained
    )
    assert not {i.item_id for i in mmlu.items["es"]} & {
        i.item_id for i in tested["mmlu"].items["es"]
    }
    assert "none of which is tested" in mmlu.source


def test_subjects_that_are_tested_too_are_cut_in_two(benchmarks_dir: Path) -> None:
    run = items(
        data={"benchmarks": ["mmlu"], "subjects": ["business"], "folder": str(benchmarks_dir)},
        tune={"subjects": ["marketing"]},
    )
    (mmlu,), (tested,) = run.training_benchmarks, run.test_benchmarks
    ids = {item.item_id for item in mmlu.items["es"]}
    assert ids
    assert not ids & {item.item_id for item in tested.items["es"]}
    assert "train half" in mmlu.source


@pytest.mark.parametrize("name", ["sums", "passage"])
def test_the_control_is_asked_in_another_language_and_never_trained_on(name: str) -> None:
    run = items(
        languages=["en", "fr", "es"],
        scenarios=["monolingual", "other_language"],
        data={"benchmarks": [name]},
        evaluate={"items": 1},
    )
    asked = {p.language: p for p in run.test_prompts if p.scenario == "other_language"}
    plain = {p.language: p for p in run.test_prompts if p.scenario == "monolingual"}
    assert "Langue de la réponse : anglais." in asked["en"].text  # English, asked for in French
    assert "Idioma de la respuesta: francés." in asked["fr"].text
    assert "Langue de la réponse : espagnol." in asked["es"].text
    assert plain["fr"].question in asked["es"].text
    assert set(plain["es"].gold) <= set(asked["es"].gold)
    assert not any(prompt.reference for prompt in asked.values())


def test_the_control_needs_a_second_language() -> None:
    run = items(
        languages=["fr"], scenarios=["monolingual", "other_language"], data={"benchmarks": ["sums"]}
    )
    assert {prompt.scenario for prompt in run.test_prompts} == {"monolingual"}
