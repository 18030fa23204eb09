"""The virtual-time shell: the same scheduler driven by a heap of events."""
