"""LangChain's chat models at the address and model given; prints what came of it as JSON."""

# pyright: reportMissingImports=false

from __future__ import annotations

import json
import sys
from typing import Any, Literal

from langchain_openai import ChatOpenAI, OpenAI
from pydantic import BaseModel

NO_SPACE = {13: -100, 14: -100, 17: -100, 36: -100}
"""See tests/real/clients/shapes.py."""


class Colour(BaseModel):
    """Which it is."""

    colour: Literal["red", "green"]
    sure: bool


def chat(base: str, **fields: Any) -> Any:
    """A chat model that answers shortly and does not retry."""
    fixed = {"model": sys.argv[2], "temperature": 0, "max_completion_tokens": 100, "max_retries": 0}
    return ChatOpenAI(base_url=base, api_key="none", **fixed, **fields)


def structured(base: str, method: str) -> Any:
    """A question answered as a Colour."""
    model = chat(base, logit_bias=NO_SPACE)
    return model.with_structured_output(Colour, method=method, strict=True).invoke("Which?")


def main() -> None:
    """Ask in each of its ways."""
    base = f"{sys.argv[1]}/v1"
    reply = chat(base).invoke("hello")
    text = OpenAI(base_url=base, api_key="none", model=sys.argv[2], max_tokens=6, temperature=0)
    results = {
        "chat": reply.usage_metadata["output_tokens"],
        "streamed": "".join(piece.content for piece in chat(base).stream("hello")) == reply.content,
        "batch": len(chat(base).batch(["a", "b", "c"])),
        "text": len(text.invoke("hello")),
        "schema": structured(base, "json_schema").model_dump(),
        "function": structured(base, "function_calling").model_dump(),
        "responses": chat(base, use_responses_api=True).invoke("hello").usage_metadata is not None,
    }
    print(json.dumps(results))


if __name__ == "__main__":
    main()
