"""Prompts -> answers from an OpenAI-compatible server: :func:`linguamap.generation.local.generate` elsewhere.

Base models are asked through ``/completions`` with the prompt's text, chat models through
``/chat/completions`` with its messages. Where the config leaves open which it is (``model.chat`` is
``auto``), the first prompt is asked alone and as a chat, and a server that has no chat template for the
model is asked for completions from there on. Several requests are under way at once, and each answer is
handed on as it comes, so that a killed run repeats at most those under way.

A prompt that the server refuses is an answer with an error, and the others go on, if the server still
answers afterwards: another prompt, or else a control question. A server that refuses everything ends the
run, and nothing is written of its refusals.
"""

from __future__ import annotations

import asyncio
import queue
import threading
import time
from collections.abc import Callable, Coroutine, Iterator, Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from linguamap.config import EvaluateConfig, ModelConfig
from linguamap.generation.completion_client import CONTROL, CompletionClient, ServerNotes
from linguamap.generation.replies import Broken, Refused
from linguamap.generation.server import Server
from linguamap.progress import Progress, say, silent
from linguamap.records import Completion, Prompt, UserError
from linguamap.run.files import read_json, write_json

GRACE_SECONDS = 10.0
"""How long requests under way may still end after another one has failed for good."""
MOST_HELD = 16
"""Refusals in a row after which the control question is asked."""

News = Completion | ServerNotes | str
"""What the tasks that ask hand to the caller: an answer, what was learned of the server, a sentence."""


def answer_over_endpoint(
    prompts: Sequence[Prompt],
    config: EvaluateConfig,
    model_config: ModelConfig,
    *,
    seed: int = 0,
    done: frozenset[str] = frozenset(),
    save: Callable[[list[Completion]], None],
    record: Path | None = None,
    progress: Progress = silent,
    label: str = "generate",
) -> None:
    """Answer all prompts that are not done, over the server at ``config.endpoint``.

    Args:
        prompts: what to answer.
        done: ids of prompts answered by an earlier, interrupted call; they are not asked again.
        save: receives the completions as they come, in batches; called by the caller's thread only.
        record: the file of :class:`ServerNotes`, by which a later call asks as this one does.
    Raises:
        UserError: the URL or key is unfit, or the server fails for good or refuses every prompt; every
            answer that came before was saved, and the same call with those in ``done`` goes on from there.
    """
    if config.endpoint is None:
        raise UserError("endpoint: no URL given; set evaluate.endpoint or --endpoint URL")
    places = {prompt.prompt_id: place for place, prompt in enumerate(prompts)}
    waiting = [prompt for prompt in prompts if prompt.prompt_id not in done]
    finished = len(prompts) - len(waiting)
    progress(label, finished, len(prompts), "resumed" if finished else "")
    if not waiting:
        return
    notes = _read_notes(record)
    tokens = 0
    started = time.monotonic()

    def work(put: Callable[[News], None]) -> Coroutine[Any, Any, None]:
        session = Session(config, model_config, notes, seed, put, resumed=bool(done))
        return session.run(waiting)

    learned = False
    for batch in _as_they_come(work):
        for sentence in (news for news in batch if isinstance(news, str)):
            say(progress, sentence)
        answers = [news for news in batch if isinstance(news, Completion)]
        learned = learned or any(isinstance(news, ServerNotes) for news in batch)
        if not answers:
            continue  # a folder without an answer is as good as new, whatever was learned
        if learned and record is not None:
            write_json(record, notes.model_dump())
            learned = False
        save(sorted(answers, key=lambda completion: places[completion.prompt_id]))
        finished += len(answers)
        tokens += sum(completion.n_tokens for completion in answers)
        rate = tokens / max(time.monotonic() - started, 1e-9)
        progress(label, finished, len(prompts), f"{rate:.0f} tokens/s" if tokens else "")


def _read_notes(record: Path | None) -> ServerNotes:
    if record is None or not record.exists():
        return ServerNotes()
    try:
        return ServerNotes.model_validate(read_json(record))
    except ValidationError:
        raise UserError(f"run folder: {record} is broken; delete it and go on") from None


class Session:
    """All prompts of one call, asked by many tasks, and what is thought of the refused ones."""

    def __init__(
        self,
        config: EvaluateConfig,
        model_config: ModelConfig,
        notes: ServerNotes,
        seed: int,
        put: Callable[[News], None],
        *,
        resumed: bool,
    ) -> None:
        assert config.endpoint is not None
        self.config = config
        self.model_config = model_config
        self.put = put
        self.server = Server(config.endpoint, config.timeout)
        self.client = CompletionClient(self.server, config, model_config, notes, seed, put)
        self.answered = resumed
        """Whether any prompt was answered, now or by an earlier call."""
        self.refused: list[tuple[float, Completion, UserError]] = []
        """When each refusal came that may yet be one of everything; its answer and its words."""
        self.later: list[Prompt] = []
        """Prompts on which the server failed once; they are asked again when all others are done."""
        self.checking = asyncio.Lock()
        self.checked = 0.0
        self.stopped = False

    async def run(self, prompts: Sequence[Prompt]) -> None:
        """Ask all; what comes is put as it comes.

        Raises:
            UserError: the server fails, or refuses everything.
        """
        async with self.server:
            self._settle_on(await self.server.models())
            waiting = iter(prompts)
            if self.client.notes.chat is None:
                await self._answer(next(waiting), self.client.detect_chat)
            await self._all(waiting)
            again, self.later = self.later, []
            await self._all(iter(again), last=True)
            await self._check()
            if self.refused:  # the control question was answered, and nothing else ever
                raise await self.client.explained(self.refused[0][2])

    def _settle_on(self, offered: list[str]) -> None:
        """Which model is asked: the one set, the one asked so far, the only one offered, the run's own.

        A server elsewhere may take a setting under its usual name.
        """
        notes, url = self.client.notes, self.server.url
        only = offered[0] if len(offered) == 1 else self.model_config.name
        model = self.config.endpoint_model or notes.model or only
        if notes.model and offered and model not in offered:
            names = ", ".join(self.server.clean(name, 80) for name in offered[:20])
            raise UserError(
                f"endpoint: the answers so far are of the model '{self.server.clean(model)}'; {url} "
                f"offers: {names}; serve it under its name there, or use another --out"
            )
        if notes.url not in ("", url):
            notes.parameters = {old: new for old, new in notes.parameters.items() if new is None}
        if (notes.url, notes.model) != (url, model):
            notes.url, notes.model = url, model
            self.put(notes)

    async def _all(self, waiting: Iterator[Prompt], last: bool = False) -> None:
        """Ask with ``concurrency`` tasks. The first failure stops them and lets what is under way end."""

        async def work() -> None:
            for prompt in waiting:
                if self.stopped:
                    return
                await self._answer(prompt, self.client.complete, last)

        tasks = {asyncio.create_task(work()) for _ in range(self.config.concurrency)}
        try:
            done, others = await asyncio.wait(tasks, return_when=asyncio.FIRST_EXCEPTION)
        finally:
            self.stopped = True
        failures = [error for task in done if (error := task.exception())]
        if failures:
            self.server.give_up(others)
            if others:
                await asyncio.wait(others, timeout=GRACE_SECONDS)
            raise failures[0]
        self.stopped = False

    async def _answer(
        self,
        prompt: Prompt,
        ask: Callable[[Prompt], Coroutine[Any, Any, Completion]],
        last: bool = False,
    ) -> None:
        """One prompt's answer, now or after the others, or its refusal."""
        asked = time.monotonic()
        try:
            completion = await ask(prompt)
        except (Refused, Broken) as error:
            if isinstance(error, Broken) and error.kind not in ("status", "garbled"):
                raise
            if isinstance(error, Broken) and not last:
                self.later.append(prompt)
                await self._check(error)
                return
            detail = error.detail if isinstance(error, Refused) else str(error)
            said = f"the server refused the prompt: {detail or error}"
            failed = Completion(prompt.prompt_id, "", None, "error", 0, said)
            self.refused.append((time.monotonic(), failed, error))
            if len(self.refused) >= MOST_HELD or not (self.answered or self.checked):
                await self._check()
            return
        self.answered = True
        self.put(completion)
        self._believe(asked)

    def _believe(self, asked: float) -> None:
        """Take refusals that came before a question that was answered for those of their prompts."""
        if not self.answered:
            return
        for _, completion, _ in (one for one in self.refused if one[0] < asked):
            self.put(completion)
        self.refused = [one for one in self.refused if one[0] >= asked]

    async def _check(self, error: UserError | None = None) -> None:
        """Ask the control question, unless nothing failed since the last time.

        Raises:
            UserError: the server fails on it, too; the first refusal, explained.
        """
        failed = time.monotonic()
        async with self.checking:
            if self.checked > failed or not (error or self.refused):
                return
            asked = time.monotonic()
            try:
                await self.client.complete(CONTROL)
            except (Refused, Broken):
                first = error or self.refused[0][2]
                raise await self.client.explained(first) from None
            self.checked = time.monotonic()
            self._believe(asked)


def _as_they_come(
    work: Callable[[Callable[[News], None]], Coroutine[Any, Any, None]],
) -> Iterator[list[News]]:
    """What a coroutine puts, in batches of whatever has come; its failure is raised after that.

    It runs in a thread of its own: a notebook has a running loop in the caller's. The thread is a
    daemon: a program that is told to stop does not wait for requests under way.
    """
    come: queue.SimpleQueue[News | BaseException | None] = queue.SimpleQueue()
    loop = asyncio.new_event_loop()

    async def body() -> None:
        await work(come.put)

    def run() -> None:
        try:
            with asyncio.Runner(loop_factory=lambda: loop) as runner:
                runner.run(body())
        except BaseException as error:  # handed to the caller's thread, which raises it
            come.put(error)
        finally:
            come.put(None)

    threading.Thread(target=run, name="linguamap-endpoint", daemon=True).start()
    failure: BaseException | None = None
    try:
        while True:
            items = [come.get()]
            while not come.empty():
                items.append(come.get())
            batch = [item for item in items if isinstance(item, News)]
            failure = next((item for item in items if isinstance(item, BaseException)), failure)
            if batch:
                yield batch
            if items[-1] is None:
                break
    finally:
        if not loop.is_closed():
            loop.call_soon_threadsafe(lambda: [task.cancel() for task in asyncio.all_tasks(loop)])
    if failure is not None:
        raise failure
