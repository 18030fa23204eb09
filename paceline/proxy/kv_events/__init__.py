"""Engines' own reports of what their prefix caches hold."""
