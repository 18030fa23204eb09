"""One emulated engine: its model, its figures, and how it answers a generation."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Sequence
from itertools import count

import msgspec
from aiohttp import web

from paceline.engines.emulator.config import EmulatorConfig
from paceline.engines.emulator.errors import Refused, error_body
from paceline.engines.emulator.generate_shape import GenerateShape
from paceline.engines.emulator.generation import Ask, Generation
from paceline.engines.emulator.metrics import Latencies
from paceline.engines.emulator.player import Aborted, Inbox, Player
from paceline.engines.emulator.shapes import DONE, Shape, sse
from paceline.engines.emulator.text import tokenize
from paceline.engines.model.build import build_engine

ABORTED = Refused(503, "The request was aborted.")


class Emulator:
    """What the routes of one application share."""

    def __init__(self, config: EmulatorConfig) -> None:
        self.config = config
        self.player = Player(build_engine(config.engine()), config.speed)
        self.latencies = Latencies(config)
        self.started_at = time.time()
        """Unix seconds."""
        self._serial = count()

    def new_id(self, prefix: str = "") -> str:
        """An id of fixed length, so that none is a prefix of another."""
        return f"{prefix}{next(self._serial):016x}"

    def model(self, name: str) -> str:
        """`name`, or the default; vLLM refuses an unknown one with 404, SGLang takes any."""
        if self.config.kind == "vllm" and name and name not in self.config.models:
            raise Refused(404, f"The model `{name}` does not exist.", "model")
        return name or self.config.models[0]

    def ids(self, prompt: str | Sequence[int]) -> Sequence[int]:
        """Token ids of a prompt; Refused with 400 when it is empty or the ids are out of range."""
        ids = tokenize(prompt) if isinstance(prompt, str) else prompt
        if not ids:
            raise Refused(400, "The prompt must not be empty.", "prompt")
        if not isinstance(prompt, str) and not 0 <= min(ids) <= max(ids) < 1 << 32:
            raise Refused(400, "Token id is out of vocabulary.", "prompt")
        return ids

    def check(self, ask: Ask) -> None:
        """Refused with 400 for what the engine would not take."""
        if ask.max_tokens is not None and ask.max_tokens < 1:
            message = f"max_tokens must be at least 1, got {ask.max_tokens}."
            raise Refused(400, message, "max_tokens")
        if ask.n < 1:
            raise Refused(400, f"n must be at least 1, got {ask.n}.", "n")
        if ask.priority and self.config.kind == "vllm" and self.config.policy != "priority":
            message = "Got priority but priority scheduling is not enabled."
            raise Refused(400, message, "priority")
        for prompt in ask.prompts:
            self._check_length(len(prompt), ask.max_tokens or 1)

    async def serve(self, request: web.Request, ask: Ask, shape: Shape) -> web.StreamResponse:
        """Play `ask` and answer; a client that leaves ends it, at any point. Raises Refused."""
        self.check(ask)
        engine_id = self.new_id() if self.config.kind == "vllm" else ask.id
        generation = Generation(ask, engine_id, self._default_tokens(ask))
        try:
            with self.player.play(generation.requests) as inbox:
                if ask.stream:
                    return await self._stream(request, generation, inbox, shape)
                return await self._whole(generation, inbox, shape)
        except ValueError as error:
            raise Refused(400, str(error)) from error

    async def _whole(self, generation: Generation, inbox: Inbox, shape: Shape) -> web.Response:
        with self.latencies.measure() as first_token:
            while not generation.done:
                try:
                    outputs = await inbox.take()
                except Aborted:
                    raise ABORTED from None
                first_token()
                deque(generation.take(outputs), maxlen=0)
        body = msgspec.json.encode(shape.whole(generation))
        return web.Response(body=body, content_type="application/json")

    async def _stream(
        self, request: web.Request, generation: Generation, inbox: Inbox, shape: Shape
    ) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream; charset=utf-8"})
        await response.prepare(request)
        try:
            await self._pour(response, generation, inbox, shape)
        except Aborted:
            await response.write(self._abort_event(request, generation, shape) + DONE)
        await response.write_eof()
        return response

    async def _pour(
        self,
        response: web.StreamResponse,
        generation: Generation,
        inbox: Inbox,
        shape: Shape,
    ) -> None:
        """Write what comes, as it comes; what has come together goes out in one write."""
        with self.latencies.measure() as first_token:
            opening = b"".join(shape.opening(generation))
            while not generation.done:
                outputs = await inbox.take()
                first_token()
                pieces = (shape.piece(generation, piece) for piece in generation.take(outputs))
                await response.write(opening + b"".join(pieces))
                opening = b""
        await response.write(b"".join(shape.closing(generation)))

    def _abort_event(self, request: web.Request, generation: Generation, shape: Shape) -> bytes:
        if isinstance(shape, GenerateShape):
            return shape.aborted(generation)
        return sse(error_body(self.config.kind, request.path, ABORTED))

    def _default_tokens(self, ask: Ask) -> int:
        """Length of an answer without a limit: the configured one, where the context allows it."""
        longest = max(len(prompt) for prompt in ask.prompts)
        return min(self.config.output_tokens, self.config.context - longest)

    def _check_length(self, prompt: int, output: int) -> None:
        context = self.config.context
        if prompt + output <= context:
            return
        message = (
            f"This model's maximum context length is {context} tokens. However, you requested "
            f"{prompt + output} tokens ({prompt} in the prompt, {output} in the completion)."
        )
        if self.config.kind == "sglang":
            message = (
                f"The input ({prompt} tokens) and its output ({output} tokens) are longer than the "
                f"model's context length ({context} tokens)."
            )
        raise Refused(400, message)
