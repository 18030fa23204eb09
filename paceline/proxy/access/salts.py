"""Keeps tenants' prompts apart in every prefix cache: the engines' and the scheduler's own."""

from __future__ import annotations

from functools import lru_cache
from hashlib import blake2b

import msgspec
from msgspec import Struct

from paceline.proxy.http.splice import with_member

FIELDS = {
    "/v1/chat/completions": "cache_salt",
    "/v1/completions": "cache_salt",
    "/generate": "extra_key",
}
"""Where engines take a salt: vLLM and SGLang in `cache_salt`, SGLang's own API in `extra_key`."""


class _Given(Struct):
    cache_salt: msgspec.Raw = msgspec.Raw(b"")
    extra_key: msgspec.Raw = msgspec.Raw(b"")


_given = msgspec.json.Decoder(_Given)


class Salts:
    """Salts of tenants: equal ones for equal tenants, under one secret."""

    def __init__(self, secret: bytes = b"") -> None:
        """With the same secret, other proxies and later runs make the same salts."""
        self._key = blake2b(secret).digest()

    def seed(self, seed: bytes, tenant: str) -> bytes:
        """The seed of a tenant's block keys, as long as `seed`."""
        return _mix(seed, tenant, len(seed))

    def salted(self, body: bytes, path: str, tenant: str) -> bytes:
        """A request's body, a JSON object, with the tenant's salt in it where the API takes one.

        A salt that the client gave is mixed in: it can divide its own cache further.
        """
        field = FIELDS.get(path)
        if field is None:
            return body
        own = self._own(body, field) if field.encode() in body else b""
        salt = blake2b(tenant.encode() + b"\xff" + own, key=self._key, digest_size=16).hexdigest()
        return with_member(body, field, b'"%b"' % salt.encode())

    def _own(self, body: bytes, field: str) -> bytes:
        try:
            given: msgspec.Raw = getattr(_given.decode(body), field)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return b""  # what only lenient readers accept
        return bytes(given)


@lru_cache(maxsize=10_000)
def _mix(seed: bytes, tenant: str, size: int) -> bytes:
    return blake2b(tenant.encode(), key=seed[:64], digest_size=size).digest()
