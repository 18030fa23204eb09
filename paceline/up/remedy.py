"""What an engine's last words mean, and what to do about them.

The messages are those of vLLM 0.32 (v1/worker/utils.py, v1/core/kv_cache_utils.py,
config/model.py), SGLang 0.5.23 (srt/model_executor/pool_configurator.py), PyTorch 2.x and
huggingface_hub.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence

KILLED = 128 + 9
"""The exit status of what SIGKILL ended."""

Remedy = str | Callable[[re.Match[str]], str]


def _too_much_asked(found: re.Match[str]) -> str:
    free, total, asked = (float(found[i]) for i in (1, 2, 3))
    fits = math.floor(free / total * 100) / 100
    return (
        f"out of GPU memory: {asked:g} GiB asked for and {free:g} of {total:g} free; end what else "
        f"uses the GPU, or set gpu-memory-utilization to {fits:.2f} at most"
    )


def _too_long(found: re.Match[str]) -> str:
    fits = f"max-model-len {found[4]}" if found[4] else "a shorter max-model-len"
    return (
        f"too little memory for the KV cache: one request of {found[1]} tokens takes {found[2]} "
        f"GiB and {found[3]} are left; set {fits}, or a higher gpu-memory-utilization"
    )


def _exhausted(found: re.Match[str]) -> str:
    free = f", {found[2]} free" if found[2] else ""
    return (
        f"out of GPU memory: {found[1]} more wanted{free}; lower gpu-memory-utilization or "
        "mem-fraction-static, or the requests at once (`paceline plan` says what fits)"
    )


REMEDIES: Sequence[tuple[str, Remedy]] = (
    (
        r"Free memory on device \S* ?\(([\d.]+)/([\d.]+) GiB\) on startup is less than desired GPU "
        r"memory utilization \([\d.]+, ([\d.]+) GiB\)",
        _too_much_asked,
    ),
    (
        r"max seq len \((\d+)\), \(([\d.]+) GiB KV cache is needed, which is larger than the "
        r"available KV cache memory \(([\d.]+) GiB\)(?:.*?maximum model length is (\d+))?",
        _too_long,
    ),
    (
        r"max_model_len \((\d+)\) is greater than the derived max_model_len \(\w+=(\d+)",
        lambda found: f"the model has {found[2]} positions: set max-model-len to no more",
    ),
    (
        r"No available memory for the cache blocks",
        "nothing is left for the KV cache: set a higher gpu-memory-utilization, or a smaller model",
    ),
    (
        r"Not enough memory\. Please try to increase --mem-fraction-static",
        "nothing is left for the KV cache: set a higher mem-fraction-static, or a smaller model",
    ),
    (
        r"CUDA out of memory\. Tried to allocate ([\d.]+ \wiB)"
        r"(?:.*?of which ([\d.]+ \wiB) is free)?",
        _exhausted,
    ),
    (r"(?i)address already in use", "its port is taken: set another `port`"),
    (
        r"No module named '(vllm|sglang)'",
        lambda found: f"{found[1]} is not installed there: pip install 'paceline[{found[1]}]'",
    ),
    (r"unrecognized arguments: (.+)", lambda found: f"it does not know {found[1]}: see `args`"),
    (
        r"GatedRepoError|401 Client Error|403 Client Error",
        "the Hub refuses the model: accept its terms there and set HF_TOKEN",
    ),
    (
        r"is not a local folder and is not a valid model|RepositoryNotFoundError|"
        r"Repo id must be in the form|Invalid repository ID or local directory",
        "there is no such `model`: name a folder, or a model on the Hub",
    ),
    (
        r"LocalEntryNotFoundError|couldn't connect to 'https",
        "the Hub cannot be reached: name a folder that has the model",
    ),
    (r"No space left on device", "the disk is full"),
)


def remedy(status: int | None, lines: Sequence[str]) -> str:
    """What to do, by the exit status and the end of the log; empty where nobody knows."""
    text = "\n".join(lines)
    for pattern, said in REMEDIES:
        if found := re.search(pattern, text):
            return said if isinstance(said, str) else said(found)
    if status == KILLED:
        return "it was killed, as the kernel does when the machine's memory is used up (see dmesg)"
    return ""
