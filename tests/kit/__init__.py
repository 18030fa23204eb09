"""Packages that the kit writes."""
