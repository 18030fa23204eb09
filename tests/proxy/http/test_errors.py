"""The proxy's own errors, in the words of each API."""

from __future__ import annotations

import json

import pytest

from paceline.proxy.http.errors import ApiError, body, rejected, response, sse_event

BUSY = ApiError(429, "Later.", reason="queue_full", retry_after=1.2)


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        (
            "/v1/completions",
            {
                "error": {
                    "message": "Later.",
                    "type": "rate_limit_exceeded",
                    "param": None,
                    "code": "queue_full",
                }
            },
        ),
        (
            "/v1/messages",
            {"type": "error", "error": {"type": "rate_limit_error", "message": "Later."}},
        ),
        ("/generate", {"error": {"message": "Later."}}),
    ],
)
def test_each_api_has_its_shape(path: str, expected: dict[str, object]) -> None:
    """OpenAI's, Anthropic's and SGLang's clients find what they look for."""
    assert body(BUSY, path) == expected


def test_answer_says_when_to_come_back() -> None:
    """Whole seconds, rounded up, and the reason for machines."""
    answer = response(BUSY, "/generate", {"x-request-id": "r"})
    assert answer.status == 429
    assert answer.headers["Retry-After"] == "2"
    assert answer.headers["x-paceline-reason"] == "queue_full"
    assert answer.headers["x-request-id"] == "r"


def test_event_is_one_frame() -> None:
    """A stream's last words are a whole event with OpenAI's error in it."""
    event = sse_event(ApiError(502, "Gone.\n\n", reason="engine_failed"), "/generate")
    assert event.startswith(b"data: ")
    assert event.index(b"\n\n") == len(event) - 2
    assert json.loads(event[6:])["error"]["type"] == "server_error"


def test_an_api_that_no_engine_has() -> None:
    """Without SGLang, `/generate` is missing, not a model of that name."""
    refused = rejected("unknown_model", "/generate", 0.0)
    assert (refused.status, refused.message) == (404, "No engine here has `/generate`.")
