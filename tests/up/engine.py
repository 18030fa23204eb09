"""`python engine.py [MODEL] FLAGS`: stands in for an engine: a web server with its flags.

--child FILE: it has a child process, whose id is written there. --fail FILE: while there is such a
file, it prints what that says and ends. --deaf: it is never healthy. --stubborn: it ignores
SIGTERM. Standard library only: it must start faster than any engine.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

parser = argparse.ArgumentParser()
parser.add_argument("model", nargs="?")
parser.add_argument("--model-path")
parser.add_argument("--served-model-name")
parser.add_argument("--port", type=int)
parser.add_argument("--child")
parser.add_argument("--fail")
parser.add_argument("--deaf", action="store_true")
parser.add_argument("--stubborn", action="store_true")
options, _ = parser.parse_known_args()


class Handler(BaseHTTPRequestHandler):
    """Healthy, serves one model, and echoes."""

    def do_GET(self) -> None:
        status = 503 if options.deaf else 200
        self._answer(status, {"data": [{"id": options.served_model_name}], "version": "0.32.0"})

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self._answer(200, {"model": body["model"], "pid": os.getpid()})

    def _answer(self, status: int, value: object) -> None:
        data = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)


if options.fail and Path(options.fail).exists():
    sys.exit(Path(options.fail).read_text())
if options.stubborn:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
if options.child:
    child = subprocess.Popen([sys.executable, "-S", "-c", "import time; time.sleep(600)"])
    Path(options.child).write_text(str(child.pid))
print("loading weights", os.environ.get("CUDA_VISIBLE_DEVICES"), flush=True)
ThreadingHTTPServer(("127.0.0.1", options.port), Handler).serve_forever()
