"""Prompts become the token ids that the engines compute, or stay text."""

from __future__ import annotations

import json
import sys
from array import array
from pathlib import Path
from typing import Any

import pytest

from paceline.engines.tokens import ModelTokens, TokenizerError
from tests.real.tiny_llama import words, write_tokenizer

ASKED = {"messages": [{"role": "user", "content": "hi"}]}
TURN = "<|im_start|>user\nhi<|im_end|>\n<|im_start|>assistant\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_tokenizer(tmp_path)


def ids(data: bytes) -> list[int]:
    packed = array("I", data)
    if sys.byteorder == "big":
        packed.byteswap()
    return packed.tolist()


def templated(folder: Path, template: str, **settings: Any) -> ModelTokens:
    (folder / "tokenizer_config.json").write_text(
        json.dumps({"chat_template": template} | settings)
    )
    return ModelTokens(folder)


def test_words_are_counted_exactly(folder: Path) -> None:
    """The folder or the file in it."""
    for path in (folder, folder / "tokenizer.json"):
        assert len(ids(ModelTokens(path).encode(words("a", 300), special=True))) == 300


def test_a_chat_is_rendered_as_the_template_says(folder: Path) -> None:
    """One text part reads like the plain string, no content like an empty one."""
    tokens = ModelTokens(folder)
    assert tokens.chat(ASKED) == TURN
    parts = [{"type": "text", "text": "hi"}]
    assert tokens.chat({"messages": [{"role": "user", "content": parts}]}) == TURN
    called = {"role": "assistant", "content": None}
    assert tokens.chat({"messages": [called]}) == (
        "<|im_start|>assistant\n<|im_end|>\n<|im_start|>assistant\n"
    )
    assert tokens.chat(ASKED | {"add_generation_prompt": False}) == TURN[: TURN.rindex("<|im_s")]
    special = ids(tokens.encode("<|im_start|>user", special=False))
    assert special[0] == 2


@pytest.mark.parametrize(
    "body",
    [
        ASKED | {"tools": [{"type": "function"}]},
        ASKED | {"chat_template": "x"},
        ASKED | {"continue_final_message": True},
        {"messages": [{"role": "user", "content": [{"type": "image_url"}]}]},
        {"messages": [{"role": "user", "content": [{"text": "a"}, {"text": "b"}]}]},
        {"messages": [{"role": "user", "tool_calls": [{"function": {"arguments": "{"}}]}]},
        {"messages": [{"content": "no role", "role": 5}]},
        {},
    ],
)
def test_what_engines_may_render_otherwise_stays_text(folder: Path, body: Any) -> None:
    """Nobody is refused here: the engine says what is wrong with it."""
    template = "{% for m in messages %}{{ m.role + m.content }}{% endfor %}"
    assert templated(folder, template).chat(body) is None


def test_calls_reach_the_template_parsed(folder: Path) -> None:
    """As from the engines, and `tojson` writes what Hugging Face's does."""
    tokens = templated(folder, "{{ messages[0].tool_calls[0].function.arguments | tojson }}")
    call = {"function": {"name": "f", "arguments": '{"b": "é<", "a": 1}'}}
    message = {"role": "assistant", "content": None, "tool_calls": [call]}
    assert tokens.chat({"messages": [message]}) == '{"b": "é<", "a": 1}'


def test_templates_have_what_hugging_face_gives_them(folder: Path) -> None:
    """Special tokens by name, arguments of the request, the date, a way to refuse."""
    template = (
        "{{ bos_token }}{{ eos_token }}{{ mood }}{{ strftime_now('%Y') | length }}"
        "{% for m in messages %}{% break %}{% endfor %}"
    )
    tokens = templated(folder, template, bos_token={"content": "<s>"}, eos_token="</s>", x_token=3)
    assert tokens.chat(ASKED | {"chat_template_kwargs": {"mood": "!"}}) == "<s></s>!4"
    assert templated(folder, "{{ raise_exception('no') }}").chat(ASKED) is None


def test_templates_are_found_where_models_keep_them(folder: Path) -> None:
    """A file of its own goes first; of several the default; without any, chats stay text."""
    named = [{"name": "tools", "template": "t"}, {"name": "default", "template": "d"}]
    assert templated(folder, named).chat(ASKED) == "d"  # type: ignore[arg-type]
    (folder / "chat_template.jinja").write_text("f")
    assert ModelTokens(folder).chat(ASKED) == "f"
    (folder / "chat_template.jinja").unlink()
    (folder / "tokenizer_config.json").unlink()
    assert ModelTokens(folder).chat(ASKED) is None
    (folder / "tokenizer_config.json").write_text("[]")
    assert ModelTokens(folder).chat(ASKED) is None


@pytest.mark.parametrize(
    ("file", "text", "words"),
    [
        ("tokenizer.json", "{}", "tokenizer.json"),
        ("tokenizer_config.json", "{", "tokenizer_config.json"),
        ("tokenizer_config.json", '{"chat_template": "{% if %}"}', "its chat template"),
    ],
)
def test_a_broken_tokenizer_is_named(folder: Path, file: str, text: str, words: str) -> None:
    """At the start, not at the first request."""
    (folder / file).write_text(text)
    with pytest.raises(TokenizerError, match=words):
        ModelTokens(folder)


@pytest.mark.parametrize("module", ["tokenizers", "jinja2.sandbox"])
def test_a_missing_extra_is_named(
    folder: Path, module: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With what to install."""
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(TokenizerError, match=r"install paceline\[tokenizer\]"):
        ModelTokens(folder)
