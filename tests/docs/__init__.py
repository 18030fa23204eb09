"""Runs what the pages show."""
