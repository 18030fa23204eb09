"""Searches for input that breaks a target, guided by coverage: `python -m tests.fuzz body -runs=0`.

Needs atheris (`pip install atheris`, Python 3.11 to 3.13). Other options are libFuzzer's; what it
finds is written to a file `crash-...`. Without them it stops after 100,000 inputs.
"""

from __future__ import annotations

import sys
import tempfile
from importlib import import_module
from pathlib import Path
from typing import Any


def main() -> None:
    """Fuzz one target."""
    atheris: Any = import_module("atheris")
    with atheris.instrument_imports(include=["paceline"]):
        from tests.fuzz.targets import SEEDS, TARGETS
    if len(sys.argv) < 2 or sys.argv[1] not in TARGETS:
        sys.exit(f"usage: python -m tests.fuzz {'|'.join(TARGETS)} [OPTION]...")
    name = sys.argv.pop(1)
    corpus = Path(tempfile.mkdtemp(prefix=f"fuzz-{name}-"))
    for number, seed in enumerate(SEEDS[name]):
        (corpus / f"seed{number}").write_bytes(seed)
    atheris.Setup([sys.argv[0], "-runs=100000", *sys.argv[1:], str(corpus)], TARGETS[name])
    atheris.Fuzz()


if __name__ == "__main__":
    main()
