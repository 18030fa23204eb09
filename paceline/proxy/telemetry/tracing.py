"""Tracing where the configuration asks for it: without, OpenTelemetry is not even imported."""

from __future__ import annotations

from typing import TYPE_CHECKING

from paceline.proxy.config import TracingConfig

if TYPE_CHECKING:
    from paceline.proxy.telemetry.spans import Tracing


def tracing(config: TracingConfig) -> Tracing | None:
    """What traces requests; needs a running loop. None where no collector is named."""
    if not config.endpoint:
        return None
    from paceline.proxy.telemetry.spans import Tracing  # needs OpenTelemetry, an extra

    return Tracing(config)
