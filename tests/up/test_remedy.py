"""Engines' own words, as they print them, and what is made of them."""

from __future__ import annotations

import pytest

from paceline.up.remedy import remedy

FREE = (
    "ValueError: Free memory on device cuda:0 (9.31/23.52 GiB) on startup is less than desired GPU "
    "memory utilization (0.9, 21.17 GiB). Decrease GPU memory utilization or reduce GPU memory used"
)
LONG = (
    "ValueError: To serve at least one request with the model's max seq len (131072), (16.0 GiB KV "
    "cache is needed, which is larger than the available KV cache memory (5.21 GiB). Based on the "
    "available memory, the estimated maximum model length is 42672. Try increasing"
)
CUDA = (
    "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 1.96 GiB. GPU 0 has a total "
    "capacity of 23.52 GiB of which 843.06 MiB is free. Process 7 has 22.6 GiB memory in use."
)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (FREE, "21.17 GiB asked for and 9.31 of 23.52 free; end what else uses the GPU, or set "
               "gpu-memory-utilization to 0.39 at most"),
        (LONG, "one request of 131072 tokens takes 16.0 GiB and 5.21 are left; set max-model-len "
               "42672"),
        (LONG.partition(" Based")[0], "set a shorter max-model-len"),
        (CUDA, "out of GPU memory: 1.96 GiB more wanted, 843.06 MiB free"),
        ("CUDA out of memory. Tried to allocate 20.00 MiB", "20.00 MiB more wanted; lower"),
        ("No available memory for the cache blocks. Try", "a higher gpu-memory-utilization"),
        ("Not enough memory. Please try to increase --mem-fraction-static.", "a higher mem-frac"),
        ("OSError: [Errno 98] Address already in use", "its port is taken"),
        ("ModuleNotFoundError: No module named 'sglang'", "pip install 'paceline[sglang]'"),
        ("User-specified max_model_len (9000) is greater than the derived max_model_len "
         "(max_position_embeddings=4096.0 or model_max_length=None", "the model has 4096 position"),
        ("We couldn't connect to 'https://huggingface.co' to load", "the Hub cannot be reached"),
        ("vllm: error: unrecognized arguments: --max-len 8", "it does not know --max-len 8: see"),
        ("huggingface_hub.errors.GatedRepoError: 401 Client Error.", "set HF_TOKEN"),
        ("Repo id must be in the form 'repo_name' or 'n/r'", "there is no such `model`"),
        ("all is well", ""),
    ],
)  # fmt: skip
def test_what_it_means(line: str, said: str) -> None:
    """The cause and the setting that mends it, with figures where the engine gives some."""
    found = remedy(1, ["INFO: loading", line, "INFO: exiting"])
    assert said in found
    assert bool(said) == bool(found)


def test_killed_without_a_word() -> None:
    """Only the kernel, or somebody, ends an engine so."""
    assert "memory is used up" in remedy(137, ["INFO: serving"])
    assert remedy(143, ["INFO: serving"]) == ""
