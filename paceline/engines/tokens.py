"""A model's own tokenizer and chat template: prompts as the very token ids that engines compute.

Needs the extra `paceline[tokenizer]`. What the engines render differently from each other (tools,
contents of several parts) or not at all (media) has no token ids here, and goes by its text.
"""

from __future__ import annotations

import datetime
import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from paceline.engines.segments import Segments

if TYPE_CHECKING:
    from jinja2 import Template
    from tokenizers import Tokenizer

UNLIKE = frozenset(
    (
        "input_ids",
        "tools",
        "documents",
        "chat_template",
        "reasoning_effort",
        "continue_final_message",
        "add_special_tokens",
    )
)
"""Fields of a chat that change its rendering, each engine in its way."""
EXTRA = "install paceline[tokenizer]"


class TokenizerError(Exception):
    """The tokenizer cannot be used; says which and why."""


class ModelTokens:
    """One model's tokenizer, and its chat template if it has one. Safe to use from any thread."""

    def __init__(self, path: Path) -> None:
        """Read `tokenizer.json`, or the folder that it is in. Raises TokenizerError."""
        folder = path if path.is_dir() else path.parent
        file = path / "tokenizer.json" if path.is_dir() else path
        self._segments = Segments(_load(file))
        settings = _settings(folder / "tokenizer_config.json")
        source = _template_source(folder, settings)
        self._special = {
            name: token["content"] if isinstance(token, Mapping) else token
            for name, token in settings.items()
            if name.endswith("_token") and isinstance(token, str | Mapping)
        }
        try:
            self._template = None if source is None else _compile(source)
        except Exception as error:
            raise TokenizerError(f"{folder}: its chat template: {error}") from None

    def chat(self, body: Mapping[str, Any]) -> str | None:
        """The text of a chat as engines render it; None where they may not do it alike."""
        if self._template is None or any(body.get(field) for field in UNLIKE):
            return None
        arguments = body.get("chat_template_kwargs") or {}
        try:
            messages = [_message(message) for message in body["messages"]]
            if None in messages:
                return None
            return self._template.render(
                **self._special,
                **{"add_generation_prompt": body.get("add_generation_prompt", True)} | arguments,
                messages=messages,
                tools=None,
                documents=None,
            )
        except Exception:  # a template may raise anything: the engine will say what is wrong
            return None

    def encode(self, text: str, *, special: bool) -> bytes:
        """The ids of a text, four bytes each, the least significant first.

        `special`: with what the tokenizer adds to a plain prompt, such as its first token.
        """
        if special:
            return self._segments.whole(text, special=True)
        return self._segments.encode(text)


def _load(file: Path) -> Tokenizer:
    try:
        from tokenizers import Tokenizer
    except ImportError:
        raise TokenizerError(f"{file}: {EXTRA}") from None
    try:
        return Tokenizer.from_file(str(file))
    except Exception as error:  # the only class that it raises
        raise TokenizerError(f"{file}: {error}") from None


def _settings(file: Path) -> dict[str, Any]:
    if not file.exists():
        return {}
    try:
        settings = json.loads(file.read_text("utf-8"))
    except ValueError as error:
        raise TokenizerError(f"{file}: {error}") from None
    return settings if isinstance(settings, dict) else {}


def _template_source(folder: Path, settings: Mapping[str, Any]) -> str | None:
    """Newer models have the template in a file of its own; some have several by name."""
    file = folder / "chat_template.jinja"
    if file.exists():
        return file.read_text("utf-8")
    template = settings.get("chat_template")
    if isinstance(template, list):
        template = {item["name"]: item["template"] for item in template}.get("default")
    return template if isinstance(template, str) else None


def _compile(source: str) -> Template:
    """With what Hugging Face's `apply_chat_template` offers to templates."""
    try:
        from jinja2.sandbox import ImmutableSandboxedEnvironment
    except ImportError:
        raise TokenizerError(EXTRA) from None
    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=["jinja2.ext.loopcontrols"]
    )
    environment.filters["tojson"] = _to_json
    environment.globals["raise_exception"] = _refuse
    environment.globals["strftime_now"] = lambda form: datetime.datetime.now().strftime(form)
    return environment.from_string(source)


def _to_json(value: Any, ensure_ascii: bool = False, **form: Any) -> str:
    return json.dumps(value, ensure_ascii=ensure_ascii, **form)


def _refuse(message: str) -> NoReturn:
    raise ValueError(message)


def _message(message: Mapping[str, Any]) -> dict[str, Any] | None:
    """As engines hand it to the template: one text, and the calls' arguments parsed."""
    content = message.get("content")
    if isinstance(content, list):
        text = content[0].get("text") if len(content) == 1 else None
        if not isinstance(text, str):
            return None
        message = {**message, "content": text}
    elif content is None:
        message = {**message, "content": ""}
    calls = message.get("tool_calls")
    if calls:
        message = {**message, "tool_calls": [_call(call) for call in calls]}
    return dict(message)


def _call(call: Mapping[str, Any]) -> dict[str, Any]:
    function = dict(call.get("function") or {})
    arguments = function.get("arguments")
    if isinstance(arguments, str):
        function["arguments"] = json.loads(arguments or "{}")
    return {**call, "function": function}
