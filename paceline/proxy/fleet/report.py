"""What a fleet looks like from here: for `/metrics` and `/paceline/state`."""

from __future__ import annotations

from collections.abc import Iterator

from msgspec import Struct
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from paceline.proxy.fleet.member import Member

GAUGES = {
    "connected": "1 if the store took the last batch.",
    "peers": "Other proxies that are heard.",
    "peer_requests": "Requests that they have in flight.",
    "lag_seconds": "Time that this proxy's last batch took to come back from the store.",
}
COUNTERS = {
    "batches_sent": "Batches told to the others.",
    "batches_heard": "Batches heard from the others.",
    "heard_requests": "Requests that others were heard to send.",
    "gaps": "Times that batches of another proxy were missing.",
    "dropped_batches": "Batches that came late, twice or unreadable.",
}


class PeerState(Struct, frozen=True, kw_only=True):
    """Another proxy."""

    proxy: str
    in_flight: int
    silent_seconds: float


class FleetState(Struct, frozen=True, kw_only=True):
    """The others, and how well they are heard."""

    cell: str
    proxy: str
    """This proxy's name among them."""
    connected: bool
    run: int
    lag_seconds: float
    batches_sent: int
    batches_heard: int
    heard_requests: int
    gaps: int
    dropped_batches: int
    peer_requests: int
    peers: list[PeerState]


def fleet_state(member: Member, cell: str, now: float) -> FleetState:
    """As it is at `now`, on the loop's clock."""
    peers = member.peers
    return FleetState(
        cell=cell,
        proxy=member.proxy,
        connected=member.connected,
        run=member.outbox.run,
        lag_seconds=round(member.lag, 4),
        batches_sent=member.told,
        batches_heard=peers.batches,
        heard_requests=peers.requests,
        gaps=peers.gaps,
        dropped_batches=peers.dropped,
        peer_requests=sum(len(peer.running) for peer in peers),
        peers=[
            PeerState(
                proxy=peer.proxy,
                in_flight=len(peer.running),
                silent_seconds=round(now - peer.heard_at, 2),
            )
            for peer in peers
        ],
    )


class FleetCollector(Collector):
    """The same for Prometheus; nothing while the proxy is in no fleet."""

    def __init__(self, member: Member) -> None:
        self._member = member

    def describe(self) -> Iterator[Metric]:
        """Nothing, as everywhere here."""
        return iter(())

    def collect(self) -> Iterator[Metric]:
        """The values now."""
        state = fleet_state(self._member, "", 0.0)
        for name, doc in GAUGES.items():
            value = len(state.peers) if name == "peers" else getattr(state, name)
            yield GaugeMetricFamily(f"paceline_fleet_{name}", doc, value=float(value))
        for name, doc in COUNTERS.items():
            yield CounterMetricFamily(f"paceline_fleet_{name}", doc, value=getattr(state, name))
