"""Tests of paceline/proxy."""
