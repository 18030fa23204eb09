"""The configuration is read, overridden by flags and refused with a line that names the key."""

from __future__ import annotations

from pathlib import Path

import pytest

from paceline.proxy.config import BackendConfig, Config
from paceline.proxy.process.load import ConfigError, Flags, load_config


def refuse(tmp_path: Path, text: str) -> str:
    """The error about a file with `text`, without the folder's name."""
    path = tmp_path / "paceline.toml"
    path.write_text(text)
    with pytest.raises(ConfigError) as caught:
        load_config(path)
    message = str(caught.value)
    assert "\n" not in message
    return message.replace(f"{tmp_path}/", "")


def test_no_file_is_the_defaults() -> None:
    """Without a file and flags, every setting has its default."""
    assert load_config(None) == Config()


def test_reads_a_file(tmp_path: Path) -> None:
    """A backend's URL loses its slash and gives it a name."""
    path = tmp_path / "paceline.toml"
    path.write_text('[server]\nport = 9000\n[[backends]]\nurl = "http://10.0.0.7:8000/"\n')
    config = load_config(path)
    assert config.server.port == 9000
    assert config.backends == [BackendConfig(url="http://10.0.0.7:8000", name="10.0.0.7:8000")]


def test_flags_override_the_file(tmp_path: Path) -> None:
    """Host, port, log format, policy and backends of the command line win."""
    path = tmp_path / "paceline.toml"
    path.write_text(
        '[server]\nport = 9000\nhost = "::1"\n[log]\nlevel = "error"\n'
        '[[backends]]\nurl = "http://a:1"\n'
    )
    flags = Flags(port=9001, backends=("http://b:2", "http://c:3"), log_format="json")
    config = load_config(path, flags)
    assert (config.server.host, config.server.port) == ("::1", 9001)
    assert (config.log.format, config.log.level) == ("json", "error")
    assert [backend.name for backend in config.backends] == ["b:2", "c:3"]


def test_another_policy_drops_the_files_settings(tmp_path: Path) -> None:
    """Settings in the file belong to the file's policy, not to the one on the command line."""
    path = tmp_path / "paceline.toml"
    path.write_text(
        '[policy]\nname = "tests.policies.test_registry:Mine"\n[policy.settings]\nchoices = 3\n'
    )
    assert load_config(path, Flags(policy="fcfs")).policy.settings == {}
    same = Flags(policy="tests.policies.test_registry:Mine")
    assert load_config(path, same).policy.settings == {"choices": 3}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('[server]\nport = "x"', "$.server.port: Expected int, got str"),
        ("[server]\nprot = 1", "$.server.prot: unknown key; did you mean `port`?"),
        ("[sever]", "$.sever: unknown key; did you mean `server`?"),
        ("[server]\nport = 65536", "$.server.port: must be at most 65535, got 65536"),
        ("[server]\nport = -1", "$.server.port: must be at least 0, got -1"),
        (
            "[upstream]\nconnect_seconds = 0",
            "$.upstream.connect_seconds: must be positive, got 0.0",
        ),
        ("[upstream]\nidle_seconds = nan", "$.upstream.idle_seconds: must be positive, got nan"),
        ("[upstream]\nidle_seconds = inf", "$.upstream.idle_seconds: must be finite"),
        (
            "[scheduler]\nload_factor = 0.5",
            "$.scheduler.load_factor: must be at least 1, got 0.5",
        ),
        ('[[backends]]\nname = "x"', "$.backends[0].url: must be given"),
        (
            '[[backends]]\nurl = "10.0.0.7:8000"',
            "$.backends[0].url: Expected http://HOST:PORT, got 10.0.0.7:8000",
        ),
        (
            '[[backends]]\nurl = "http://a:8000/v1/"',
            "$.backends[0].url: Expected it without the /v1, got http://a:8000/v1/",
        ),
        (
            '[[backends]]\nurl = "http://me:secret@a:8000"',
            "$.backends[0].url: Expected no user, query or fragment: a",
        ),
        (
            '[[backends]]\nurl = "http://a:99999"',
            "$.backends[0].url: Port out of range 0-65535: http://a:99999",
        ),
        (
            '[[backends]]\nurl = "http://a:1"\n[[backends]]\nurl = "http://a:1"',
            "$.backends[1].name: `a:1` is already $.backends[0]",
        ),
        (
            '[[backends]]\nurl = "http://a:1"\nkv_tokens = 0',
            "$.backends[0].kv_tokens: must be positive, got 0",
        ),
        ('[policy]\nname = "fcsf"', "$.policy.name: no policy `fcsf`; did you mean `fcfs`?"),
        (
            '[policy]\nname = "fcfs"\n[policy.settings]\nx = 1',
            "$.policy.settings.x: unknown key; there are none",
        ),
        ('[fleet]\nurl = "http://a"', "$.fleet.url: expected redis://HOST:PORT/DB or rediss://"),
        (
            '[fleet]\nurl = "redis://me:secret@a"',
            "$.fleet.url: a password stands in password_file or password_env",
        ),
        ('[fleet]\nurl = "redis://a"\nca_file = "x"', "$.fleet.ca_file: needs rediss://"),
        (
            "[fleet]\ninterval_seconds = 2",
            "$.fleet.interval_seconds: must be at most 1, got 2.0",
        ),
        (
            "[limits]\nqueue_seconds = 1",
            "$.limits.queue_seconds: unknown key; did you mean `scheduler.queue_seconds`?",
        ),
        ("port = 1", "$.port: unknown key; did you mean `server.port`?"),
        (
            '[[backends]]\nurl = "http://a:1"\nkind = "vlm"',
            "$.backends[0].kind: unknown value `vlm`; did you mean `vllm`?",
        ),
        ('[backends]\nurl = "http://a:1"', "$.backends: write [[backends]] instead of [backends]"),
        ("[server", "Expected ']' at the end of a table declaration (at end of document)"),
    ],
)
def test_refuses_with_file_and_path(tmp_path: Path, text: str, message: str) -> None:
    """One line: the file, the key's path and what is the matter with it."""
    assert refuse(tmp_path, text) == f"paceline.toml: {message}"


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    """A missing file is named, without a traceback."""
    with pytest.raises(ConfigError, match=r"none\.toml: No such file or directory$"):
        load_config(tmp_path / "none.toml")


def test_wrong_flags_are_not_blamed_on_the_file() -> None:
    """What is wrong with a flag is said of the command line."""
    with pytest.raises(ConfigError, match=r"^command line: \$\.backends\[0\]\.url: Expected http"):
        load_config(None, Flags(backends=("ftp://x",)))


def test_zero_is_allowed_where_it_means_something(tmp_path: Path) -> None:
    """Port 0 lets the system choose; no queue and no draining are choices too."""
    path = tmp_path / "paceline.toml"
    path.write_text("[server]\nport = 0\ndrain_seconds = 0\n[scheduler]\nmax_waiting = 0\n")
    config = load_config(path)
    assert (config.server.port, config.scheduler.max_waiting) == (0, 0)


def test_models_without_their_tokenizer_are_refused(tmp_path: Path) -> None:
    """At the start, and named."""
    file = tmp_path / "paceline.toml"
    file.write_text('[[models]]\nname = "m"\ntokenizer = "nowhere"\n')
    with pytest.raises(ConfigError, match=r"\$\.models.*nowhere"):
        load_config(file)
