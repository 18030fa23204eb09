"""Measures a live engine over its OpenAI API, for `paceline calibrate`."""
