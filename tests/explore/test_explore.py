"""The explorer: its parts without a browser, and the page in a real one."""

from __future__ import annotations

import base64
import json
import socket
from collections.abc import Iterator
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
import torch
from chromium import open_browser, wait_for
from fake_identifier import FakeIdentifier, by_script
from fake_run import write_fake_run
from tiny import TEXT, tiny_lm
from typer.testing import CliRunner

from linguamap.cli import explore_command as cli_explore
from linguamap.cli.app import app
from linguamap.explore.explorer import Explorer, Items
from linguamap.explore.explorer_html import (
    page_css,
    readings_html,
    settled,
    shown,
    stored_html,
)
from linguamap.explore.reading import Question, Reading, Variants, read_question, typed
from linguamap.models.language_model import LanguageModel
from linguamap.probes.handover import NextTokens
from linguamap.records import Answer, Part, Prompt, UserError
from linguamap.run.read_run import read_run
from linguamap.run.settings import load_config
from linguamap.tuning.delta import Delta, apply_delta, save_delta

IDENTIFIER = FakeIdentifier(("en", "es", "hi"), by_script)
CHANGED = "model.layers.3.mlp.down_proj.weight"
HOSTILE = "<script>window.pwned = 1</script><img src=x onerror='window.pwned=1'>${pwned} {{pwned}} \u202edrow"


def make_delta(lm: LanguageModel, path: Path) -> Path:
    """A delta that changes the last of four blocks."""
    weight = dict(lm.model.named_parameters())[CHANGED].detach()
    save_delta(path, Delta({CHANGED: weight * 5 + 1}, lm.identity, "selective", (4,)))
    return path


def make_items() -> Items:
    prompts = []
    for code, text in (("en", TEXT[0]), ("es", TEXT[2]), ("hi", TEXT[6])):
        for scenario in ("monolingual", "code_mixed"):
            parts = (Part("Q", f"{scenario}: {text[:20]}"), Part("I", "\nA:"))
            prompts.append(Prompt("i1", "sums", "sums", code, scenario, parts, ("7",)))
    return Items(prompts)


def make_explorer(tmp_path: Path) -> Explorer:
    lm = tiny_lm("llama")
    config = load_config(None, ["languages=[en, es, hi]", "evaluate.max_new_tokens=8"])
    variants = Variants(lm, make_delta(lm, tmp_path / "delta.safetensors"))
    run = write_fake_run(tmp_path / "run", languages=("en", "es", "hi"), items=4, n_layers=4)
    return Explorer(variants, config, IDENTIFIER, make_items(), run=read_run(run))


def test_examples_are_the_runs_own_answers_one_for_each_outcome(tmp_path: Path) -> None:
    explorer = make_explorer(tmp_path)
    examples = explorer.examples()
    outcomes = [example[0].scored.outcome for example in examples]
    assert len(outcomes) == len(set(outcomes)) >= 4
    assert all([one.phase for one in example] == ["before", "after"] for example in examples)
    assert len({example[0].scored.prompt_id for example in examples}) == len(examples)
    assert Explorer(explorer.variants, explorer.config, IDENTIFIER, make_items()).examples() == []


def test_a_result_can_be_saved_as_one_page_that_asks_nobody(tmp_path: Path) -> None:
    explorer = make_explorer(tmp_path)
    drawn = stored_html(explorer, explorer.examples()[0])
    address = drawn.rpartition('href="data:text/html;base64,')[2].partition('"')[0]
    page = base64.b64decode(address).decode("utf-8")
    assert page.startswith("<!doctype html>")
    assert "default-src 'none'" in page
    assert "prefers-color-scheme:dark" in page
    assert drawn.partition('<p class="lm lm-soft"><a download')[0] in page
    assert "token-grid" in page
    assert "<script" not in page
    assert "http" not in page.replace("http-equiv", "")


@pytest.mark.parametrize("hostile", [HOSTILE])
def test_hostile_stored_answers_stay_text(tmp_path: Path, hostile: str) -> None:
    explorer = make_explorer(tmp_path)
    example = explorer.examples()[0]
    scored = replace(example[0].scored, answer=hostile, prompt=hostile)
    drawn = stored_html(explorer, [replace(example[0], scored=scored)])
    assert "<script" not in drawn
    assert "<img" not in drawn
    assert "${" not in drawn


def test_the_two_models_share_one_memory_and_change_places(tmp_path: Path) -> None:
    lm, reference = tiny_lm("llama"), tiny_lm("llama")
    path = make_delta(lm, tmp_path / "delta.safetensors")
    apply_delta(reference, path)
    ids = torch.arange(5, 25)[None]
    with torch.no_grad():
        plain, tuned = lm.model(ids).logits, reference.model(ids).logits
        variants = Variants(lm, path)
        assert variants.names == ["before", "after"]
        places = {p.data_ptr() for p in lm.model.parameters()}
        for _ in range(2):
            with variants.use("after") as used:
                torch.testing.assert_close(used.model(ids).logits, tuned, rtol=0, atol=0)
                assert len(places & {p.data_ptr() for p in used.model.parameters()}) == (
                    len(places) - 1
                )
            with variants.use("before") as used:
                torch.testing.assert_close(used.model(ids).logits, plain, rtol=0, atol=0)
        with pytest.raises(KeyError), variants.use("after"):
            raise KeyError
        assert torch.equal(lm.model(ids).logits, plain)  # an error leaves the model as it was


def test_a_delta_of_another_model_is_refused(tmp_path: Path) -> None:
    path = make_delta(tiny_lm("llama", seed=1), tmp_path / "delta.safetensors")
    with pytest.raises(UserError, match="apply it to the model it was made from"):
        Variants(tiny_lm("llama"), path)


def test_an_item_keeps_its_gold_until_its_text_is_changed(tmp_path: Path) -> None:
    explorer = make_explorer(tmp_path)
    picked = ("sums", "code_mixed", "i1")
    text, english = explorer.texts(picked, "hi") or ("", "")
    assert english == f"code_mixed: {TEXT[0][:20]}\nA:"
    question = explorer.question(picked, text, english, "hi")
    assert question.picked
    assert question.prompt.gold == ("7",)
    assert question.english is not None
    assert question.english.language == "en"
    changed = explorer.question(picked, text + "!", "", "hi")
    assert (changed.picked, changed.prompt.kind, changed.english) == (False, "open", None)
    assert explorer.texts(picked, "fr") is None
    assert explorer.items.choices("sums", "code_mixed", "hi")[0][1] == "i1"


def test_answers_come_first_and_then_what_the_layers_say(tmp_path: Path) -> None:
    explorer = make_explorer(tmp_path)
    question = Question(typed(TEXT[6][:24], "hi"), typed(TEXT[0][:24], "en"))
    said: list[str] = []
    steps = list(
        read_question(
            explorer.variants, explorer.config, IDENTIFIER, question, max_new_tokens=6,
            say=lambda share, what: said.append(what),
        )
    )  # fmt: skip
    assert [len(step) for step in steps] == [1, 2, 2, 2, 2, 2]
    assert [one.grid is None for one in steps[1]] == [True, True]
    before, after = steps[-1]
    assert before.grid is not None
    assert after.grid is not None
    assert len(before.grid.cells) == 5
    if before.next_tokens is None:
        assert "the same token" in before.missing["handover"]
    else:
        assert len(before.next_tokens.own) == 5
    # greedy: what the last layer would write is what the model did write
    assert [cell.text for cell in before.grid.cells[-1]] == before.grid.tokens
    assert (before.scored.kind, before.scored.gold) == ("open", ())
    assert said[0] == "Writing the answer"
    assert said[-1] == "Handover after 5 layers, tuned model"


@pytest.mark.parametrize(
    ("text", "english", "message"),
    [
        (" \n ", None, "The prompt is empty: type a question"),
        ("cat " * 300, None, r"The prompt is .* tokens long; .* there is room for 248\."),
        ("cat", "cat " * 300, "The English twin is .* tokens long"),
        ("c" * 50_000, None, "50,000 characters long; at most 40,000"),
    ],
)
def test_what_cannot_be_read_is_refused(
    tmp_path: Path, text: str, english: str | None, message: str
) -> None:
    explorer = make_explorer(tmp_path)
    twin = None if english is None else typed(english, "en")
    with pytest.raises(UserError, match=message):
        list(explorer.results(Question(typed(text, "es"), twin), 8, True))


def test_without_an_english_twin_there_is_a_reason_instead(tmp_path: Path) -> None:
    explorer = make_explorer(tmp_path)

    def last(text: str, language: str, with_handover: bool) -> str:
        *_, readings = explorer.results(Question(typed(text, language)), 4, with_handover)
        return readings_html(readings, explorer.config.languages, language, False, "")

    assert "There is no English twin to hand over from" in last("El gato", "es", True)
    assert "The target language is English" in last("The cat", "en", True)
    assert "Handover" not in last("El gato", "es", False)


class Tags(HTMLParser):
    """All tags, and everything that is text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: set[str] = set()
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes |= {name for name, _ in attrs}

    def handle_data(self, data: str) -> None:
        self.text += data


def test_hostile_text_is_shown_and_never_markup() -> None:
    lm = tiny_lm("llama")
    text = Question(typed("cat", "es"))
    (reading,) = list(
        read_question(
            Variants(lm), load_config(None, ["languages=[en, es]"]), IDENTIFIER, text,
            max_new_tokens=4, with_handover=False,
        )
    )[-1]  # fmt: skip
    assert reading.grid is not None
    cells = [
        [cell._replace(text=HOSTILE, word=HOSTILE, language="es") for cell in row]
        for row in reading.grid.cells
    ]
    scored = replace(reading.scored, answer=HOSTILE, extracted=HOSTILE, gold=(HOSTILE,))
    curve = NextTokens(HOSTILE, HOSTILE, [0.9, 0.1], [0.1, 0.9], (0.9, 0.1))
    hostile = Reading(
        "before",
        scored,
        {},
        replace(reading.grid, cells=cells, tokens=[HOSTILE] * len(cells[0])),
        curve,
    )
    found = readings_html([hostile], ["en", "es"], "es", True, HOSTILE)
    parsed = Tags(found)
    assert not parsed.tags & {"script", "img", "iframe", "object", "a"}
    assert not {name for name in parsed.attributes if name.startswith("on")}
    assert "<script>window.pwned = 1</script>" in parsed.text
    assert "${" not in found
    assert "{{" not in found
    assert "\u202e" not in Tags(shown(HOSTILE)).text
    assert "RLO" in shown(HOSTILE)


def test_the_handover_curve_by_hand() -> None:
    row = Answer(
        "sums/monolingual/es/1", "1", "1", "sums", "sums", "es", "monolingual", "¿?", "Hola", None,
        True, "unscored", answer_language="es",
    )  # fmt: skip
    curve = NextTokens("Hola", "Hello", [1.0, 0.5, 0.0], [0.0, 0.25, 1.0], (1.0, 0.0))
    reading = Reading("before", row, {}, None, curve)
    found = readings_html([reading], ["en", "es"], "es", False, "")
    # 32 to 426 across, 18 (100 %) to 191 (0 %) down
    assert 'd="M32 18l197 86.5l197 86.5"' in found
    assert 'd="M32 191l197 -43.2l197 -129.8"' in found
    assert "After layer 1: 50% and 25%" in Tags(found).text
    assert "from layer 2 on" in Tags(found).text
    missing = replace(reading, next_tokens=None, missing={"handover": "Nothing tells them apart."})
    alike = readings_html([missing], ["en", "es"], "es", False, "")
    assert "Nothing tells them apart." in alike
    assert "<svg" not in alike


def test_the_sentence_on_handover_by_hand() -> None:
    def sentence(own: list[float], english: list[float]) -> str:
        return settled(NextTokens("a", "b", own, english, (0.9, 0.1)))

    assert "from layer 3 on" in sentence([0.9, 0.1, 0.6, 0.2], [0.1, 0.9, 0.4, 0.8])
    assert "from layer 0 on" in sentence([0.1, 0.1], [0.9, 0.9])
    assert "does not make" in sentence([0.1, 0.9], [0.9, 0.1])


def test_every_language_has_its_colour_in_both_themes() -> None:
    css = page_css(["en", "hi", "de"])
    assert css.count("--lang-1:") == 2
    assert '.lm [data-l="de"],.lang-2{--c:var(--lang-2)}' in css


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--run", "missing"], "missing holds no run; start one with"),
        (["--port", "99999"], "99999 is no port; give 1 to 65535"),
        (["--host", "192.0.2.1"], "cannot listen on 192.0.2.1"),
    ],
)
def test_bad_options_are_one_line(
    options: list[str], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("gradio")
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(app, ["explore", *options])
    assert isinstance(result.exception, UserError)
    assert message in str(result.exception)
    assert "\n" not in str(result.exception)


def test_a_port_in_use_is_told_before_anything_is_loaded() -> None:
    pytest.importorskip("gradio")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        result = CliRunner().invoke(app, ["explore", "--port", str(port)])
    assert isinstance(result.exception, UserError)
    assert f"cannot listen on 127.0.0.1 port {port} (Address already in use)" in str(
        result.exception
    )


def test_without_gradio_the_message_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cli_explore, "find_spec", lambda name: None)
    result = CliRunner().invoke(app, ["explore"])
    assert "pip install 'linguamap[explore]'" in str(result.exception)


# In a browser --------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A headless Chromium on the explorer's page; skipped where something for it is missing."""
    pytest.importorskip("gradio", reason="Gradio is not installed (extra 'explore')")
    from linguamap.cli.explore_command import free_port
    from linguamap.explore.explorer_page import build, serve

    explorer = make_explorer(tmp_path_factory.mktemp("explorer"))
    page = build(explorer)
    port = free_port("127.0.0.1", 0)
    serve(page, explorer, "127.0.0.1", port)
    try:
        with open_browser(tmp_path_factory.mktemp("profile")) as opened:
            opened.get(f"http://127.0.0.1:{port}/")
            wait_for(opened, "document.querySelector('#look')")
            yield opened
    finally:
        page.close(verbose=False)


def enter(browser: Any, name: str, text: str) -> None:
    """Put text into a box as a browser does, in one go."""
    browser.execute_script(
        "const box = document.querySelector(arguments[0]); box.value = arguments[1];"
        "box.dispatchEvent(new Event('input', {bubbles: true}));",
        f"#{name} textarea",
        text,
    )


def test_the_page_opens_with_an_example_and_a_button_for_each_outcome(browser: Any) -> None:
    wait_for(browser, "document.querySelector('#result svg.token-grid')")
    names = browser.execute_script(
        "return [...document.querySelectorAll('#examples button')].map(one => one.textContent.trim())"
    )
    assert names[0].startswith("Right task, right language: ")
    assert len(names) >= 4
    browser.execute_script("document.querySelectorAll('#examples button')[1].click()")
    name = names[1].split(":")[0]
    wait_for(browser, f"document.querySelector('#result .lm-facts b').textContent === '{name}'")
    wait_for(browser, "document.querySelector('#prompt textarea').value.length > 10")
    saved = browser.execute_script("return document.querySelector('#result a[download]').download")
    assert saved == "linguamap-result.html"


def look(browser: Any) -> None:
    browser.execute_script("document.querySelector('#look').click()")


def test_type_run_and_see_the_grid(browser: Any) -> None:
    enter(browser, "prompt", HOSTILE)
    look(browser)
    wait_for(browser, "document.querySelectorAll('#result .lm-pair svg.token-grid').length === 2")
    rows = browser.execute_script(
        "return [...document.querySelector('#result .lm-pair svg.token-grid').querySelectorAll('.layer')]"
        ".map(one => one.textContent)"
    )
    assert rows == ["4", "3", "2", "1", "0"]
    titles = browser.execute_script(
        "return [...document.querySelectorAll('#result .lm-half h3')].map(one => one.textContent)"
    )
    assert titles == ["Model as it is", "Tuned model"]
    assert browser.execute_script("return window.pwned") is None
    assert (
        browser.execute_script(
            "return document.querySelectorAll('#result script, #result img').length"
        )
        == 0
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [("  ", "The prompt is empty"), ("cat " * 400, "tokens long; with an answer of 8 tokens")],
)
def test_wrong_input_gives_a_message(browser: Any, text: str, message: str) -> None:
    enter(browser, "prompt", text)
    look(browser)
    wait_for(browser, f"document.body.textContent.includes({json.dumps(message)})")


def test_a_picked_item_fills_in_the_prompt_and_shows_its_outcome(browser: Any) -> None:
    browser.execute_script("const box = document.querySelector('#item input'); box.focus();")
    wait_for(browser, "document.querySelector('[role=option]')")
    browser.execute_script(
        "document.querySelector('[role=option]').dispatchEvent("
        "new MouseEvent('mousedown', {bubbles: true}))"
    )
    wait_for(browser, "document.querySelector('#prompt textarea').value.startsWith('monolingual')")
    look(browser)
    wait_for(browser, "document.querySelectorAll('#result .lm-curve').length === 2")
    said = browser.execute_script("return document.querySelector('#result').textContent")
    assert "right is 7" in said
    curves = "return document.querySelectorAll('#result .lm-curve svg.curves').length"
    alike = said.count("with the same token")
    assert browser.execute_script(curves) + alike == 2
    assert "wanted: Spanish" in said or "as wanted" in said


def test_every_control_has_a_name(browser: Any) -> None:
    for control in browser.find_elements("css selector", "button, textarea, input"):
        if control.is_displayed():
            assert control.accessible_name, control.get_attribute("outerHTML")[:200]


def test_a_phone_needs_no_sideways_scrolling(browser: Any) -> None:
    size = {"width": 390, "height": 844, "deviceScaleFactor": 1, "mobile": True}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    try:
        assert browser.execute_script("return document.documentElement.scrollWidth") <= 390
    finally:
        browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


def test_nothing_was_asked_of_another_machine_and_nothing_is_kept(browser: Any) -> None:
    """Runs last: over everything that the tests above did."""
    events = [json.loads(one["message"])["message"] for one in browser.get_log("performance")]
    asked = {
        event["params"]["request"]["url"]
        for event in events
        if event["method"] == "Network.requestWillBeSent"
    }
    own = browser.current_url
    local = ("data:", "blob:", "about:", "chrome:")
    assert {url for url in asked if not url.startswith((own, *local))} == set()
    assert any(url.startswith(own) for url in asked)
    kept = browser.execute_script("return JSON.stringify({...localStorage, ...sessionStorage})")
    assert "pwned" not in kept
    assert "cat cat" not in kept
