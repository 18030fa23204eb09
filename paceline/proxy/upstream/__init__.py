"""The engines: how they are reached, and what is thought of each."""
