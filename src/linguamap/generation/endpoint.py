"""Prompts -> answers from an OpenAI-compatible server: :func:`linguamap.generation.local.generate` elsewhere.

Base models are asked through ``/completions`` with the prompt's text, chat models through
``/chat/completions`` with its messages. Where the config leaves open which it is (``model.chat`` is
``auto``), the first prompt is asked alone and as a chat, and a server that has no chat template for the
model is asked for completions from there on. Several requests are under way at once, and each answer is
handed on as it comes, so that a killed run repeats at most those under way.
"""

from __future__ import annotations

import queue
import re
import threading
import time
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from linguamap.config import EvaluateConfig, ModelConfig
from linguamap.generation.completion_client import Abandoned, Rejected, Server
from linguamap.generation.thinking import cut_at_stop, split_thinking
from linguamap.progress import Progress, say, silent
from linguamap.prompts.scenarios import LINE_END, answer_ends
from linguamap.records import Completion, Prompt, UserError

GRACE_SECONDS = 10.0
"""How long requests under way may still end after another one has failed for good."""

NO_TEMPLATE = re.compile(r"chat[ _.]template(?!_kwargs)", re.IGNORECASE)
"""In a refusal: vLLM's "default chat template is no longer allowed", Transformers' "chat_template is not
set", SGLang's and others' "does not have a chat template"."""

NOT_CHAT = (
    "The server has no chat template for the model: it is asked for completions of plain text, as a "
    "base model (model.chat=no)."
)


@dataclass(frozen=True)
class Reply:
    """What one request brought.

    Attributes:
        text: the answer as the server sent it.
        reasoning: the reasoning that the server split off itself, or None.
        finish: why the model stopped, in the server's words.
        n_tokens: generated tokens as the server counts them; 0 if it does not say.
        by_stop_string: whether a stop string ended the answer; None if the server does not say.
    """

    text: str
    reasoning: str | None
    finish: str
    n_tokens: int
    by_stop_string: bool | None


def answer_over_endpoint(
    prompts: Sequence[Prompt],
    config: EvaluateConfig,
    model_config: ModelConfig,
    *,
    seed: int = 0,
    done: frozenset[str] = frozenset(),
    save: Callable[[list[Completion]], None],
    chat: bool | None = None,
    settled: Callable[[bool], None] = lambda chat: None,
    progress: Progress = silent,
    label: str = "generate",
) -> None:
    """Answer all prompts that are not done, over the server at ``config.endpoint``.

    Args:
        prompts: what to answer.
        done: ids of prompts answered by an earlier, interrupted call; they are not asked again.
        save: receives the completions as they come, in batches; called by the caller's thread only.
        chat: what an earlier, interrupted call found out about a model whose ``model.chat`` is
            ``auto``; None if it did not come so far.
        settled: receives that, before any completion is saved.
    Raises:
        UserError: the URL or key is unfit, or the server fails for good; every answer that came
            before was saved, and the same call with those in ``done`` goes on from there.
    """
    if config.endpoint is None:
        raise UserError("endpoint: no URL given; set evaluate.endpoint or --endpoint URL")
    places = {prompt.prompt_id: place for place, prompt in enumerate(prompts)}
    waiting = [prompt for prompt in prompts if prompt.prompt_id not in done]
    finished = len(prompts) - len(waiting)
    progress(label, finished, len(prompts), "resumed" if finished else "")
    if not waiting:
        return
    tokens = 0
    started = time.monotonic()
    with Server(config.endpoint, config.timeout, config.concurrency) as server:
        asker = Asker(server, config, model_config, model_name(server, config, model_config), seed)
        if model_config.chat == "auto" and chat is not None:
            asker.speak(chat)
        elif model_config.chat == "auto":
            first = asker.settle(waiting[0])
            settled(asker.is_chat)
            save([first])
            finished, tokens, waiting = finished + 1, first.n_tokens, waiting[1:]
            progress(label, finished, len(prompts))
        if model_config.chat == "auto" and not asker.is_chat:
            say(progress, NOT_CHAT)
        for batch in _as_they_come(asker, waiting, config.concurrency, server.given_up):
            save(sorted(batch, key=lambda completion: places[completion.prompt_id]))
            finished += len(batch)
            tokens += sum(completion.n_tokens for completion in batch)
            rate = tokens / max(time.monotonic() - started, 1e-9)
            progress(label, finished, len(prompts), f"{rate:.0f} tokens/s" if tokens else "")


def model_name(server: Server, config: EvaluateConfig, model_config: ModelConfig) -> str:
    """The name to ask for: the one set, else the only one offered, else the model's own."""
    offered = server.models()
    if config.endpoint_model is not None:
        return config.endpoint_model
    return offered[0] if len(offered) == 1 else model_config.name


class Asker:
    """Turns one prompt into its completion; may be called from several threads."""

    def __init__(
        self,
        server: Server,
        config: EvaluateConfig,
        model_config: ModelConfig,
        model: str,
        seed: int,
    ) -> None:
        self.server = server
        self.config = config
        self.model = model
        self.seed = seed
        self.thinking = model_config.thinking
        self.speak(model_config.chat != "no")
        self.one_turn = False  # set when the model's chat template turns out to have no system role

    def speak(self, chat: bool) -> None:
        """Ask in turns of a chat, or for the continuation of a text."""
        self.is_chat = chat
        own_end = () if chat else LINE_END  # a chat model ends its own turn
        self.stops = own_end if self.config.stop is None else tuple(self.config.stop)

    def settle(self, prompt: Prompt) -> Completion:
        """The first answer: in a chat, or, if the server has no chat template, without one."""
        try:
            return self._answer(prompt)
        except Rejected as rejected:
            if not _lacks_template(rejected):
                raise self._explained(rejected) from None
        except UserError as error:
            # transformers serve has no words for a missing template
            hint = "; is it a base model? then set model.chat=no"
            raise UserError(f"{error}{hint if 'answered 500' in str(error) else ''}") from None
        self.speak(False)
        return self(prompt)

    def __call__(self, prompt: Prompt) -> Completion:
        """The prompt's answer, cut and split as local generation does it."""
        try:
            return self._answer(prompt)
        except Rejected as rejected:
            raise self._explained(rejected) from None

    def _answer(self, prompt: Prompt) -> Completion:
        stops = answer_ends(prompt, self.stops) if self.config.stop is None else self.stops
        reply = self._ask(prompt, stops)
        if stops and _stopped_before_it_began(reply):
            # Locally a line end counts after the first visible character only.
            reply = self._ask(prompt, ())
        cut = cut_at_stop(reply.text, stops)
        text = reply.text if cut is None else cut
        thinking, answer = (
            split_thinking(text) if reply.reasoning is None else (reply.reasoning, text.strip())
        )
        filtered = reply.finish == "content_filter"
        finish: Literal["stop", "length", "error"] = "stop"
        if filtered:
            finish = "error"
        elif reply.finish == "length" and cut is None:
            finish = "length"
        return Completion(
            prompt_id=prompt.prompt_id,
            answer=self.server.hide_key(answer),
            thinking=None if thinking is None else self.server.hide_key(thinking),
            finish=finish,
            n_tokens=reply.n_tokens,
            error="the server filtered the answer" if filtered else None,
        )

    def _ask(self, prompt: Prompt, stops: Sequence[str]) -> Reply:
        if not self.is_chat:
            body = {"prompt": prompt.text, **self._settings(prompt, stops)}
            return self.server.ask("/completions", body, read_completion)
        return self._chat(prompt, stops)

    def _chat(self, prompt: Prompt, stops: Sequence[str]) -> Reply:
        """A chat answer; a template without a system role gets everything in one turn."""
        from linguamap.prompts.scenarios import render_chat

        settings = self._settings(prompt, stops)
        if self.thinking != "auto":
            settings["chat_template_kwargs"] = {"enable_thinking": self.thinking == "yes"}
        messages = render_chat(prompt)
        joined = [{"role": "user", "content": "\n".join(turn["content"] for turn in messages)}]
        if not self.one_turn:
            try:
                body = {"messages": messages, **settings}
                return self.server.ask("/chat/completions", body, read_chat)
            except Rejected as rejected:
                if len(messages) == 1 or "role" not in rejected.detail.lower():
                    raise
        reply = self.server.ask("/chat/completions", {"messages": joined, **settings}, read_chat)
        self.one_turn = True
        return reply

    def _settings(self, prompt: Prompt, stops: Sequence[str]) -> dict[str, Any]:
        settings: dict[str, Any] = {
            "model": self.model,
            "max_tokens": self.config.max_new_tokens,
            "temperature": self.config.temperature,
            # A seed of its own for each prompt, the same however often the run is resumed.
            "seed": (self.seed + zlib.crc32(prompt.prompt_id.encode())) % 2**31,
        }
        return {**settings, "stop": list(stops)} if stops else settings

    def _explained(self, rejected: Rejected) -> UserError:
        """The server's refusal with what to do about it."""
        offered = self.server.models() if rejected.status in (400, 404, 422) else []
        if self.model in offered or not offered:
            advice = "does the URL end in /v1 or the like?" if rejected.status == 404 else ""
            if self.is_chat:
                advice = f"{advice} is it a base model? then set model.chat=no".strip()
        else:
            names = ", ".join(offered[:20])
            advice = f"asked for the model '{self.model}'; the server offers: {names}; "
            advice += "name one with --set evaluate.endpoint_model=NAME"
        return UserError("; ".join(part for part in (str(rejected), advice) if part))


def _lacks_template(rejected: Rejected) -> bool:
    """Whether a server refused a chat because the model has no chat template.

    Words about roles mean that there is one, and that it takes other turns.
    """
    says_so = NO_TEMPLATE.search(rejected.detail) and "role" not in rejected.detail.lower()
    return bool(says_so) and rejected.status in (400, 404, 422)


def read_completion(reply: Any) -> Reply:
    """The first choice of a ``/completions`` reply.

    Raises:
        ValueError: it holds no such choice.
    """
    choice = _first_choice(reply)
    if not isinstance(choice.get("text"), str):
        raise ValueError("its first choice has no text")
    return _reply(reply, choice, choice["text"], None)


def read_chat(reply: Any) -> Reply:
    """The first choice of a ``/chat/completions`` reply, reasoning apart where the server splits it.

    Raises:
        ValueError: it holds no such choice.
    """
    choice = _first_choice(reply)
    message = choice.get("message")
    if not isinstance(message, dict):
        raise ValueError("its first choice has no message")
    found = [message.get(name) for name in ("reasoning_content", "reasoning")]
    reasoning = next((one.strip() for one in found if isinstance(one, str) and one.strip()), None)
    if message.get("content") is None and ("content" in message or reasoning is not None):
        return _reply(reply, choice, "", reasoning)  # only reasoning, or a refusal to answer
    if not isinstance(message.get("content"), str):
        raise ValueError("its message has no text")
    return _reply(reply, choice, message["content"], reasoning)


def _first_choice(reply: Any) -> dict[str, Any]:
    choices = reply.get("choices") if isinstance(reply, dict) else None
    if not isinstance(choices, list) or not choices or not isinstance(choices[0], dict):
        raise ValueError("it has no choices")
    return choices[0]


def _reply(
    reply: dict[str, Any], choice: dict[str, Any], text: str, reasoning: str | None
) -> Reply:
    finish = choice.get("finish_reason") or "stop"
    if not isinstance(finish, str) or finish in ("abort", "error"):
        raise ValueError(f"the server ended the answer with {finish!r}")
    usage = reply.get("usage")
    count = usage.get("completion_tokens") if isinstance(usage, dict) else None
    # vLLM and SGLang name the stop string that was met; an end token is null or a number there.
    told = [choice[name] for name in ("stop_reason", "matched_stop") if name in choice]
    return Reply(
        text=text,
        reasoning=reasoning,
        finish=finish,
        n_tokens=count if type(count) is int and count > 0 else 0,
        by_stop_string=isinstance(told[0], str) if told else None,
    )


def _stopped_before_it_began(reply: Reply) -> bool:
    empty = not reply.text.strip() and reply.reasoning is None
    return empty and reply.finish == "stop" and reply.by_stop_string is not False


def _as_they_come(
    answer: Callable[[Prompt], Completion],
    prompts: Sequence[Prompt],
    concurrency: int,
    given_up: threading.Event,
) -> Iterator[list[Completion]]:
    """Answers of ``concurrency`` threads, in batches of whatever has come.

    The first failure stops the threads, lets requests under way end, and is raised after the
    answers that came. The threads are daemons: a program that is told to stop does not wait for
    them, as it would for those of ``concurrent.futures``.
    """
    todo: queue.SimpleQueue[Prompt] = queue.SimpleQueue()
    for prompt in prompts:
        todo.put(prompt)
    come: queue.SimpleQueue[Completion | Exception | None] = queue.SimpleQueue()

    def work() -> None:
        try:
            while not given_up.is_set():
                come.put(answer(todo.get_nowait()))
        except (queue.Empty, Abandoned):
            pass
        except Exception as error:  # handed to the caller's thread, which raises it
            given_up.set()
            come.put(error)
        finally:
            come.put(None)

    running = min(concurrency, len(prompts))
    for _ in range(running):
        threading.Thread(target=work, name="linguamap-endpoint", daemon=True).start()
    failure: Exception | None = None
    patience: float | None = None  # monotonic time until which threads under way are waited for
    while running:
        batch: list[Completion] = []
        try:
            timeout = None if patience is None else max(patience - time.monotonic(), 0)
            items = [come.get(timeout=timeout)]
        except queue.Empty:
            break
        while not come.empty():
            items.append(come.get())
        for item in items:
            if item is None:
                running -= 1
            elif isinstance(item, Completion):
                batch.append(item)
            elif failure is None:
                failure, patience = item, time.monotonic() + GRACE_SECONDS
        if batch:
            yield batch
    if failure is not None:
        raise failure
