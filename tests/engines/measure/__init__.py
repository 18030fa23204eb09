"""Tests of the measuring of live engines."""
