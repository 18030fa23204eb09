"""Stands in for SGLang's compiled kernels, of which PyPI has only the CUDA build.

A small Llama on `--device cpu --attention-backend torch_native` calls one of them: the copy of
each request's new KV slots into the request-to-token table. The others fail when called.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


def assign_req_to_token_pool_cpu(
    rows: Any, table: Any, starts: Any, ends: Any, slots: Any, width: int
) -> None:
    """Write the flat list `slots` into `table[row, start:end]`, request after request."""
    taken = 0
    for row, start, end in zip(rows.tolist(), starts.tolist(), ends.tolist(), strict=True):
        count = end - start
        table[row, start:end] = slots[taken : taken + count].to(table.dtype)
        taken += count


def __getattr__(name: str) -> Callable[..., Any]:
    if name.startswith("__"):
        raise AttributeError(name)

    def absent(*_args: Any, **_kwargs: Any) -> Any:
        raise NotImplementedError(f"sgl_kernel.{name} has no CPU stand-in")

    return absent
