"""The explorer's page: a form, a button and a result, served to this machine by Gradio.

Nothing typed is kept: no flagging, no history, no cache. The page asks no other machine for anything:
system fonts, no analytics, no share link. All text is shown by :mod:`linguamap.explore.explorer_html`.
"""

from __future__ import annotations

import html
import inspect
import os
from collections.abc import Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from linguamap.charts.naming import benchmark_name, model_title, scenario_name, shown_outcome
from linguamap.explore.explorer_html import page_css, readings_html, stored_html, with_link
from linguamap.explore.reading import ENGLISH, Reading, context_limit
from linguamap.generation.address import is_loopback
from linguamap.languages import language_name
from linguamap.records import UserError

if TYPE_CHECKING:
    from linguamap.explore.explorer import Explorer

LONGEST_ANSWER = 96
LOOPBACK = frozenset({"localhost", "127.0.0.1", "[::1]"})


def load_gradio() -> Any:
    """Gradio, told to keep to itself."""
    for name in ("GRADIO_ANALYTICS_ENABLED", "GRADIO_RUN_HISTORY", "GRADIO_SHARE"):
        os.environ[name] = "False"
    os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"
    import gradio

    return gradio


def build(explorer: Explorer) -> Any:
    """The page, as Gradio Blocks that are not served yet."""
    gr = load_gradio()
    with gr.Blocks(title="linguamap explore", analytics_enabled=False, fill_width=True) as page:
        gr.HTML(_head(explorer), apply_default_css=False)
        examples = explorer.examples()
        with gr.Row(visible=bool(examples), elem_id="examples"):
            buttons = [gr.Button(_example_name(one), size="sm", min_width=180) for one in examples]
        shown = stored_html(explorer, examples[0]) if examples else ""
        result = gr.HTML(shown, elem_id="result", apply_default_css=False)
        picked = _pickers(gr, explorer)
        with gr.Row():
            prompt = gr.Textbox(
                label="Prompt", lines=7, max_lines=16, elem_id="prompt", info=_advice(explorer)
            )
            with gr.Column():
                language = gr.Dropdown(
                    [(language_name(code), code) for code in explorer.config.languages],
                    value=_first_language(explorer),
                    label="Language the answer should be in",
                    elem_id="language",
                )
                longest = gr.Slider(
                    4, LONGEST_ANSWER, min(explorer.config.evaluate.max_new_tokens or 48, 48), step=4,
                    label="Longest answer, in tokens",
                )  # fmt: skip
                handing = gr.Checkbox(True, label="Handover", info=_cost(explorer))
        with gr.Accordion("English twin of the prompt, for the handover", open=False):
            english = gr.Textbox(
                label="English twin", show_label=False, lines=4, max_lines=12, elem_id="english",
                placeholder="The same prompt in English; optional",
            )  # fmt: skip
        button = gr.Button("Look inside", variant="primary", elem_id="look")

        def run(
            benchmark: Any, scenario: Any, item: Any, text: str, twin: str, code: str, n: float,
            hand: bool, progress: Any = gr.Progress(),  # noqa: B008, how Gradio hands it in
        ) -> Iterator[str]:  # fmt: skip
            question = explorer.question((benchmark, scenario, item), text or "", twin or "", code)
            try:
                for readings in explorer.results(
                    question, int(n), hand, lambda share, what: progress(share, desc=what)
                ):
                    drawn = readings_html(
                        readings, explorer.config.languages, question.prompt.language,
                        question.picked, explorer.variants.note or "",
                    )  # fmt: skip
                    yield with_link(drawn, explorer.config.languages)
            except UserError as error:
                raise gr.Error(html.escape(str(error)), print_exception=False) from None

        button.click(
            run, [*picked, prompt, english, language, longest, handing], result,
            api_visibility="private", concurrency_limit=1, scroll_to_output=True,
        )  # fmt: skip
        _wire_pickers(gr, explorer, picked, [prompt, english], language)
        for button, example in zip(buttons, examples, strict=True):
            button.click(
                partial(_show_example, gr, explorer, example), [],
                [*picked, prompt, english, language, result],
                api_visibility="private", show_progress="hidden",
            )  # fmt: skip
    return page


def _example_name(example: Sequence[Reading]) -> str:
    answer = example[0].scored
    return f"{shown_outcome(answer)[1]}: {language_name(answer.language)}"


def _show_example(gr: Any, explorer: Explorer, example: Sequence[Reading]) -> tuple[Any, ...]:
    """The run's own answers, drawn from its files, and their prompt in the form."""
    answer, items = example[0].scored, explorer.items
    place = (answer.benchmark, answer.scenario, answer.item_id)
    texts = explorer.texts(place, answer.language) or (answer.prompt, "")
    scenarios = [(scenario_name(name), name) for name in items.scenarios(answer.benchmark)]
    choices = items.choices(answer.benchmark, answer.scenario, answer.language)
    is_item = any(name == answer.item_id for _, name in choices)
    return (
        gr.update(value=answer.benchmark) if is_item else gr.update(),
        gr.update(choices=scenarios, value=answer.scenario) if is_item else gr.update(),
        gr.update(choices=choices, value=answer.item_id) if is_item else gr.update(),
        *texts,
        answer.language,
        stored_html(explorer, example),
    )


def serve(page: Any, explorer: Explorer, host: str, port: int) -> None:
    """Start serving in the background; ``page.close()`` ends it."""
    from starlette.middleware import Middleware  # comes with Gradio

    gr = load_gradio()
    own = host if ":" not in host else f"[{host}]"
    hosts = LOOPBACK if is_loopback(f"http://{own}") else None
    fonts = ["system-ui", "sans-serif"]
    options: dict[str, Any] = {
        "theme": gr.themes.Base(font=fonts, font_mono=["ui-monospace", "monospace"]),
        "css": page_css(explorer.config.languages),
        "footer_links": [],
        "run_history": False,
        "app_kwargs": {"middleware": [Middleware(OwnPageOnly, hosts=hosts)]},
    }
    known = inspect.signature(page.launch).parameters  # older versions keep no history
    page.queue(max_size=16, api_open=False).launch(
        server_name=host,
        server_port=port,
        share=False,
        quiet=True,
        show_error=False,
        prevent_thread_lock=True,
        ssr_mode=False,
        pwa=False,
        mcp_server=False,
        enable_monitoring=False,
        **{name: value for name, value in options.items() if name in known},
    )


def _head(explorer: Explorer) -> str:
    title = html.escape(model_title(explorer.variants.lm.name))
    lm = explorer.variants.lm
    tuned = ", before and after tuning" if "after" in explorer.variants.names else ""
    note = f'<p class="lm-note">{html.escape(explorer.note)}</p>' if explorer.note else ""
    return (
        f'<div class="lm"><h1>Which language does each layer speak?</h1><p class="lm-soft">{title}{tuned}: '
        f"{lm.n_layers} blocks, {context_limit(lm):,} tokens at most. Type a prompt"
        f"{' or pick an item' if explorer.items else ''}, and look at every layer. Nothing typed here "
        f"is stored.</p>{note}</div>"
    )


def _advice(explorer: Explorer) -> str:
    if explorer.variants.lm.is_chat:
        return "Sent as one turn of a chat."
    return "This model continues text: end a question with “Answer:” in its language."


def _cost(explorer: Explorer) -> str:
    rows = 3 * (explorer.variants.lm.n_layers + 2)
    models = " a model" if "after" in explorer.variants.names else ""
    return f"Adds {rows} short continuations{models}; needs the English twin."


def _first_language(explorer: Explorer) -> str:
    codes = explorer.config.languages
    return next((code for code in codes if code != ENGLISH), codes[0])


def _pickers(gr: Any, explorer: Explorer) -> list[Any]:
    """Three lists for benchmark, scenario and item; hidden where there is nothing to pick."""
    items = explorer.items
    benchmark = next(iter(items.benchmarks()), None)
    scenarios = items.scenarios(benchmark or "")
    scenario = next(iter(scenarios), None)
    choices = items.choices(benchmark or "", scenario or "", _first_language(explorer))
    with gr.Row(visible=bool(items)):
        return [
            gr.Dropdown(
                [(benchmark_name(name), name) for name in items.benchmarks()], value=benchmark,
                label="Benchmark", elem_id="benchmark", min_width=120,
            ),
            gr.Dropdown(
                [(scenario_name(name), name) for name in scenarios], value=scenario,
                label="Scenario", elem_id="scenario", min_width=120,
            ),
            gr.Dropdown(
                choices, value=None, label="Item (fills in the prompt)", elem_id="item", scale=3,
            ),
        ]  # fmt: skip


def _wire_pickers(
    gr: Any, explorer: Explorer, picked: list[Any], texts: list[Any], language: Any
) -> None:
    """Each list narrows the next one; an item, or another language for it, fills in the prompt."""
    items = explorer.items

    def fill(benchmark: Any, scenario: Any, item: Any, code: str) -> tuple[Any, ...]:
        scenarios = items.scenarios(benchmark or "")
        if scenario not in scenarios:
            scenario = next(iter(scenarios), None)
        choices = items.choices(benchmark or "", scenario or "", code)
        if item not in [name for _, name in choices]:
            item = None
        found = explorer.texts((benchmark, scenario, item), code)
        return (
            gr.update(choices=[(scenario_name(n), n) for n in scenarios], value=scenario),
            gr.update(choices=choices, value=item),
            *(found or (gr.update(), gr.update())),
        )

    for control in (*picked, language):
        control.input(
            fill, [*picked, language], [*picked[1:], *texts],
            api_visibility="private", show_progress="hidden",
        )  # fmt: skip


class OwnPageOnly:
    """ASGI middleware that refuses foreign ``Host`` and ``Origin`` headers, and uploads, with status 403.

    A site that a user visits could otherwise reach the page through a name of its own that points at
    this machine (DNS rebinding), or send forms to it. The page takes no files, but Gradio would keep any.

    Args:
        hosts: names that the page goes by; None takes any, for a page that others on the network may use,
            since their names for this machine are not known. A foreign origin is refused all the same.
    """

    def __init__(self, app: Any, hosts: frozenset[str] | None = LOOPBACK) -> None:
        self.app = app
        self.hosts = hosts

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http" and not (
            self._is_own(dict(scope["headers"])) and "upload" not in scope["path"].split("/")
        ):
            headers = [(b"content-type", b"text/plain; charset=utf-8")]
            await send({"type": "http.response.start", "status": 403, "headers": headers})
            await send({"type": "http.response.body", "body": b"not this page's address"})
            return
        await self.app(scope, receive, send)

    def _is_own(self, headers: dict[bytes, bytes]) -> bool:
        host = headers.get(b"host", b"").decode("latin-1").casefold()
        name = host if host.endswith("]") else host.rsplit(":", 1)[0]
        origin = headers.get(b"origin")
        if self.hosts is not None and name not in self.hosts:
            return False
        return origin is None or urlsplit(origin.decode("latin-1").casefold()).netloc == host
