"""`python -m tests.real.leash COMMAND...`: runs a command that dies with whoever started it.

The starter holds the other end of this process's standard input. When that closes, for whatever
reason (SIGKILL included), the whole process group goes.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading


def _watch() -> None:
    sys.stdin.buffer.read()
    os.killpg(0, signal.SIGKILL)


def main() -> int:
    """Run the command to its end; its exit status is ours."""
    # A handler, as an ignored signal would be ignored by the command too, which gets its own copy.
    signal.signal(signal.SIGTERM, lambda _number, _frame: None)
    child = subprocess.Popen(sys.argv[1:], stdin=subprocess.DEVNULL)
    threading.Thread(target=_watch, daemon=True).start()
    return child.wait()


if __name__ == "__main__":
    os._exit(main() & 0xFF)  # a thread blocked in read() would hold up a plain exit
