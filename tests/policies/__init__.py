"""Tests of paceline/policies."""
