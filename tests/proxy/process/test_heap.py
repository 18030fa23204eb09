"""Memory of large bodies, once freed, is used for the next ones."""

from __future__ import annotations

import subprocess
import sys

import pytest

SCRIPT = """
import resource
from paceline.proxy.process.heap import keep_the_heap

def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt

def bodies():
    parts = [bytes([n]) * 400_000 for n in range(8)]


keep_the_heap()
bodies()
before = faults()
for _ in range(20):
    bodies()
print(faults() - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="glibc's heap")
def test_large_bodies_fault_their_pages_in_once() -> None:
    """Eight bodies of 400 kB, twenty times: without it 15,000 faults of 4 kB."""
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True)
    assert int(done.stdout) < 500, done.stderr
