"""SGLang's dialect over HTTP."""

from __future__ import annotations

import asyncio

import pytest

from tests.engines.emulator.wire import Start, events, get, metric, post, until

DOCUMENT = "The quick brown fox jumps over the lazy dog. " * 40


async def test_generate(start: Start) -> None:
    """A repeated prompt gets the same answer and all but its last token from the cache."""
    client = await start("sglang")
    body = {"text": DOCUMENT, "sampling_params": {"max_new_tokens": 6}, "rid": "0001"}
    _, first = await post(client, "/generate", body)
    _, second = await post(client, "/generate", body)
    assert first["text"] == second["text"]
    assert len(first["output_ids"]) == 6
    meta = second["meta_info"]
    assert (meta["id"], meta["prompt_tokens"], meta["cached_tokens"]) == ("0001", 450, 449)
    assert meta["finish_reason"] == {"type": "length", "length": 6}


async def test_generate_streams_cumulative_text(start: Start) -> None:
    """Every chunk repeats the text so far; the last one has a finish reason, then [DONE]."""
    client = await start("sglang")
    body = {"input_ids": [1, 2, 3], "sampling_params": {"max_new_tokens": 4}, "stream": True}
    *chunks, done = await events(client, "/generate", body)
    assert done == "[DONE]"
    assert [len(chunk["text"]) for chunk in chunks] == [4, 8, 12, 16]
    assert [bool(chunk["meta_info"]["finish_reason"]) for chunk in chunks] == [False] * 3 + [True]
    assert "index" not in chunks[0]


@pytest.mark.parametrize(
    ("prompts", "n", "answers"), [(["abcd", "efgh"], 1, 2), ("abcd", 3, 3), ([[1], [2]], 2, 4)]
)
async def test_generate_many(start: Start, prompts: object, n: int, answers: int) -> None:
    """Batches and choices come as a list, or as chunks with an index."""
    client = await start("sglang")
    field = "text" if "abcd" in prompts else "input_ids"  # type: ignore[operator]
    body = {field: prompts, "sampling_params": {"max_new_tokens": 2, "n": n}}
    _, whole = await post(client, "/generate", body)
    chunks = (await events(client, "/generate", body | {"stream": True}))[:-1]
    last = {chunk["index"]: chunk["text"] for chunk in chunks}
    assert len(whole) == answers
    assert [last[index] for index in range(answers)] == [answer["text"] for answer in whole]


async def test_abort_request(start: Start) -> None:
    """An aborted rid ends its stream with an abort chunk, and a reply that waits with 503."""
    client = await start("sglang", speed=0.01)
    body = {"text": DOCUMENT, "sampling_params": {"max_new_tokens": 50}}
    streamed = asyncio.ensure_future(
        events(client, "/generate", body | {"rid": "x1", "stream": True})
    )
    whole = asyncio.ensure_future(post(client, "/generate", body | {"rid": "x2"}))
    await until(client, "sglang:num_running_reqs", 2)
    async with client.post("/abort_request", json={"rid": "x"}) as reply:
        assert reply.status == 200
    chunk, done = await streamed
    assert (chunk["meta_info"]["finish_reason"]["type"], done) == ("abort", "[DONE]")
    assert (await whole)[0] == 503
    assert await metric(client, "sglang:num_used_tokens") == 0


async def test_a_client_that_leaves_aborts(start: Start) -> None:
    """Closing the connection frees what the request held."""
    client = await start("sglang", speed=0.01)
    body = {"text": DOCUMENT, "sampling_params": {"max_new_tokens": 50}, "stream": True}
    task = asyncio.ensure_future(events(client, "/generate", body))
    await until(client, "sglang:num_running_reqs", 1)
    task.cancel()
    await until(client, "sglang:num_running_reqs", 0)
    assert (await get(client, "/v1/loads"))["loads"][0]["num_used_tokens"] == 0


async def test_loads_and_info(start: Start) -> None:
    """Sizes and options where the adapters look for them."""
    client = await start("sglang", kv_tokens=5000, policy="lpm", max_running=7)
    (rank,) = (await get(client, "/v1/loads"))["loads"]
    assert (rank["dp_rank"], rank["num_running_reqs"], rank["num_waiting_reqs"]) == (0, 0, 0)
    assert (rank["max_total_num_tokens"], rank["max_running_requests"]) == (5000, 7)
    info = await get(client, "/server_info")
    assert info == await get(client, "/get_server_info")
    assert (info["max_total_num_tokens"], info["schedule_policy"]) == (5000, "lpm")
    assert (info["chunked_prefill_size"], info["page_size"]) == (8192, 1)
    assert (await get(client, "/model_info"))["model_path"] == "emulated"


async def test_metrics(start: Start) -> None:
    """Counters and gauges under SGLang's names."""
    client = await start("sglang", kv_tokens=4000)
    for _ in range(2):
        await post(client, "/v1/completions", {"prompt": DOCUMENT, "max_tokens": 1})
    assert await metric(client, "sglang:prompt_tokens_total") == 900
    assert await metric(client, "sglang:cached_tokens_total") == 449
    assert await metric(client, "sglang:max_total_num_tokens") == 4000
    assert await metric(client, "sglang:token_usage") == 0


async def test_openai_routes_report_the_cache_if_told_to(start: Start) -> None:
    """usage.prompt_tokens_details is there only with --enable-cache-report."""
    body = {"messages": [{"role": "user", "content": "hi"}], "max_tokens": 1, "model": "any"}
    for report in (True, False):
        client = await start("sglang", report_cached_tokens=report)
        status, reply = await post(client, "/v1/chat/completions", body)
        assert (status, "prompt_tokens_details" in reply["usage"]) == (200, report)


async def test_flush_cache(start: Start) -> None:
    """A flush empties the cache; while a request runs it is refused."""
    client = await start("sglang", speed=0.5)
    body = {"text": DOCUMENT, "sampling_params": {"max_new_tokens": 20}}
    task = asyncio.ensure_future(post(client, "/generate", body))
    await until(client, "sglang:num_running_reqs", 1)
    async with client.post("/flush_cache") as reply:
        assert reply.status == 400
    await task
    async with client.post("/flush_cache") as reply:
        assert reply.status == 200
    assert (await post(client, "/generate", body))[1]["meta_info"]["cached_tokens"] == 0


@pytest.mark.parametrize(
    "body", [{}, {"text": "a", "input_ids": [1]}, {"text": "x" * 999}, {"text": []}]
)
async def test_generate_refuses(start: Start, body: object) -> None:
    """What /generate refuses is refused in its words' shape."""
    client = await start("sglang", context_tokens=100)
    status, reply = await post(client, "/generate", body)
    assert status == 400
    assert set(reply["error"]) == {"message"}
    status, reply = await post(client, "/v1/completions", body)
    assert (status, reply["object"], reply["code"]) == (400, "error", 400)
