"""vLLM's dialect over HTTP."""

from __future__ import annotations

import asyncio

import openai
import pytest

from tests.engines.emulator.wire import Client, Start, events, get, metric, post, until

DOCUMENT = "The quick brown fox jumps over the lazy dog. " * 40
HELLO = [{"role": "user", "content": "hello"}]


async def sdk(client: Client) -> openai.AsyncOpenAI:
    """The OpenAI client of the same emulator."""
    async with client.get("/health") as reply:
        url = f"{reply.url.origin()}/v1"
    return openai.AsyncOpenAI(base_url=url, api_key="none", max_retries=0)


async def test_completion(start: Start) -> None:
    """A repeated completion gets the same text, and all but the last block from the cache."""
    async with await sdk(await start("vllm")) as client:
        replies = [
            await client.completions.create(model="emulated", prompt=DOCUMENT, max_tokens=7)
            for _ in range(2)
        ]
    texts = {reply.choices[0].text for reply in replies}
    usage = replies[1].usage
    assert len(texts) == 1
    assert usage is not None
    assert (usage.prompt_tokens, usage.completion_tokens) == (450, 7)
    assert usage.prompt_tokens_details is not None
    assert usage.prompt_tokens_details.cached_tokens == 448


async def test_streamed_chat(start: Start) -> None:
    """The pieces of a stream make the text of the whole reply, and its usage comes last."""
    async with await sdk(await start("vllm")) as client:
        whole = await client.chat.completions.create(
            model="emulated",
            messages=[{"role": "user", "content": "hello"}],
            max_completion_tokens=5,
        )
        stream = await client.chat.completions.create(
            model="emulated",
            messages=[{"role": "user", "content": "hello"}],
            max_completion_tokens=5,
            stream=True,
            stream_options={"include_usage": True},
        )
        chunks = [chunk async for chunk in stream]
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    assert text == whole.choices[0].message.content
    assert chunks[-2].choices[0].finish_reason == "length"
    assert chunks[-1].usage is not None
    assert chunks[-1].usage.completion_tokens == 5


async def test_the_next_turn_hits_the_answer(start: Start) -> None:
    """A conversation that goes on finds its own history, answers included, in the cache."""
    client = await start("vllm")
    talk = [{"role": "user", "content": DOCUMENT}]
    first = (await post(client, "/v1/chat/completions", {"messages": talk, "max_tokens": 64}))[1]
    talk += [first["choices"][0]["message"], {"role": "user", "content": "And then?"}]
    usage = (await post(client, "/v1/chat/completions", {"messages": talk}))[1]["usage"]
    history = first["usage"]["total_tokens"] - 1
    assert usage["prompt_tokens_details"]["cached_tokens"] == history // 16 * 16


@pytest.mark.parametrize(
    ("prompt", "answers", "tokens"),
    [("abcdefgh", 1, 2), (["abcd", "efgh"], 2, 2), ([1, 2, 3], 1, 3), ([[1, 2], [3]], 2, 3)],
)
async def test_prompts_of_every_form(
    start: Start, prompt: object, answers: int, tokens: int
) -> None:
    """Text, texts, token ids and lists of them; n choices for each."""
    client = await start("vllm")
    body = {"prompt": prompt, "max_tokens": 2, "n": 2}
    _, reply = await post(client, "/v1/completions", body)
    assert [choice["index"] for choice in reply["choices"]] == list(range(2 * answers))
    assert reply["usage"]["prompt_tokens"] == tokens
    assert reply["usage"]["completion_tokens"] == 2 * 2 * answers


async def test_stream_ends_with_done(start: Start) -> None:
    """Every choice ends once, and the last line is [DONE]; no usage unless asked for."""
    client = await start("vllm")
    body = {"prompt": "abcd", "max_tokens": 3, "n": 2, "stream": True}
    *chunks, done = await events(client, "/v1/completions", body)
    assert done == "[DONE]"
    ends = [c["choices"][0]["index"] for c in chunks if c["choices"][0]["finish_reason"]]
    assert sorted(ends) == [0, 1]
    assert not any("usage" in chunk for chunk in chunks)


@pytest.mark.parametrize(
    ("body", "status", "param"),
    [
        ({"prompt": "x", "model": "unknown"}, 404, "model"),
        ({"prompt": "x", "max_tokens": 0}, 400, "max_tokens"),
        ({"prompt": "x" * 900}, 400, None),
        ({"prompt": "x", "max_tokens": 200}, 400, None),
        ({"prompt": ""}, 400, "prompt"),
        ({"prompt": [-1]}, 400, "prompt"),
        ({"prompt": {"no": "prompt"}}, 400, "prompt"),
        ({"prompt": "x", "priority": 1}, 400, "priority"),
        ({}, 400, None),
    ],
)
async def test_refusals(start: Start, body: object, status: int, param: str | None) -> None:
    """What vLLM refuses is refused in its words' shape, and nothing runs."""
    client = await start("vllm", context_tokens=200)
    code, reply = await post(client, "/v1/completions", body)
    assert (code, reply["error"]["code"], reply["error"]["param"]) == (status, status, param)
    assert set(reply["error"]) == {"message", "type", "param", "code"}
    assert await metric(client, "vllm:generation_tokens_total") == 0


async def test_metrics(start: Start) -> None:
    """Counters, gauges and the cache's size under vLLM's names."""
    client = await start("vllm", kv_tokens=4000)
    for _ in range(2):
        await post(client, "/v1/completions", {"prompt": DOCUMENT, "max_tokens": 1})
    assert await metric(client, "vllm:prefix_cache_queries_total") == 900
    assert await metric(client, "vllm:prefix_cache_hits_total") == 448
    assert await metric(client, "vllm:num_requests_running") == 0
    assert await metric(client, "vllm:kv_cache_usage_perc") == 0
    async with client.get("/metrics") as reply:
        assert 'cache_config_info{block_size="16",num_gpu_blocks="250"} 1.0' in await reply.text()
    assert await metric(client, "process_start_time_seconds") > 1.7e9


@pytest.mark.parametrize("stream", [True, False])
async def test_a_client_that_leaves_aborts(start: Start, stream: bool) -> None:
    """A request whose client closes the connection, before or after the first byte, is gone."""
    client = await start("vllm", speed=0.01, max_running=1)
    body = {"prompt": DOCUMENT, "max_tokens": 50, "stream": stream}
    first, second = (asyncio.ensure_future(post(client, "/v1/completions", body)) for _ in range(2))
    await until(client, "vllm:num_requests_waiting", 1)
    for task in (second, first):
        task.cancel()
    await until(client, "vllm:num_requests_waiting", 0)
    await until(client, "vllm:num_requests_running", 0)
    assert await metric(client, "vllm:kv_cache_usage_perc") == 0


async def test_priority_is_honoured(start: Start) -> None:
    """With the priority policy the lowest number is served first."""
    client = await start("vllm", policy="priority", max_running=1, kv_tokens=4000)
    order: list[int] = []

    async def one(priority: int, max_tokens: int) -> None:
        prompt = f"{priority} {DOCUMENT}"
        body = {"prompt": prompt, "max_tokens": max_tokens, "priority": priority}
        await post(client, "/v1/completions", body)
        order.append(priority)

    blocker = asyncio.ensure_future(one(9, max_tokens=3000))
    await until(client, "vllm:num_requests_running", 1)
    late = asyncio.ensure_future(one(8, max_tokens=5))
    await until(client, "vllm:num_requests_waiting", 1)
    early = asyncio.ensure_future(one(1, max_tokens=5))
    await until(client, "vllm:num_requests_waiting", 2)
    blocker.cancel()
    await asyncio.gather(late, early)
    assert order == [1, 8]


async def test_responses_and_messages(start: Start) -> None:
    """The two other generation routes give text and usage, whole and streamed alike."""
    client = await start("vllm")
    ask = {"input": "hello", "max_output_tokens": 4}
    _, whole = await post(client, "/v1/responses", ask)
    streamed = await events(client, "/v1/responses", ask | {"stream": True})
    text = "".join(event.get("delta", "") for event in streamed)
    assert whole["output"][0]["content"][0]["text"] == text
    assert streamed[-1]["response"]["usage"]["output_tokens"] == 4

    message = {"messages": HELLO, "max_tokens": 4}
    _, whole = await post(client, "/v1/messages", message)
    streamed = await events(client, "/v1/messages", message | {"stream": True})
    deltas = [event["delta"]["text"] for event in streamed if "block_delta" in event["type"]]
    assert whole["content"][0]["text"] == "".join(deltas)
    assert streamed[-1]["type"] == "message_stop"
    assert whole["usage"]["output_tokens"] == 4


async def test_what_costs_no_engine_time(start: Start) -> None:
    """Models, version, health, tokens and embeddings."""
    client = await start("vllm", models=("big", "alias"))
    assert [model["id"] for model in (await get(client, "/v1/models"))["data"]] == ["big", "alias"]
    assert await get(client, "/version") == {"version": "0.33.0"}
    async with client.get("/health") as reply:
        assert reply.status == 200
    _, tokens = await post(client, "/tokenize", {"prompt": "abcdefgh"})
    assert tokens["count"] == len(tokens["tokens"]) == 2
    _, chat = await post(client, "/tokenize", {"messages": HELLO})
    assert chat["count"] > 2
    _, vectors = await post(client, "/v1/embeddings", {"input": ["a", "b", "a"]})
    one, two, three = (item["embedding"] for item in vectors["data"])
    assert one == three != two


async def test_reset_prefix_cache(start: Start) -> None:
    """A reset empties the cache."""
    client = await start("vllm")
    body = {"model": "emulated", "prompt": DOCUMENT, "max_tokens": 1}
    await post(client, "/v1/completions", body)
    async with client.post("/reset_prefix_cache") as reply:
        assert reply.status == 200
    usage = (await post(client, "/v1/completions", body))[1]["usage"]
    assert usage["prompt_tokens_details"]["cached_tokens"] == 0
