"""The proxy as a process: composed, started, reloaded, drained."""
