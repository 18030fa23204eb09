"""Settings that make no sense, alone or together, and extras that are missing."""

from __future__ import annotations

import tomllib

import pytest

from paceline.policies.decode import SettingError, decode
from paceline.proxy.config import Config
from paceline.proxy.process import checks


def check(text: str) -> None:
    """Take this file, or raise SettingError."""
    config = decode(tomllib.loads(text), Config)
    checks.check_numbers(config)
    checks.check(config)


def refused(text: str) -> str:
    """What is the matter with it."""
    with pytest.raises(SettingError) as caught:
        check(text)
    return str(caught.value)


@pytest.mark.parametrize(
    ("section", "message"),
    [
        ("", "$.discovery[0]: expected one of service, srv and host"),
        ('srv = "a"\nhost = "b"', "$.discovery[0]: expected one of service, srv and host"),
        (
            'host = "a"\nresolver = "dns.example"',
            "$.discovery[0].resolver: expected ADDRESS:PORT, got dns.example",
        ),
        ('host = "a"\nca_file = "ca.pem"', "$.discovery[0]: certificates need scheme https"),
        ('host = "a"\nseconds = 0', "$.discovery[0].seconds: must be positive, got 0.0"),
    ],
)
def test_a_source_of_backends_is_one_place_that_can_be_asked(section: str, message: str) -> None:
    """The key's path, and what is the matter with it."""
    assert refused(f"[[discovery]]\n{section}") == message


@pytest.mark.parametrize(
    ("section", "message"),
    [
        ("sample = 1.5", "$.tracing.sample: must be at most 1, got 1.5"),
        ("sample = -0.1", "$.tracing.sample: must be at least 0, got -0.1"),
        (
            'endpoint = "127.0.0.1:4318"',
            "$.tracing.endpoint: expected http://HOST:PORT/PATH, got 127.0.0.1:4318",
        ),
    ],
)
def test_traces_are_a_part_of_all_and_go_to_a_url(section: str, message: str) -> None:
    """The key's path, and what is the matter with it."""
    assert refused(f"[tracing]\n{section}") == message


@pytest.mark.parametrize(
    ("text", "extra"),
    [
        ('[[backends]]\nurl = "http://a:1"\nkv_events = "tcp://a:2"', "kv-events"),
        ('[[discovery]]\nhost = "vllm"', "dns"),
        ('[fleet]\nurl = "rediss://a:6380/1"\nca_file = "x"', "redis"),
        ('[tracing]\nendpoint = "http://127.0.0.1:4318/v1/traces"', "otel"),
    ],
)
def test_a_missing_extra_is_named(text: str, extra: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before anything is served; where it is installed, the same settings are taken."""
    check(text)
    monkeypatch.setattr(checks, "find_spec", lambda name: None)
    assert refused(text).endswith(f"install paceline[{extra}]")


def test_watching_a_service_needs_no_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only looking up names takes dnspython."""
    monkeypatch.setattr(checks, "find_spec", lambda name: None)
    check('[[discovery]]\nservice = "vllm"')
