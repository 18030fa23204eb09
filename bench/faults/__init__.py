"""What clients see when engines fail: `python -m bench.faults`."""
