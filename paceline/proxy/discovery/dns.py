"""Looks engines up in the DNS, again and again: the targets of SRV records, or a name's addresses.

Imported only where it is configured: it needs `paceline[dns]`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import dns.exception
import structlog
from dns.asyncresolver import Resolver
from dns.rdtypes.IN.SRV import SRV

from paceline.proxy.config import DiscoveryConfig
from paceline.proxy.discovery.sources import Finds, Found

LOOKUP_SECONDS = 5.0
"""Longest lookup, all servers and retries included."""

log = structlog.get_logger()


async def resolved(config: DiscoveryConfig) -> Finds:
    """What the name stands for, whenever that has changed.

    No answer, or an empty one, changes nothing: whether an engine is gone its health checks tell,
    and a DNS server that is restarting must not empty the fleet.
    """
    look = _srv if config.srv else _addresses
    resolver = resolver_for(config.resolver)
    before: Sequence[Found] = ()
    failed = False
    while True:
        try:
            found = await look(config, resolver)
        except dns.exception.DNSException as error:
            if not failed:
                log.warning("lookup failed", name=config.srv or config.host, error=str(error))
            failed = True
        else:
            failed = False
            if found and found != before:
                before = found
                yield found
        await asyncio.sleep(config.seconds)


def resolver_for(server: str) -> Resolver:
    """Asks `server` (`HOST:PORT`, an address), or the system's where that is empty."""
    resolver = Resolver(configure=not server)
    resolver.lifetime = LOOKUP_SECONDS
    if server:
        host, _, port = server.rpartition(":")
        resolver.nameservers = [host.strip("[]")]
        resolver.port = int(port)
    return resolver


async def _srv(config: DiscoveryConfig, resolver: Resolver) -> Sequence[Found]:
    """Every target, whatever its priority: placing requests is the scheduler's work."""
    answer = await resolver.resolve(config.srv, "SRV", search=True)
    records = [record for record in answer if isinstance(record, SRV)]
    return sorted({Found(one.target.to_text(omit_final_dot=True), one.port) for one in records})


async def _addresses(config: DiscoveryConfig, resolver: Resolver) -> Sequence[Found]:
    answers = await resolver.resolve_name(config.host)
    return sorted({Found(address, config.port or 80) for address in answers.addresses()})
