"""PL005 to PL011: order, spelling and what stands beside the prompt."""

from __future__ import annotations

import json
from itertools import permutations
from typing import Any

from tests.lint.logs import COUNT, HANDBOOK, chat, codes, contents, lint, only

TOOLS = [
    {"type": "function", "function": {"name": name, "description": f"{name}: {HANDBOOK[:300]}"}}
    for name in ("search", "mail", "weather")
]


def called(tools: list[Any]) -> list[str]:
    """The tools' names."""
    return [tool["function"]["name"] for tool in tools]


def test_tools_in_changing_order() -> None:
    """They are sent in one order."""
    orders = permutations(TOOLS)
    report = lint(chat(HANDBOOK, i, tools=list(order)) for i, order in enumerate(orders))
    assert codes(report) == ["PL005"]
    assert all(called(e.body["tools"]) == ["mail", "search", "weather"] for e in report.mended)


def test_sets_of_tools_that_overlap() -> None:
    """Those that more requests have go first, so that the sets share them."""
    sets = [TOOLS[:2], TOOLS[1::-1], [TOOLS[2], TOOLS[0]], TOOLS[:2]]
    report = lint(chat(HANDBOOK, i, tools=tools) for i, tools in enumerate(sets))
    assert [called(e.body["tools"]) for e in report.mended] == [
        ["search", "mail"], ["search", "mail"], ["search", "weather"], ["search", "mail"],
    ]  # fmt: skip


def test_tools_in_one_order_are_left_alone() -> None:
    """Whatever that order is; so are tools without names."""
    assert not codes(lint(chat(HANDBOOK, i, tools=TOOLS) for i in range(COUNT)))
    assert not codes(lint(chat(HANDBOOK, i, tools=[1, {"function": 2}]) for i in range(COUNT)))


def test_own_text_before_shared_text() -> None:
    """A customer's profile goes after the instructions that all have."""
    names = ("Ann", "Bob", "Cem", "Dan", "Eve")
    report = lint(
        chat(f"You are a helper.\n\nCustomer: {name}, prefers tea.\n\n{HANDBOOK}", i)
        for i, name in enumerate(names)
    )
    assert codes(report) == ["PL006"]
    assert only(report).changes[0].what == "Customer: Ann, prefers tea."
    assert contents(report.mended[0])[0] == (
        f"You are a helper.\n\n{HANDBOOK}\n\nCustomer: Ann, prefers tea."
    )


def test_own_message_before_the_shared_one() -> None:
    """Leading messages change places, too; the conversation never does."""
    bodies = [chat(f"Customer: {name}.", i) for i, name in enumerate(("Ann", "Bob", "Cem"))]
    for body in bodies:
        body["messages"].insert(1, {"role": "developer", "content": HANDBOOK})
    report = lint(bodies)
    assert codes(report) == ["PL006"]
    assert contents(report.mended[1]) == [HANDBOOK, "Customer: Bob.", "Question b?"]


def test_messages_of_parts() -> None:
    """Text in parts is text; what is no text stays as it is."""
    picture = {"type": "image_url", "image_url": {"url": "data:,"}}
    bodies = [chat("", i) for i in range(3)]
    for body, name in zip(bodies, ("Ann", "Bob", "Cem"), strict=True):
        text = {"type": "text", "text": f"For {name}.\n\n{HANDBOOK}"}
        body["messages"][0]["content"] = [text, picture]
    report = lint(bodies)
    assert codes(report) == ["PL006"]
    assert report.mended[0].body["messages"][0]["content"] == [
        {"type": "text", "text": f"{HANDBOOK}\n\nFor Ann."}, picture,
    ]  # fmt: skip


def test_families_do_not_mix() -> None:
    """Text that one of two templates lacks is still shared by the other's requests."""
    other = HANDBOOK.replace("Section", "Chapter")
    report = lint(
        chat(f"{HANDBOOK}\n\nBe brief." if i % 2 else f"{other}\n\nBe verbose.", i)
        for i in range(COUNT)
    )
    assert not codes(report)


def test_white_space() -> None:
    """The same words with other gaps are written as most requests write them."""
    report = lint(
        chat(f"You are a helper.{gap}{HANDBOOK}", i)
        for i, gap in enumerate(("\n\n", "\n\n\n", "\n\n", " \n \n", "\n\n"))
    )
    assert codes(report) == ["PL007"]
    assert {contents(e)[0] for e in report.mended} == {f"You are a helper.\n\n{HANDBOOK}"}
    assert "\\n\\n\\n" in only(report).changes[0].what


def test_order_of_keys() -> None:
    """Tools and JSON in the text are encoded as most requests encode them."""
    profile = json.dumps({"style": "calm", "language": "en"})
    other = json.dumps({"language": "en", "style": "calm"})
    turned = [dict(reversed(tool.items())) for tool in TOOLS]
    report = lint(
        chat(f"{other if i == 2 else profile}\n\n{HANDBOOK}", i, tools=turned if i == 3 else TOOLS)
        for i in range(5)
    )
    assert codes(report) == ["PL008"]
    assert [c.where for c in only(report).changes] == ["messages[0]", "tools"]
    assert {contents(e)[0] for e in report.mended} == {f"{profile}\n\n{HANDBOOK}"}
    assert {json.dumps(e.body["tools"]) for e in report.mended} == {json.dumps(TOOLS)}


def test_what_only_looks_like_json() -> None:
    """A text that begins with a brace and is no JSON is left alone."""
    assert not codes(lint(chat(f"{{name}} rules.\n\n{HANDBOOK}", i) for i in range(COUNT)))


def examples(order: list[str], number: int) -> dict[str, Any]:
    """A chat with questions and answers to learn from."""
    body = chat(HANDBOOK, number)
    shots = [
        message
        for name in order
        for message in (
            {"role": "user", "content": f"{name}? {HANDBOOK[:200]}"},
            {"role": "assistant", "content": f"{name}!"},
        )
    ]
    body["messages"][1:1] = shots
    return body


def test_examples_in_changing_order() -> None:
    """Few-shot examples are sent as most requests send them; the question stays last."""
    orders = [list("xyz"), list("yxz"), list("xyz"), list("zyx")]
    report = lint(examples(order, i) for i, order in enumerate(orders))
    assert codes(report) == ["PL009"]
    assert contents(report.mended[3]) == [*contents(report.mended[0])[:-1], "Question d?"]


def test_conversations_are_no_examples() -> None:
    """Turns that grow, or that hold a tool's result, keep their order."""
    bodies = [examples(list("xyz")[:turns], turns) for turns in (1, 2, 3)]
    bodies.append(examples(["x", "x"], 4))
    bodies[2]["messages"].insert(3, {"role": "tool", "content": "1"})
    assert not codes(lint(bodies))


def test_salts() -> None:
    """A salt that changes within a tenant is found; one that parts tenants does its work."""
    tenants = ["a", "b"] * 4
    steady = [chat(HANDBOOK, i, cache_salt=tenant) for i, tenant in enumerate(tenants)]
    assert not codes(lint(steady, tenants))
    random = [chat(HANDBOOK, i, cache_salt=f"salt{i}") for i in range(8)]
    report = lint(random, tenants)
    assert codes(report) == ["PL010"]
    assert [e.body["cache_salt"] for e in report.mended] == ["salt0", "salt1"] * 4


def test_model_names() -> None:
    """Ways to write one name are found; different models stay different."""
    names = ("meta/llama-8b", "llama-8b", "Llama-8B:latest", "llama-8b", "qwen-3b")
    report = lint(chat(HANDBOOK, i, model=name) for i, name in enumerate(names))
    assert codes(report) == ["PL011"]
    assert [e.body["model"] for e in report.mended] == ["llama-8b"] * 4 + ["qwen-3b"]
