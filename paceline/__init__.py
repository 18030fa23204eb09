"""A prefix-aware scheduling proxy in front of SGLang and vLLM, and its offline twin."""

__version__ = "0.1.0"
