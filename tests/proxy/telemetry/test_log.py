"""One line a request: where it went, why, and how long it took."""

from __future__ import annotations

import json
from typing import Literal

import pytest
import structlog

from paceline.proxy.config import LogConfig
from paceline.proxy.telemetry.log import WHY, configure, request_logger, stderr
from paceline.proxy.telemetry.record import Record
from paceline.scheduler.types import Usage

NOON = 1_767_268_800.25  # 2026-01-01 12:00:00.250 UTC


def line(record: Record, format: Literal["console", "json"]) -> str:
    written: list[str] = []
    request_logger(LogConfig(format=format), written.append, lambda: NOON)(record)
    (text,) = written
    assert text.endswith("\n")
    return text[:-1]


def served() -> Record:
    return Record(
        id="r1",
        path="/v1/chat/completions",
        model="llama",
        prompt_tokens=90,
        arrived_at=10.0,
        first_byte_at=10.5,
        ended_at=12.0,
        backend="a:8000",
        reason="follower",
        queued=0.25,
        cached_tokens=64,
        attempts=2,
        status=200,
        outcome="finished",
        usage=Usage(prompt_tokens=100, output_tokens=7, cached_tokens=80),
    )


def test_json_line() -> None:
    """Every fact has its own key; times are in milliseconds."""
    assert json.loads(line(served(), "json")) == {
        "timestamp": "2026-01-01T12:00:00.250Z",
        "level": "info",
        "event": "request",
        "id": "r1",
        "status": 200,
        "outcome": "finished",
        "model": "llama",
        "backend": "a:8000",
        "reason": "follower",
        "why": WHY["follower"],
        "queue_ms": 250.0,
        "ttft_ms": 500.0,
        "total_ms": 2000.0,
        "prompt_tokens": 100,
        "output_tokens": 7,
        "cached_predicted": 64,
        "cached_reported": 80,
        "attempts": 2,
    }


def test_console_line_reads_as_a_sentence() -> None:
    """What, where, why, then the figures."""
    assert line(served(), "console") == (
        "12:00:00.250 200 finished llama on a:8000: its leader had computed their prefix"
        " (queue 250 ms, ttft 500 ms, total 2000 ms, tokens 100+7, cached 64/80, attempts 2) r1"
    )


def test_what_did_not_happen_is_left_out() -> None:
    """A rejected request has no backend, no times and no usage."""
    rejected = Record(id="r2", path="/", model="m", reason="queue_full")
    rejected.status, rejected.outcome = 429, "rejected"
    assert "backend" not in json.loads(line(rejected, "json"))
    assert line(rejected, "console") == (
        "12:00:00.250 429 rejected m: refused: the queue is full"
        " (queue 0 ms, ttft -, total -, tokens 0+-, cached 0/-) r2"
    )


def test_without_a_model_the_path_is_told() -> None:
    """A mistyped path is seen in the log, also where it cannot say a model; a long one is cut."""
    mistyped = Record(id="r4", path="/v1/chat/completion", backend="a", status=404)
    mistyped.outcome = "failed"
    assert " 404 failed /v1/chat/completion on a (" in line(mistyped, "console")
    assert json.loads(line(mistyped, "json"))["path"] == "/v1/chat/completion"
    mistyped.path = "/" + 1000 * "x"
    assert len(line(mistyped, "console")) < 400
    assert "path" not in json.loads(line(served(), "json"))


def test_a_client_cannot_forge_a_line() -> None:
    """Line breaks and escape codes in a model's name are escaped in both formats."""
    record = Record(id="r3", path="/", model="m\n12:00:00 200 \x1b[2J", outcome="rejected")
    assert "\n" not in line(record, "json")
    text = line(record, "console")
    assert "\n" not in text
    assert "\x1b" not in text
    assert r"m\n12:00:00 200 \x1b[2J" in text


def test_no_request_lines_above_info() -> None:
    """At level `warning` nothing is written a request."""
    written: list[str] = []
    request_logger(LogConfig(level="warning"), written.append)(served())
    assert written == []


def printed(capsys: pytest.CaptureFixture[str]) -> str:
    """What has come out on stderr, once the writer is done."""
    assert stderr().drain(5.0)
    return capsys.readouterr().err


def test_events_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    """Events below the level are dropped; the others are JSON objects on stderr."""
    configure(LogConfig(format="json", level="info"))
    log = structlog.get_logger()
    log.debug("unseen")
    log.info("backend up", backend="a:8000", error=OSError("x"))
    event = json.loads(printed(capsys))
    assert event.pop("timestamp").endswith("Z")
    assert event == {"event": "backend up", "level": "info", "backend": "a:8000", "error": "x"}


def test_events_for_people(capsys: pytest.CaptureFixture[str]) -> None:
    """On the console an event is one plain line with its facts."""
    configure(LogConfig(format="console"))
    structlog.get_logger().warning("backend down", backend="a:8000")
    text = printed(capsys)
    assert "backend down" in text
    assert "a:8000" in text
    assert text.count("\n") == 1


@pytest.mark.parametrize("format", ["console", "json"])
def test_tracebacks_do_not_show_prompts(
    capsys: pytest.CaptureFixture[str], format: Literal["console", "json"]
) -> None:
    """An exception is logged with its stack, without the values of its variables."""
    configure(LogConfig(format=format))
    prompt = "s3cr3t".upper()
    try:
        raise ValueError(len(prompt))
    except ValueError:
        structlog.get_logger().exception("bug")
    text = printed(capsys)
    assert "ValueError: 6" in text
    assert "S3CR3T" not in text
