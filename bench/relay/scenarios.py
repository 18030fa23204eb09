"""What is asked of every proxy: how many clients, how large the prompts, what kind of answer."""

from __future__ import annotations

from msgspec import Struct


class Scenario(Struct, frozen=True, kw_only=True):
    """One load; times in milliseconds."""

    name: str
    connections: int
    body: int = 2048
    """Bytes of a request's body; three quarters are shared within one of 50 groups."""
    marker: str = "#json#"
    """Tells the stand-in engine how to answer, see engine.c."""
    traced: bool = False
    """Whether each head has an id of its own, as from a client behind another proxy."""
    ramp: int = 0
    """The clients begin one after the other within this time."""
    warm: int = 700
    window: int = 2000

    @property
    def unit(self) -> str:
        """What CPU time is counted by."""
        return "chunk" if self.marker.startswith("#paced:") and ":0:" not in self.marker else "req"


SCENARIOS = (
    # the streams first: the growth of memory for each is that of a fresh process
    Scenario(name="paced4000", connections=4000, marker="#paced:1000:30#", ramp=5000, window=4000),
    Scenario(name="paced256", connections=256, marker="#paced:20:64#", ramp=1280, window=4000),
    Scenario(name="burst32", connections=32, marker="#paced:0:64#"),
    Scenario(name="json1", connections=1),
    Scenario(name="json32", connections=32),
    Scenario(name="traced32", connections=32, traced=True),
    Scenario(name="json256", connections=256),
    Scenario(name="big32", connections=32, body=16 * 1024),
    Scenario(name="huge4", connections=4, body=400_000),
)
