"""One prompt -> one completion over a server: in turns or as text, with the settings that it takes."""

from __future__ import annotations

import re
import zlib
from collections.abc import Callable, Sequence
from typing import Any

from pydantic import BaseModel

from linguamap.config import EvaluateConfig, ModelConfig
from linguamap.generation.encoding import render_chat
from linguamap.generation.replies import Broken, Refused, Reply, read_chat, read_completion
from linguamap.generation.server import Server
from linguamap.generation.thinking import LINE_END, answer_ends, cut_at_stop, split_thinking
from linguamap.models.chat_template import without_system
from linguamap.records import Completion, Part, Prompt, UserError

CONTROL = Prompt("control", "control", "open", "en", "monolingual", (Part("Q", "1 + 1 ="),), ())
"""A question that no server has a reason to refuse: whether it answers at all."""

NO_TEMPLATE = re.compile(r"chat[ _.]template(?!_kwargs)|template not found", re.IGNORECASE)
"""In a refusal: vLLM's "default chat template is no longer allowed", Transformers' "chat_template is not
set", SGLang's and others' "does not have a chat template", TGI's "template not found"."""

NOT_CHAT = (
    "The server has no chat template for the model: it is asked for completions of plain text, as a "
    "base model (model.chat=no)."
)

UNFIT = re.compile(
    r"unsupported|support|unrecogni[sz]ed|unknown|unexpected|extra|not (?:be )?(?:permitted|allowed|available)"
    r"|must be|only the default|cannot find|invalid|deprecated",
    re.IGNORECASE,
)
"""Words of a server that does not take a setting, as against one whose limits a prompt exceeds."""
EXCEEDED = re.compile(
    r"too (?:large|long|many)|context|exceed|at most|maximum|limit|<=", re.IGNORECASE
)
INSTEAD = re.compile(r"[Uu]se ['\"`]?([a-z_]+)['\"`]? instead")


SHORTEST_LIMIT, LONGEST_LIMIT = 20_000, 100_000
LONGEST_TOKEN = 16
"""Characters a token in an answer's limit, where a server ignores ``max_tokens``: four times what text takes.
Models that repeat one word write megabytes there, which nothing after this point is made for."""


class ServerNotes(BaseModel):
    """``endpoint.json``: what was learned of a server while it was asked, so that a resumed run asks alike.

    Attributes:
        url, model: where, and for which model, it was learned.
        chat: whether prompts are asked in turns; None while that is open.
        has_system: whether the model's chat template has a system role.
        parameters: settings that the server refused -> the name that it takes instead, or None where
            they are left out.
    """

    url: str = ""
    model: str = ""
    chat: bool | None = None
    has_system: bool = True
    parameters: dict[str, str | None] = {}


class CompletionClient:
    """Asks a server for completions; may be used by many tasks at once."""

    def __init__(
        self,
        server: Server,
        config: EvaluateConfig,
        model_config: ModelConfig,
        notes: ServerNotes,
        seed: int,
        tell: Callable[[str | ServerNotes], None],
    ) -> None:
        """
        Args:
            notes: what is known of the server; what is learned is added to it.
            tell: receives a sentence for the user, and the notes whenever something was added.
        """
        self.server = server
        self.config = config
        self.thinking = model_config.thinking
        self.notes = notes
        self.seed = seed
        self.tell = tell
        if model_config.chat != "auto":
            notes.chat = model_config.chat == "yes"
        self.use_chat(notes.chat is not False)

    def use_chat(self, chat: bool) -> None:
        """Ask in turns of a chat, or for the continuation of a text."""
        self.is_chat, self.longest = chat, self.config.answer_tokens(chat)
        own_end = () if chat else LINE_END  # a chat model ends its own turn
        self.stops = own_end if self.config.stop is None else tuple(self.config.stop)

    async def detect_chat(self, prompt: Prompt) -> Completion:
        """The first answer: in a chat, or, if the server says it has no chat template, without one."""
        try:
            return await self.complete(prompt)
        except Refused as refused:
            if not _lacks_template(refused):
                raise
            self.use_chat(False)
            completion = await self.complete(prompt)
            self.tell(NOT_CHAT)
            return completion

    async def complete(self, prompt: Prompt) -> Completion:
        """The prompt's answer, cut and split as local generation does it."""
        stops = answer_ends(self.stops, prompt.bare) if self.config.stop is None else self.stops
        reply = await self._ask(prompt, stops)
        if stops and _stopped_before_it_began(reply):
            # Locally a line end counts after the first visible character only.
            reply = await self._ask(prompt, ())
        if self.notes.chat is None:
            self.notes.chat = self.is_chat
            self.tell(self.notes)
        limit = min(max(SHORTEST_LIMIT, LONGEST_TOKEN * self.longest), LONGEST_LIMIT)
        cut = cut_at_stop(reply.text[:limit], stops)
        text = reply.text[:limit] if cut is None else cut
        thinking, answer = (
            split_thinking(text) if reply.reasoning is None else (reply.reasoning, text.strip())
        )
        ended = "length" if len(reply.text) > limit else reply.finish
        return Completion(
            prompt_id=prompt.prompt_id,
            answer=answer,
            thinking=None if thinking is None else thinking[:limit],
            finish="error" if reply.fault else "stop" if cut is not None else ended,
            n_tokens=reply.n_tokens,
            error=reply.fault,
        )

    async def explained(self, error: UserError) -> UserError:
        """A server's refusal of everything, with what was found out about it."""
        status = getattr(error, "status", None)
        if status == 403:
            return self.server.key_fault(403)
        if isinstance(error, Broken) and error.kind != "status":
            return error
        offered = await self.server.models()
        if offered and self.notes.model not in offered:
            names = ", ".join(self.server.clean(name, 80) for name in offered[:20])
            advice = f"asked for the model '{self.notes.model}'; the server offers: {names}; "
            advice += "name one with --set evaluate.endpoint_model=NAME"
        elif self.is_chat and await self._completes_text():
            advice = "it does complete plain text; for a base model set model.chat=no"
        else:
            return error
        return UserError(f"{error}; {advice}")

    async def _completes_text(self) -> bool:
        body = {"prompt": CONTROL.text, "model": self.notes.model, "max_tokens": 1}
        try:
            await self.server.ask("/completions", body, read_completion)
        except UserError:
            return False
        return True

    async def _ask(self, prompt: Prompt, stops: Sequence[str]) -> Reply:
        settings: dict[str, Any] = {
            "max_tokens": self.longest,
            "temperature": self.config.temperature,
            # A seed of its own for each prompt, the same however often the run is resumed.
            "seed": (self.seed + zlib.crc32(prompt.prompt_id.encode("utf-8", "replace"))) % 2**31,
        }
        if stops:
            settings["stop"] = list(stops)
        if not self.is_chat:
            return await self._post(
                "/completions", {"prompt": prompt.text}, settings, read_completion
            )
        if self.thinking != "auto":
            settings["chat_template_kwargs"] = {"enable_thinking": self.thinking == "yes"}
        return await self._chat(prompt, settings)

    async def _chat(self, prompt: Prompt, settings: dict[str, Any]) -> Reply:
        """A chat answer; where the template has no system role, the first turn takes it in."""
        messages = render_chat(prompt)
        joined = without_system(messages)
        if self.notes.has_system:
            try:
                return await self._post(
                    "/chat/completions", {"messages": messages}, settings, read_chat
                )
            except Refused as refused:
                if joined == messages or "role" not in refused.detail.lower():
                    raise
        reply = await self._post("/chat/completions", {"messages": joined}, settings, read_chat)
        if self.notes.has_system:
            self.notes.has_system = False
            self.tell(self.notes)
        return reply

    async def _post(
        self,
        path: str,
        content: dict[str, Any],
        settings: dict[str, Any],
        read: Callable[[Any], Reply],
    ) -> Reply:
        """One reply, with the settings that the server takes: what it refuses by name is not sent again."""
        while True:
            sent = self._taken(settings)
            body = {"model": self.notes.model, **content, **sent}
            try:
                return await self.server.ask(path, body, read)
            except Refused as refused:
                name = refused_setting(refused, sent)
                if name is None:
                    raise
                if sent == self._taken(settings):  # else another task has learned it meanwhile
                    self._do_without(name, refused.detail)

    def _taken(self, settings: dict[str, Any]) -> dict[str, Any]:
        """Settings under the names that the server takes, without those that it refuses."""
        named = {self.notes.parameters.get(name, name): settings[name] for name in settings}
        return {name: value for name, value in named.items() if name is not None}

    def _do_without(self, name: str, detail: str) -> None:
        """Rename or leave out a setting from here on, and tell it."""
        renamed = {new: old for old, new in self.notes.parameters.items() if new}
        own = renamed.get(name, name)
        suggested = INSTEAD.search(detail)
        instead = suggested[1] if suggested else None
        if name == "max_tokens" and instead is None:
            instead = "max_completion_tokens"
        if own != name or instead in (name, own):  # it was renamed already: leave it out
            instead = None
        self.notes.parameters[own] = instead
        done = f"it is sent as {instead}" if instead else "it is left out"
        self.tell(f"The server does not take {name} ({detail}): {done}.")
        self.tell(self.notes)


def refused_setting(refused: Refused, sent: dict[str, Any]) -> str | None:
    """The setting that a server refuses by name, or None where it refuses something else.

    A limit that this prompt exceeds may name ``max_tokens``, too: that is no refusal of the setting.
    """
    if refused.status not in (400, 404, 422, 500):
        return None
    parameter = refused.parameter.rpartition(".")[2]
    named = [
        name for name in sent if name == parameter or (not parameter and _names(refused, name))
    ]
    if not named or refused.code == "content_filter":
        return None
    unfit = refused.code.startswith("unsupported") or UNFIT.search(refused.detail)
    exceeded = EXCEEDED.search(refused.detail) and not refused.code.startswith("unsupported")
    if not unfit or (exceeded and "max" in named[0]):
        return None
    return named[0]


def _names(refused: Refused, setting: str) -> bool:
    """Whether a refusal's words name a setting, rather than hold a word of the prompt."""
    quoted = rf"['\"`\[]{setting}['\"`\]]"
    introduced = rf"(?:param(?:eter)?s?|arguments?|fields?|options?|keys?|supplied)\W+{setting}\b"
    judged = rf"(?:^|\W){setting}(?:\W+(?:is|are|must|does|extra|parameter|value)\b)"
    return re.search(f"{quoted}|{introduced}|{judged}", refused.detail, re.IGNORECASE) is not None


def _lacks_template(refused: Refused) -> bool:
    """Whether a server refused a chat because the model has no chat template.

    Words about roles mean that there is one, and that it takes other turns.
    """
    says_so = NO_TEMPLATE.search(refused.detail) and "role" not in refused.detail.lower()
    return bool(says_so) and refused.status in (400, 404, 422, 500)


def _stopped_before_it_began(reply: Reply) -> bool:
    empty = not reply.text.strip() and reply.reasoning is None and reply.fault is None
    return empty and reply.finish == "stop" and reply.by_stop_string is not False
