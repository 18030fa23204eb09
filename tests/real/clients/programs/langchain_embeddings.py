"""LangChain's embeddings at the address and model given; prints three vectors as JSON."""

# pyright: reportMissingImports=false

from __future__ import annotations

import json
import sys

from langchain_openai import OpenAIEmbeddings


def main() -> None:
    """Two texts, one of them twice."""
    embeddings = OpenAIEmbeddings(
        base_url=f"{sys.argv[1]}/v1",
        api_key="none",
        model=sys.argv[2],
        check_embedding_ctx_length=False,  # or it downloads a tokenizer
    )
    print(json.dumps({"vectors": embeddings.embed_documents(["ba be bi", "do du", "ba be bi"])}))


if __name__ == "__main__":
    main()
