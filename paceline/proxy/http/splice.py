"""Adds a member to a request's body without reading it."""

from __future__ import annotations


def with_member(body: bytes, name: str, value: bytes) -> bytes:
    """The body, a JSON object that is not empty, with one more member; `value` is JSON.

    It stands last, and of two equal keys every engine's JSON reader takes the last one.
    """
    return b'%b,"%b":%b}' % (body.rstrip()[:-1], name.encode(), value)
