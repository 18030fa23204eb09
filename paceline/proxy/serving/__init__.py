"""One request's way, from its arrival over the scheduler to the last byte of its reply."""
