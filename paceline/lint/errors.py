"""The one error that linting raises."""

from __future__ import annotations


class LintError(Exception):
    """A log cannot be linted; the message is one line with file, line and reason."""
