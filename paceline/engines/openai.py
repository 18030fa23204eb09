"""Any other OpenAI-compatible server: it tells its models, and nothing of load or cache."""

from __future__ import annotations

from collections.abc import Mapping

from paceline.engines.adapter import MODELS, Adapter, models
from paceline.engines.base import Facts


def facts(replies: Mapping[str, bytes]) -> Facts:
    """The names it serves."""
    return Facts(kind="openai", models=models(replies.get(MODELS)))


def _nothing(reply: bytes) -> None:
    """Such a server tells neither its load nor when it started."""


ADAPTER = Adapter(
    kind="openai", ask=(), health=MODELS, facts=facts, load=_nothing, started_at=_nothing
)
