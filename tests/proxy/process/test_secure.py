"""All that the configuration names is read together, and what would be unsafe is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest

from paceline.proxy.access.admission import STATELESS, UNCACHED
from paceline.proxy.access.keys import make
from paceline.proxy.config import Config
from paceline.proxy.process.load import ConfigError
from paceline.proxy.process.secure import Security, files, secure


@pytest.fixture
def keys(tmp_path: Path) -> str:
    """A file with a key."""
    (tmp_path / "keys").write_text(make("acme")[1])
    return str(tmp_path / "keys")


def configured(**sections: dict[str, Any]) -> Config:
    return msgspec.convert(sections, Config)


def test_defaults_need_nothing() -> None:
    """No keys, no salts, no TLS."""
    security = secure(Config())
    assert not security.access.keys
    assert (security.salts, security.tls) == (None, None)


@pytest.mark.parametrize(
    ("sections", "error"),
    [
        ({"auth": {"keys_file": "KEYS"}}, "$.admin: with keys in [auth]"),
        ({"auth": {"isolate": True}}, "$.auth.isolate: takes keys"),
        ({"server": {"load_balancers": ["10.0.0.1/8"]}}, "$.server.load_balancers: 10.0.0.1/8 is"),
        ({"admin": {"backend_hosts": ["a"]}}, "$.admin.backend_hosts: takes keys"),
        (
            {"admin": {"backend_hosts": ["a b"], "keys_file": "KEYS"}},
            "$.admin.backend_hosts: a b is neither",
        ),
        ({"auth": {"keys_file": "/none"}}, "$.auth: /none: No such file"),
        ({"admin": {"keys_env": "PACELINE_NONE"}}, "$.admin: the environment has no"),
        (
            {
                "auth": {"keys_file": "KEYS", "isolate": True, "salt_env": "NONE_"},
                "admin": {"port": 0},
            },
            "$.auth.salt_env: the environment has no NONE_",
        ),
        (
            {"backends": [{"url": "http://a:1", "api_key_env": "NONE_"}]},
            "$.backends[0]: the environment has no NONE_",
        ),
        ({"fleet": {"url": "redis://a"}}, "$.fleet: takes secret_file or secret_env"),
        (
            {"fleet": {"url": "redis://a", "secret_file": "/none"}},
            "$.fleet: /none: No such file",
        ),
        ({"fleet": {"url": "redis://a", "secret_file": "/dev/null"}}, "$.fleet: /dev/null: is"),
        (
            {"fleet": {"url": "redis://a", "secret_env": "NONE_"}},
            "$.fleet: the environment has no NONE_",
        ),
    ],
)
def test_what_would_be_unsafe_is_refused(sections: dict[str, Any], error: str, keys: str) -> None:
    """Before anything is served: tenants must not be admins because nobody thought of them."""
    for section in ("auth", "admin"):
        if sections.get(section, {}).get("keys_file") == "KEYS":
            sections = sections | {section: sections[section] | {"keys_file": keys}}
    with pytest.raises(ConfigError) as caught:
        secure(configured(**sections))
    assert str(caught.value).startswith(error)


def test_paths_of_tenants(keys: str) -> None:
    """The stateless APIs; with salts, those that leave nothing in a cache; or what is listed."""
    for more, paths in (
        ({}, STATELESS),
        ({"isolate": True}, UNCACHED),
        ({"isolate": True, "paths": ["/x"]}, {"/x"}),
    ):
        config = configured(auth={"keys_file": keys, **more}, admin={"port": 0})
        assert secure(config).access.paths == paths


def test_files_are_known() -> None:
    """So that they can be watched."""
    config = configured(
        auth={"keys_file": "a"},
        tls={"cert_file": "b"},
        fleet={"secret_file": "s", "password_file": "p"},
        backends=[{"url": "https://a", "ca_file": "c"}],  # type: ignore[arg-type]
    )
    assert files(config) == ["a", "b", "s", "p", "c"]


def test_proxies_with_the_same_secret_make_the_same_of_it(
    keys: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Block keys and salts are equal, and nobody else's; the mark tells no more than that."""
    monkeypatch.setenv("ONE", "a secret")
    monkeypatch.setenv("TWO", "another")

    def made(name: str) -> Security:
        fleet = {"url": "redis://a", "secret_env": name, "password_env": "TWO"}
        auth = {"keys_file": keys, "isolate": True}
        return secure(configured(fleet=fleet, auth=auth, admin={"port": 0}))

    one, same, other = made("ONE"), made("ONE"), made("TWO")
    assert one.shared == same.shared
    assert one.shared is not None
    assert other.shared is not None
    assert one.shared.password == "another"
    assert len({one.shared.mark, other.shared.mark, one.shared.seed.hex()}) == 3
    salted = [each.salts.salted(b"{}", "/generate", "t") for each in (one, same, other)]  # type: ignore[union-attr]
    assert salted[0] == salted[1] != salted[2]
