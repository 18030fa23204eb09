"""What the scheduler may know of a request and of a backend; never the true output length."""

from __future__ import annotations

from msgspec import Struct

Keys = tuple[int, ...]
"""Block keys of a prompt, outermost first."""


class Request(Struct, frozen=True, kw_only=True):
    """One request as the scheduler sees it: numbers and block keys, no text."""

    id: str
    arrived_at: float
    """Seconds on the shell's clock."""
    model: str = ""
    """Model name; empty means that any backend will do."""
    prefix: tuple[int, ...] = ()
    """Chained block keys, outermost first: equal keys mean equal text up to that block's end."""
    block_tokens: float = 128.0
    """Tokens in one base block; `blocks.BOUNDS` says how many base blocks a depth spans."""
    exact: bool = False
    """The blocks are of the very tokens that the engine has, so that it can tell of them."""
    prompt_tokens: int = 0
    """Length of the whole prompt in tokens, estimated unless a tokenizer is configured."""
    max_tokens: int | None = None
    """The client's limit on the answer, in tokens a choice."""
    n: int = 1
    """Choices sampled from the one prompt."""
    streaming: bool = True
    """Whether a first byte is seen before the end."""
    priority: int = 0
    """Higher goes first, strictly."""
    tenant: str = ""
    deadline: float | None = None
    """Instant after which waiting is pointless."""


class Usage(Struct, frozen=True, kw_only=True):
    """What the engine reported when a request ended; a field it left out is None."""

    prompt_tokens: int | None = None
    output_tokens: int | None = None
    cached_tokens: int | None = None


class BackendSpec(Struct, frozen=True, kw_only=True):
    """What the shell found out about one backend; sent whole whenever it changes."""

    id: str
    """Stable name, shown in headers, logs and metrics: the URL unless configured."""
    models: tuple[str, ...] | None = None
    """Names it serves; None until it has answered once."""
    apis: tuple[str, ...] = ()
    """APIs that only some engines have, by the names that requests for them carry as model."""
    kv_tokens: int | None = None
    """Size of its KV pool in tokens; None when unknown, and then KV room is not checked."""
    chunk_tokens: int = 8192
    """Prefill tokens a step (`max_num_batched_tokens`, `chunked_prefill_size`)."""
    max_running: int | None = None
    """Requests that it runs at once; None when unknown."""
    leader_first: bool = False
    """Its cache publishes a prefix only after computing it: hold followers for their leader."""
    up: bool = True
    """Healthy enough to be sent requests."""
    draining: bool = False
    """Finishing what it has; gets nothing new."""
    load_tokens: int = 0
    """Prefill tokens by which it is busier than can be seen here: it refused a request."""

    def serves(self, model: str) -> bool:
        """Whether a request for `model` may be sent here now."""
        return self.up and not self.draining and self.models is not None and self.has(model)

    def has(self, model: str) -> bool:
        """Whether it is known to have this model or API."""
        return not model or model in (self.models or ()) or model in self.apis
