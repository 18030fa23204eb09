"""Hours of mixed traffic through the proxy as a process: `python -m bench.soak`."""
