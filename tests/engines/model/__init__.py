"""Tests of the engine models."""
