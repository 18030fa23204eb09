"""The integration stage: the proxy in front of real vLLM and real SGLang, on a CPU."""
