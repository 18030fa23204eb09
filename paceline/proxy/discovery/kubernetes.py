"""Watches the EndpointSlices of a Kubernetes Service, with a pod's own account and nothing else."""

from __future__ import annotations

import asyncio
import os
import ssl
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
import structlog
from msgspec import Struct

from paceline.proxy.config import DiscoveryConfig
from paceline.proxy.discovery.slices import ApiFailed, SliceList, Slices, endpoints, take
from paceline.proxy.discovery.sources import Finds, Found

ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
"""Where Kubernetes puts the account's token, the cluster's authority and the namespace."""
WATCH_SECONDS = 240
"""How long one watch lasts: the API server closes those without a limit after 30 to 60 minutes, and
what lies between closes silent ones earlier."""
ANSWER_SECONDS = 10.0
"""Longest wait for a list."""
FIRST_PAUSE, LONGEST_PAUSE = 1.0, 30.0
"""Seconds before another try, doubled each time: the API server is everybody's."""

log = structlog.get_logger()


class Cluster(Struct, frozen=True, kw_only=True):
    """How the API server is reached."""

    url: str
    account: Path
    context: ssl.SSLContext | None = None

    def headers(self) -> dict[str, str]:
        """With the token as it is now: it is replaced within the hour."""
        return {"Authorization": f"Bearer {(self.account / 'token').read_text().strip()}"}

    def namespace(self) -> str:
        """The pod's own."""
        return (self.account / "namespace").read_text().strip()


FAILURES = (ApiFailed, aiohttp.ClientError, msgspec.DecodeError, TimeoutError, OSError)


def in_cluster() -> Cluster:
    """The cluster that this pod runs in; raises ApiFailed elsewhere."""
    host, port = (
        os.environ.get("KUBERNETES_SERVICE_HOST"),
        os.environ.get("KUBERNETES_SERVICE_PORT"),
    )
    if not host or not (ACCOUNT / "token").exists():
        raise ApiFailed("this is no pod with a service account")
    host = f"[{host}]" if ":" in host else host
    context = ssl.create_default_context(cafile=str(ACCOUNT / "ca.crt"))
    return Cluster(url=f"https://{host}:{port}", account=ACCOUNT, context=context)


async def watched(config: DiscoveryConfig, cluster: Cluster) -> Finds:
    """The Service's ready endpoints, whenever they change; while nobody answers, nothing does."""
    namespace = config.namespace or cluster.namespace()
    path = f"/apis/discovery.k8s.io/v1/namespaces/{namespace}/endpointslices"
    query = {"labelSelector": f"kubernetes.io/service-name={config.service}"}
    pause = FIRST_PAUSE
    before: Sequence[Found] | None = None
    async with aiohttp.ClientSession(cluster.url) as session:
        while True:
            try:
                async for slices in _slices(session, cluster, path, query):
                    pause = FIRST_PAUSE
                    found = endpoints(slices, config.port)
                    if found != before:
                        before = found
                        yield found
            except FAILURES as error:
                log.warning("watch of endpoints failed", service=config.service, error=repr(error))
                await asyncio.sleep(pause)
                pause = min(2 * pause, LONGEST_PAUSE)


async def _slices(
    session: aiohttp.ClientSession, cluster: Cluster, path: str, query: dict[str, str]
) -> AsyncIterator[Slices]:
    """All slices, first as they are and then after each change, until the watch breaks off."""
    listed = msgspec.json.decode(await _get(session, cluster, path, query), type=SliceList)
    slices = {one.metadata.name: one for one in listed.items}
    yield slices
    version = listed.metadata.version
    while True:
        watch = query | {
            "watch": "1",
            "resourceVersion": version,
            "allowWatchBookmarks": "true",
            "timeoutSeconds": str(WATCH_SECONDS),
        }
        async for line in _lines(session, cluster, path, watch):
            changed = take(slices, line)
            version = changed.metadata.version or version
            yield slices
        await asyncio.sleep(FIRST_PAUSE)  # for whatever in between closes watches at once


async def _get(
    session: aiohttp.ClientSession, cluster: Cluster, path: str, query: dict[str, str]
) -> bytes:
    timeout = aiohttp.ClientTimeout(total=ANSWER_SECONDS)
    async with session.get(path, params=query, timeout=timeout, **_how(cluster)) as response:
        await _check(response)
        return await response.read()


async def _lines(
    session: aiohttp.ClientSession, cluster: Cluster, path: str, query: dict[str, str]
) -> AsyncIterator[bytes]:
    """The lines of a stream: `readline` would refuse slices of more than 64 KiB."""
    timeout = aiohttp.ClientTimeout(sock_connect=ANSWER_SECONDS, sock_read=WATCH_SECONDS + 30)
    rest = b""
    async with session.get(path, params=query, timeout=timeout, **_how(cluster)) as response:
        await _check(response)
        async for data in response.content.iter_any():
            *lines, rest = (rest + data).split(b"\n")
            for line in lines:
                yield line


def _how(cluster: Cluster) -> dict[str, Any]:
    trusted = {} if cluster.context is None else {"ssl": cluster.context}
    return {"headers": cluster.headers(), **trusted}


async def _check(response: aiohttp.ClientResponse) -> None:
    if response.status != 200:
        raise ApiFailed(f"{response.status} {(await response.text())[:200]}")
