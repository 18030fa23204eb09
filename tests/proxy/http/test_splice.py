"""A member is added to a body as it stands."""

from __future__ import annotations

import json

from paceline.proxy.http.splice import with_member


def test_the_last_of_two_equal_keys_counts() -> None:
    """What the client gave under the same name is overruled; all else stays, byte by byte."""
    body = b'{"a": 1,  "b":[2]}\n'
    added = with_member(body, "a", b"-7")
    assert added == b'{"a": 1,  "b":[2],"a":-7}'
    assert json.loads(added) == {"a": -7, "b": [2]}
