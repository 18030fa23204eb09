"""Tests of what we know of engines."""
