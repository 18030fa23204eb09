"""What Open WebUI asks of a connection that is added to it: `GET /models`, then chat by name."""

from __future__ import annotations

import aiohttp

HEADERS = {
    "Authorization": "Bearer sk-anything",
    "X-OpenWebUI-User-Name": "Ada%20L",
    "X-OpenWebUI-User-Id": "1",
    "X-OpenWebUI-User-Email": "ada@example.org",
    "X-OpenWebUI-User-Role": "user",
}
"""As its routers/openai.py sends them, with ENABLE_FORWARD_USER_INFO_HEADERS on."""


async def test_the_models_it_lists_can_be_chatted_with(base: str) -> None:
    """JSON with `data`, in which each `id` is a model that answers a streamed chat."""
    async with aiohttp.ClientSession(headers=HEADERS) as session:
        async with session.get(f"{base}/v1/models") as reply:
            listed = await reply.json()
        (model,) = listed["data"]
        assert (model["object"], model["id"]) == ("model", "emulated")
        chat = {
            "model": model["id"],
            "messages": [{"role": "user", "content": "hello"}],
            "stream": True,
            "max_tokens": 3,
        }
        async with session.post(f"{base}/v1/chat/completions", json=chat) as reply:
            assert reply.content_type == "text/event-stream"
            assert (await reply.read()).endswith(b"data: [DONE]\n\n")
