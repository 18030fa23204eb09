"""What reads other people's bytes: each function takes some, and may refuse them in one way only.

The property tests here feed them with made-up input, `python -m tests.fuzz` with what atheris
finds.
"""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Callable
from math import isfinite
from pathlib import Path

from msgspec import DecodeError
from msgspec.msgpack import encode

from paceline.engines import api
from paceline.engines.kv_events import Mirror, decode
from paceline.engines.prometheus import samples
from paceline.lint.errors import LintError
from paceline.lint.log import read_log
from paceline.proxy.access.keys import BadKeys, Keys
from paceline.proxy.access.salts import FIELDS, Salts
from paceline.proxy.http.framing import BadFraming, Chunked
from paceline.proxy.http.replies import BadReply, framing_of, split_head
from paceline.proxy.process.load import ConfigError, load_config
from paceline.proxy.serving.usage import read_usage
from paceline.sim.rows import TraceError
from paceline.sim.traces import open_trace
from tests.fuzz.wire import GOOD, play

SEED = b"s" * 16
PATHS = sorted(api.PATHS)


def body(data: bytes) -> None:
    """A body on each scheduled route: BadRequest, or a request that is the same when salted."""
    for path in PATHS:
        try:
            call = api.parse(path, data)
        except api.BadRequest:
            continue
        request = call.to_request(id="r", arrived_at=0.0, seed=SEED)
        assert request.prompt_tokens >= 0
        assert request.n >= 1
        salted = Salts().salted(data, path, "tenant")
        if path not in FIELDS:
            assert salted == data
            continue
        assert FIELDS[path].encode() in salted
        again = api.parse(path, salted)
        assert again.prompt == call.prompt
        assert again.variant != call.variant


def connection(data: bytes) -> None:
    """What a client sends: the same requests however it is cut, and no failure inside."""
    whole, statuses = asyncio.run(play([data]))
    middle = len(data) // 2
    parts, others = asyncio.run(play([data[:middle], data[middle:]]))
    assert b"500" not in statuses + others
    assert whole == parts


def config(data: bytes) -> None:
    """A configuration file: ConfigError, in one line, or a configuration."""
    _with_file(data, ".toml", lambda path: load_config(path), ConfigError)


def events(data: bytes) -> None:
    """A message with KV events: DecodeError, or a change of what is mirrored."""
    try:
        batch = decode(data)
    except (DecodeError, UnicodeDecodeError):
        return
    Mirror({None: SEED}, 16).apply(batch.events)


def metrics(data: bytes) -> None:
    """An engine's `/metrics`: numbers or none."""
    assert all(isfinite(value) for _, value in samples(data, "vllm:a"))


def prompts(data: bytes) -> None:
    """A log of requests to be linted: LintError or entries."""
    _with_file(data, ".jsonl", read_log, LintError)


def trace(data: bytes) -> None:
    """A trace of any kind: TraceError or sessions."""

    def read(path: Path) -> None:
        sessions, _ = open_trace(path, block_tokens=16, skip_bad=False)
        for session in sessions:
            for _ in session.turns:
                pass

    _with_file(data, ".jsonl", read, TraceError)


def keys(data: bytes) -> None:
    """A file of keys: BadKeys or keys."""
    lines = data.decode("utf-8", "replace").splitlines()
    _refused_with(BadKeys, lambda: Keys(lines))


def reply(data: bytes) -> None:
    """An engine's reply: BadReply, BadFraming, or a body whose end is known."""
    try:
        head, rest = split_head(data)
        if head is not None:
            framing = framing_of(head, "POST")
            assert sum(map(len, framing.feed(rest))) <= len(rest)
    except (BadReply, BadFraming):
        pass


def chunks(data: bytes) -> None:
    """A chunked body is the same however it is cut."""
    assert _payload([data]) == _payload([data[i : i + 1] for i in range(len(data))])


def usage(data: bytes) -> None:
    """The end of an answer: whatever stands there, there is no exception."""
    read_usage(data)


TARGETS: dict[str, Callable[[bytes], None]] = {
    target.__name__: target
    for target in (
        *(body, chunks, config, connection, events, keys),
        *(metrics, prompts, reply, trace, usage),
    )
}


STORED = {"type": "BlockStored", "block_hashes": [1], "token_ids": [5] * 16, "block_size": 16}

SEEDS: dict[str, tuple[bytes, ...]] = {
    "body": (
        b'{"model":"m","messages":[{"role":"user","content":[{"type":"text","text":"a"}]}],"n":2}',
        b'{"prompt":[[1,2],[3]],"max_tokens":"5","stream":true,"cache_salt":"s"}',
        b'{"text":["a","b"],"sampling_params":{"n":2,"max_new_tokens":8},"extra_key":null}',
    ),
    "chunks": (b"5;a=b\r\nhello\r\n0\r\nX: y\r\n\r\n",),
    "config": (b'[server]\nport = 1\n[[backends]]\nurl = "http://a:1"\nmodels = ["m"]\n',),
    "connection": (
        b"POST /x HTTP/1.1\r\nHost: p\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n\r\n"
        + GOOD,
        b"POST /x HTTP/1.1\r\nHost: p\r\nContent-Length: 2\r\n\r\n{}" + GOOD * 2,
    ),
    "events": (
        encode([0.0, [{"type": "BlockRemoved", "block_hashes": [1, b"2"]}], None]),
        encode([0.0, [STORED, {"type": "AllBlocksCleared"}], None]),
    ),
    "metrics": (b'vllm:a{b="c"} 1.5\nvllm:a_sum NaN\n# HELP\nvllm:a 2',),
    "prompts": (b'{"body":{"prompt":"a"},"tenant":"t"}\n',),
    "keys": (b"acme sha256:" + b"0" * 64 + b" # one\n",),
    "reply": (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n\r\n",),
    "trace": (
        b'{"timestamp": 0, "input_length": 20, "output_length": 2, "hash_ids": [1, 2]}\n',
        b'{"time": 0.0, "event": {"type": "Finished", "id": "a", "usage": {}}}\n',
        b"TIMESTAMP,ContextTokens,GeneratedTokens\n2023-11-16 18:17:03.9799600,4808,10\n",
    ),
    "usage": (b'data: {"choices":[],"usage":{"prompt_tokens":5}}\n\ndata: [DONE]\n\n',),
}
"""What a search begins with."""


def _payload(pieces: list[bytes]) -> bytes | None:
    framing, out = Chunked(), b""
    try:
        for piece in pieces:
            if framing.complete:
                break
            out += b"".join(framing.feed(piece))
    except BadFraming:
        return None
    return out


def _with_file(
    data: bytes, suffix: str, read: Callable[[Path], object], refusal: type[Exception]
) -> None:
    with tempfile.NamedTemporaryFile(suffix=suffix) as file:
        file.write(data)
        file.flush()
        _refused_with(refusal, lambda: read(Path(file.name)))


def _refused_with(refusal: type[Exception], read: Callable[[], object]) -> None:
    """A refusal is one line."""
    message = ""
    try:
        read()
    except refusal as error:
        message = str(error)
    assert "\n" not in message
