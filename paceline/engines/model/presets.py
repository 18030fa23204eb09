"""Step times and KV pools of common models on common GPUs, by name.

Coefficients are least-squares fits, made for this project, to step-time grids of
aiconfigurator-core 0.12 (its measured kernels for vLLM 0.24 and SGLang 0.5.14; on the A100 vLLM
0.14 and SGLang 0.5.10), bf16. Median error is 1 to 5%, the ninth decile 3 to 17%. `s` stays 1
except where real runs were measured: `llama-3.1-8b-h100` is 5% slower than its grid alone and
another 5% when busy (vLLM 0.26, backlogs: makespan within 7%, 13% where many decode on one shared
prefix).
"""

from __future__ import annotations

from msgspec import Struct

from paceline.engines.model.steptime import StepTime

TRITON_PAD = 128
"""Rows of a tile of triton's prefill kernel where a head has 128 numbers, on an A100 or H100
(`BLOCK_M` in SGLang's `extend_attention.py`): its grid has as many tiles for each request as the
longest of the batch needs, and a tile without rows still goes through the cached tokens."""


class Preset(Struct, frozen=True, kw_only=True):
    """One model on one kind of GPU."""

    vllm: StepTime
    sglang: StepTime
    """The vLLM fit again where no SGLang kernels were measured."""
    kv_tokens: int
    """(0.92 of the memory - weights - about 3 GiB a GPU) / KV bytes a token, rounded."""


def _time(
    tw: float,
    k: float,
    a: float,
    b: float,
    g: float,
    c0: float,
    *,
    s: float = 1.0,
    pad: int = 0,
    eager: float = 0.0,
    host: float = 0.0,
) -> StepTime:
    return StepTime(tw=tw, k=k, a=a * 1e-3, b=b, g=g, c0=c0, s=s, pad=pad, eager=eager, host=host)


def _both(time: StepTime, kv_tokens: int) -> Preset:
    return Preset(vllm=time, sglang=time, kv_tokens=kv_tokens)


PRESETS: dict[str, Preset] = {
    "llama-3.1-8b-h100": Preset(
        vllm=_time(4561, 19.78, 0.8158, 5.9, 0.0413, 2106, s=1.1, host=58),
        sglang=_time(4459, 20.69, 0.8705, 4.0, 0.0418, 2212, s=1.1),
        kv_tokens=430_000,
    ),
    # SGLang 0.5.16 with --attention-backend triton: decodes as `paceline calibrate` measured them;
    # prefills as 60 batches took in the recorded runs, under load (284 of later runs: median error
    # -0.3%, half of them within 2.2%).
    "llama-3.1-8b-h100-triton": Preset(
        vllm=_time(4561, 19.78, 0.8158, 5.9, 0.0413, 2106, s=1.1, host=58),
        sglang=_time(5267, 20.52, 2.941, 35.2, 0.0255, 723, s=1.05, pad=TRITON_PAD, eager=4500),
        kv_tokens=430_000,
    ),
    "llama-3.1-8b-h200": Preset(
        vllm=_time(3520, 19.90, 0.8190, 6.0, 0.0293, 1619),
        sglang=_time(2366, 20.47, 0.8930, 4.1, 0.0297, 2552),
        kv_tokens=840_000,
    ),
    "llama-3.1-8b-a100": Preset(
        vllm=_time(4036, 54.70, 2.953, 2.4, 0.0835, 7868),
        sglang=_time(5879, 59.28, 2.588, 8.1, 0.1106, 6103),
        kv_tokens=430_000,
    ),
    "llama-3.1-8b-l40s": Preset(
        vllm=_time(23347, 69.63, 3.024, 20.6, 0.1892, 0),
        sglang=_time(23265, 78.46, 2.687, 21.3, 0.1804, 214),
        kv_tokens=190_000,
    ),
    "llama-3.1-8b-rtx-pro-6000": _both(_time(4502, 37.38, 1.755, 2.8, 0.0865, 6741), 520_000),
    "llama-3.1-70b-h100x4": Preset(
        vllm=_time(8003, 59.31, 1.047, 4.1, 0.0270, 8000),
        sglang=_time(9890, 62.83, 1.092, 4.4, 0.0274, 6099),
        kv_tokens=490_000,
    ),
    "qwen3-8b-h100": Preset(
        vllm=_time(2202, 18.83, 0.9212, 0.9, 0.0465, 4791),
        sglang=_time(3193, 20.18, 1.000, 1.4, 0.0469, 3765),
        kv_tokens=380_000,
    ),
    "qwen3-32b-h100x2": _both(_time(6750, 47.79, 1.694, 0.2, 0.0423, 7778), 320_000),
    "qwen3-32b-rtx-pro-6000x2": _both(_time(8441, 114.93, 3.615, 0, 0.0872, 16747), 400_000),
}
