"""The scheduler's gauges are read at the scrape."""

from __future__ import annotations

from prometheus_client import CollectorRegistry
from prometheus_client.exposition import generate_latest

from paceline.proxy.telemetry.gauges import SchedulerCollector
from paceline.scheduler.snapshot import BackendSnapshot, QueueSnapshot, Snapshot

FULL = Snapshot(
    waiting=3,
    waiting_tokens=4096,
    in_flight=5,
    mean_wait_seconds=0.5,
    trie_nodes=17,
    trie_blocks=18,
    queues=[QueueSnapshot(model="m", waiting=3, held=2, oldest_seconds=1.5)],
    backends=[
        BackendSnapshot(
            id="a:1",
            up=True,
            draining=False,
            models=["m"],
            in_flight=5,
            peers=3,
            unstarted=2,
            prefill_tokens=700,
            prefill_rate=9000.0,
            kv_tokens=65536,
            kv_room=1000,
            recent_requests=9,
            exact=True,
        ),
        BackendSnapshot(
            id="b:2",
            up=False,
            draining=True,
            models=[],
            in_flight=0,
            unstarted=0,
            prefill_tokens=0,
            prefill_rate=0.0,
            kv_tokens=None,
            kv_room=None,
            recent_requests=0,
            exact=False,
        ),
    ],
)


def page(collector: SchedulerCollector) -> list[str]:
    registry = CollectorRegistry()
    registry.register(collector)
    lines = generate_latest(registry).decode().splitlines()
    return [line for line in lines if not line.startswith("#")]


def test_shows_queue_trie_and_backends() -> None:
    """Each figure of the snapshot is a gauge; what an engine does not tell is left out."""
    assert page(SchedulerCollector(lambda: FULL)) == [
        "paceline_waiting_requests 3.0",
        "paceline_waiting_tokens 4096.0",
        "paceline_trie_nodes 17.0",
        "paceline_trie_blocks 18.0",
        'paceline_queue_requests{model="m"} 3.0',
        'paceline_queue_held_requests{model="m"} 2.0',
        'paceline_queue_oldest_seconds{model="m"} 1.5',
        'paceline_backend_up{backend="a:1"} 1.0',
        'paceline_backend_up{backend="b:2"} 0.0',
        'paceline_backend_draining{backend="a:1"} 0.0',
        'paceline_backend_draining{backend="b:2"} 1.0',
        'paceline_backend_in_flight_requests{backend="a:1"} 5.0',
        'paceline_backend_in_flight_requests{backend="b:2"} 0.0',
        'paceline_backend_peer_requests{backend="a:1"} 3.0',
        'paceline_backend_peer_requests{backend="b:2"} 0.0',
        'paceline_backend_unstarted_requests{backend="a:1"} 2.0',
        'paceline_backend_unstarted_requests{backend="b:2"} 0.0',
        'paceline_backend_prefill_tokens{backend="a:1"} 700.0',
        'paceline_backend_prefill_tokens{backend="b:2"} 0.0',
        'paceline_backend_prefill_tokens_per_second{backend="a:1"} 9000.0',
        'paceline_backend_prefill_tokens_per_second{backend="b:2"} 0.0',
        'paceline_backend_kv_tokens{backend="a:1"} 65536.0',
        'paceline_backend_kv_room_tokens{backend="a:1"} 1000.0',
        'paceline_backend_kv_exact{backend="a:1"} 1.0',
        'paceline_backend_kv_exact{backend="b:2"} 0.0',
        'paceline_backend_recent_requests{backend="a:1"} 9.0',
        'paceline_backend_recent_requests{backend="b:2"} 0.0',
    ]


def test_registering_takes_no_snapshot() -> None:
    """One snapshot a scrape, none before the first."""
    taken: list[int] = []

    def snapshot() -> Snapshot:
        taken.append(1)
        return FULL

    collector = SchedulerCollector(snapshot)
    registry = CollectorRegistry()
    registry.register(collector)
    assert not taken
    generate_latest(registry)
    assert len(taken) == 1
