"""Several processes that serve one port, with one scheduler among them: see docs/workers.md."""
