"""Gathers prompts as they pass, to be linted like a log."""
