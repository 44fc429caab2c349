"""``import linguamap as lm``: what a notebook gets in a few lines, on a tiny model."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from fake_run import write_fake_run
from tiny import save_tiny, tiny_model, tiny_tokenizer

import linguamap as lm
from linguamap.models.language_model import LanguageModel

ES = ["El gato duerme en la casa.", "Ana tiene doce libros."]
SVG = "<?xml"


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> LanguageModel:
    return lm.load(save_tiny(tmp_path_factory.mktemp("m"), "llama"), dtype="float32")


def test_the_import_loads_next_to_nothing_and_lists_its_names() -> None:
    code = (
        "import sys, linguamap as lm; heavy = ('torch', 'pydantic', 'numpy', 'pyarrow', 'pandas');"
        "print(set(lm.__all__) <= set(dir(lm)), [m for m in heavy if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "True []\n"
    assert all(getattr(lm, name) is not None for name in lm.__all__)
    with pytest.raises(AttributeError, match="no attribute 'lense'"):
        lm.lense  # noqa: B018


def test_a_model_that_the_user_holds_gives_the_curves_of_its_folder(
    model: LanguageModel, tmp_path: Path
) -> None:
    held = lm.load(tiny_model("llama"), tiny_tokenizer())
    texts = (["¿Dónde duerme el gato?", "¿Qué tiene Ana?"], ES)
    assert lm.lens(held, *texts, language="es").rows == lm.lens(model, *texts, language="es").rows
    with pytest.raises(lm.UserError, match="needs its tokenizer"):
        lm.load(tiny_model("llama"))


def test_the_lens_is_a_frame_and_a_picture(model: LanguageModel) -> None:
    found = lm.lens(model, ["¿Dónde duerme el gato?", "¿Qué tiene Ana?"], ES, language="Spanish")
    frame = found.frame()
    assert set(frame["target_language"]) == {"es"}
    assert set(frame["layer"]) == set(range(5))
    assert frame.groupby("layer")["share"].sum().round(6).eq(1).all()
    assert found.plot().svg().startswith(SVG)
    assert "<svg" in found._repr_html_()
    assert set(found.overtakes) <= {"es"}


def test_the_lens_reads_the_models_own_answers_where_none_are_given(model: LanguageModel) -> None:
    assert lm.lens(model, "¿Dónde duerme el gato?", language="es").n_layers == 4
    with pytest.raises(lm.UserError, match="one answer a prompt"):
        lm.lens(model, ["a", "b"], ES[:1], language="es")
    with pytest.raises(lm.UserError, match="every answer is empty"):
        lm.lens(model, ["a"], [" "], language="es")


def test_translations_and_handover_take_the_same_columns(model: LanguageModel) -> None:
    texts = {
        "en": ["a cat", "a dog", "a house", "red"],
        "es": ["un gato", "un perro", "una casa", "rojo"],
    }
    like = lm.similarity(model, texts)
    rows = like.frame().query("measure == 'cosine' and layer == 0 and kind == 'all'")
    assert list(rows[["language_a", "language_b", "n"]].iloc[0]) == ["en", "es", 4]
    assert like.plot().svg().startswith(SVG)
    frame = lm.handover(model, texts).frame()
    assert set(frame["intervention"]) == {"to_english", "from_english", "skip"}
    assert frame.query("layer == -1")["share"].dropna().eq(0).all()  # nothing was done
    with pytest.raises(lm.UserError, match="the same texts in the same order"):
        lm.similarity(model, {**texts, "es": ["un gato"]})
    with pytest.raises(lm.UserError, match="in English"):
        lm.handover(model, {"es": ["un gato"]})


def test_texts_are_identified_among_all_languages_or_some() -> None:
    texts = ["El gato duerme en la casa.", "बिल्ली घर में सोती है।", "ok"]
    assert lm.identify(texts).languages == ["es", "hi", None]
    assert lm.identify(texts, ["es", "hi"]).frame()["reason"].tolist()[2] == "too_short"
    with pytest.raises(lm.UserError, match="'xx'"):
        lm.identify(texts, ["xx"])


def test_answers_of_any_program_are_scored_from_rows_or_a_frame() -> None:
    import pandas

    rows = [
        {"answer": "Dos y tres son 5.", "language": "es", "gold": 5},
        {"answer": "The answer to your question is 4.", "language": "es", "gold": 5},
        {"answer": "La respuesta correcta es la B.", "language": "es", "gold": "B",
         "options": ["el gato", "el perro"]},
    ]  # fmt: skip
    found = lm.score(rows)
    assert found.frame()["task_correct"].tolist() == [True, False, True]
    assert found.frame()["language_correct"].tolist() == [True, False, True]
    assert (found.consistency["before"].value, found.consistency["before"].n) == (2 / 3, 3)
    assert lm.score(pandas.DataFrame(rows)).rows == found.rows
    assert found.plot().svg().startswith(SVG)
    with pytest.raises(lm.UserError, match="row 1 needs 'answer'"):
        lm.score([{"text": "x"}], "es")
    with pytest.raises(lm.UserError, match="there is no answer"):
        lm.score([])


def test_prompts_are_checked_without_right_answers(model: LanguageModel) -> None:
    found = lm.check(model, ["¿Dónde duerme el gato?"], "es", max_new_tokens=8)
    assert len(found.frame()) == 1
    assert found.share.n <= 1


def test_a_finished_run_is_typed_and_drawn(tmp_path: Path) -> None:
    run = lm.Run(write_fake_run(tmp_path / "r", items=3))
    assert set(run.answers.frame()["phase"]) == {"before", "after"}
    assert set(run.curves) == {"lens", "similarity", "handover"}
    assert set(run.curves["lens"].frame()["phase"]) == {"before", "after"}
    assert all(curves.plot().svg().startswith(SVG) for curves in run.curves.values())
    assert run.layers.n_layers == run.curves["lens"].n_layers
    assert run.report() == tmp_path / "r" / "report.html"
    with pytest.raises(lm.UserError, match="holds no run"):
        lm.Run(tmp_path / "none")
