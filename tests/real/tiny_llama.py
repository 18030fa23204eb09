"""Writes the folder of a two-layer Llama with random weights, the same for both engines.

Its tokenizer is made so that prompts can be counted: each of WORDS, alone or after a space, is one
token of about five bytes, as in English under a real tokenizer; all other text falls apart into
syllables and bytes.
"""

from __future__ import annotations

import itertools
import json
import random
import sys
from array import array
from collections.abc import Iterator
from math import prod
from pathlib import Path
from typing import Any

SPECIAL = ("<s>", "</s>", "<|im_start|>", "<|im_end|>")
SYLLABLES = [c + v for c in "bdfgklmnprstvz" for v in "aeiou"]
WORDS = [a + b for a, b in itertools.product(SYLLABLES, SYLLABLES[::6])]
SPACE = "\u0120"
"""How byte-level BPE writes a space (the GPT-2 alphabet)."""
CONTEXT = 4096
HIDDEN = 256
INTERMEDIATE = 512
LAYERS = 2
HEADS = 4
KV_HEADS = 2
ROWS = 32768
"""Rows of the two vocabulary matrices; those behind the tokens are zero and never win. Reading them
stretches a decode step to some 5 ms and costs prefill nothing, so that an answer can be long in
seconds without being long in tokens."""
SPREAD = 0.1
"""Weights are uniform in +-SPREAD: wide enough that rounding never decides between two tokens."""

CHAT_TEMPLATE = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def words(seed: str, count: int) -> str:
    """A text of exactly `count` tokens, the same for the same seed."""
    return " ".join(random.Random(seed).choices(WORDS, k=count))


def write(folder: Path) -> Path:
    """Write configuration, weights, tokenizer and chat template into `folder`; returns it."""
    write_tokenizer(folder)
    (folder / "config.json").write_text(json.dumps(_config()))
    _write_weights(folder / "model.safetensors", len(_bpe()[0]))
    return folder


def write_tokenizer(folder: Path) -> Path:
    """Write the tokenizer and the chat template alone; returns `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    vocabulary, merges = _bpe()
    files = {
        "tokenizer.json": _tokenizer(vocabulary, merges),
        "tokenizer_config.json": {
            "tokenizer_class": "PreTrainedTokenizerFast",
            "bos_token": "<s>",
            "eos_token": "</s>",
            "pad_token": "</s>",
            "chat_template": CHAT_TEMPLATE,
            "model_max_length": CONTEXT,
        },
    }
    for name, content in files.items():
        (folder / name).write_text(json.dumps(content))
    return folder


def _alphabet() -> list[str]:
    """The 256 characters that stand for bytes: printable Latin-1 for itself, the rest shifted."""
    printable = {*range(33, 127), *range(161, 173), *range(174, 256)}
    shifted = itertools.count(256)
    return [chr(byte) if byte in printable else chr(next(shifted)) for byte in range(256)]


def _bpe() -> tuple[list[str], list[list[str]]]:
    """The tokens in the order of their ids, and the merges in the order of their rank."""
    merges = [[s[0], s[1]] for s in SYLLABLES]
    merges += [[word[:2], word[2:]] for word in WORDS]
    merges += [[SPACE, word] for word in WORDS]
    return [*SPECIAL, *_alphabet(), *(left + right for left, right in merges)], merges


def _tokenizer(vocabulary: list[str], merges: list[list[str]]) -> dict[str, Any]:
    byte_level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True}
    flags = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False}
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [
            {"id": id, "content": text, "special": True, **flags} for id, text in enumerate(SPECIAL)
        ],
        "normalizer": None,
        "pre_tokenizer": {**byte_level, "use_regex": True},
        "post_processor": None,
        "decoder": {**byte_level, "use_regex": True},
        "model": {
            "type": "BPE",
            "dropout": None,
            "unk_token": None,
            "continuing_subword_prefix": None,
            "end_of_word_suffix": None,
            "fuse_unk": False,
            "byte_fallback": False,
            "vocab": {token: id for id, token in enumerate(vocabulary)},
            "merges": merges,
        },
    }


def _config() -> dict[str, Any]:
    return {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "torch_dtype": "float32",
        "hidden_act": "silu",
        "vocab_size": ROWS,
        "hidden_size": HIDDEN,
        "intermediate_size": INTERMEDIATE,
        "num_hidden_layers": LAYERS,
        "num_attention_heads": HEADS,
        "num_key_value_heads": KV_HEADS,
        "max_position_embeddings": CONTEXT,
        "rms_norm_eps": 1e-5,
        "bos_token_id": 0,
        "eos_token_id": 1,
        "tie_word_embeddings": False,
    }


def _shapes() -> Iterator[tuple[str, tuple[int, ...]]]:
    kv_width = HIDDEN // HEADS * KV_HEADS
    yield "model.embed_tokens.weight", (ROWS, HIDDEN)
    for layer in range(LAYERS):
        name = f"model.layers.{layer}"
        yield f"{name}.self_attn.q_proj.weight", (HIDDEN, HIDDEN)
        yield f"{name}.self_attn.k_proj.weight", (kv_width, HIDDEN)
        yield f"{name}.self_attn.v_proj.weight", (kv_width, HIDDEN)
        yield f"{name}.self_attn.o_proj.weight", (HIDDEN, HIDDEN)
        yield f"{name}.mlp.gate_proj.weight", (INTERMEDIATE, HIDDEN)
        yield f"{name}.mlp.up_proj.weight", (INTERMEDIATE, HIDDEN)
        yield f"{name}.mlp.down_proj.weight", (HIDDEN, INTERMEDIATE)
        yield f"{name}.input_layernorm.weight", (HIDDEN,)
        yield f"{name}.post_attention_layernorm.weight", (HIDDEN,)
    yield "model.norm.weight", (HIDDEN,)
    yield "lm_head.weight", (ROWS, HIDDEN)


def _write_weights(path: Path, vocabulary: int) -> None:
    """A safetensors file: the header's length, the header in JSON, then the numbers in a row."""
    draw = random.Random(0).uniform
    numbers = array("f")
    header: dict[str, Any] = {}
    for name, shape in _shapes():
        start, size = len(numbers), prod(shape)
        if len(shape) == 1:
            numbers.extend(itertools.repeat(1.0, size))  # norms scale by one
        else:
            drawn = min(size, vocabulary * HIDDEN)  # all, but for the rows that pad
            numbers.extend(draw(-SPREAD, SPREAD) for _ in range(drawn))
            numbers.frombytes(bytes(4 * (size - drawn)))
        offsets = [4 * start, 4 * len(numbers)]
        header[name] = {"dtype": "F32", "shape": shape, "data_offsets": offsets}
    if sys.byteorder == "big":
        numbers.byteswap()
    head = json.dumps(header).encode()
    path.write_bytes(len(head).to_bytes(8, "little") + head + numbers.tobytes())
