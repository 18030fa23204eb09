"""Replies of real engines (vLLM 0.32.0, SGLang 0.5.23, idle, on CPU), kept in `data/`."""

from __future__ import annotations

from pathlib import Path

_DATA = Path(__file__).parent / "data"


def _read(name: str) -> bytes:
    return (_DATA / name).read_bytes()


VLLM = {
    "/version": _read("vllm-version.json"),
    "/v1/models": _read("vllm-models.json"),
    "/metrics": _read("vllm-metrics.txt"),
    "/health": b"",
}
SGLANG = {
    "/v1/models": _read("sglang-models.json"),
    "/server_info": _read("sglang-server_info.json"),
    "/v1/loads?include=core": _read("sglang-loads.json"),
    "/metrics": _read("sglang-metrics.txt"),
}
OTHER = {"/v1/models": b'{"object":"list","data":[{"id":"a","owned_by":"me"},{"id":"b"}]}'}
