"""The emulator's settings and the engine they make."""

from paceline.engines.emulator.config import EmulatorConfig
from paceline.engines.model.presets import PRESETS


def test_the_preset_gives_pool_and_times() -> None:
    """Pool and step times come from the preset, the times from the engine's own column."""
    preset = PRESETS["llama-3.1-8b-a100"]
    for kind, time in (("vllm", preset.vllm), ("sglang", preset.sglang)):
        engine = EmulatorConfig(kind=kind, preset="llama-3.1-8b-a100").engine()  # type: ignore[arg-type]
        assert (engine.time, engine.kv_tokens) == (time, preset.kv_tokens)


def test_the_context_fits_the_pool() -> None:
    """No prompt may be longer than the pool, whatever the model's context."""
    assert EmulatorConfig().context == 131_072
    assert EmulatorConfig(kv_tokens=5000).context == 5000
    assert EmulatorConfig(kv_tokens=5000, context_tokens=300).context == 300
