"""`python leash.py LOG COMMAND...`: runs an engine that dies with whoever started it.

The starter holds the other end of this process's standard input. When that closes, for whatever
reason (SIGKILL included), the engine and its children go; they are a process group of their own.
Standard output gets one line: the engine's process id, or why there is none. SIGTERM is passed on
to the engine alone, which ends its children itself. This file is run by itself and imports little,
as there is one such process an engine.
"""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress

PR_SET_PDEATHSIG, PR_SET_CHILD_SUBREAPER = 1, 36
"""From Linux's sys/prctl.h."""
GONE_SECONDS = 20.0
"""A killed engine's memory takes seconds to unmap."""
LOOK_SECONDS = 0.02


def main(log: str, command: list[str]) -> int:
    """Run the command to its end; its exit status, or 128 and the number of the fatal signal."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    libc = ctypes.CDLL(None) if sys.platform == "linux" else None
    if libc is not None:  # what an engine leaves behind is ours then: init need not see it off
        libc.prctl(PR_SET_CHILD_SUBREAPER, 1)

    def die_with_leash() -> None:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        if libc is not None:
            libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)

    try:
        with open(log, "ab") as out:
            engine = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                process_group=0,
                preexec_fn=die_with_leash,
            )
    except OSError as error:
        print(f"{error.filename or command[0]}: {error.strerror}", flush=True)
        return 127
    signal.signal(signal.SIGTERM, lambda _number, _frame: engine.terminate())
    print(engine.pid, flush=True)
    threading.Thread(target=_watch, args=(engine.pid,), daemon=True).start()
    status = engine.wait()
    _end(engine.pid)
    return status if status >= 0 else 128 - status


def _watch(group: int) -> None:
    """Kill the group when nobody holds the other end of our input any more."""
    os.read(0, 1)
    _kill(group, signal.SIGKILL)


def _end(group: int) -> None:
    """Kill what an engine left behind, and wait until its memory is free."""
    end = time.monotonic() + GONE_SECONDS
    while _kill(group, signal.SIGKILL) and time.monotonic() < end:
        with suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        time.sleep(LOOK_SECONDS)


def _kill(group: int, number: int) -> bool:
    """Whether anybody was there to get it."""
    with suppress(ProcessLookupError, PermissionError):  # macOS refuses where all are zombies
        os.killpg(group, number)
        return True
    return False


if __name__ == "__main__":
    os._exit(main(sys.argv[1], sys.argv[2:]))  # a thread blocked in read() would hold up an exit
