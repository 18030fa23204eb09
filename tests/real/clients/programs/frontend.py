"""A program in SGLang's frontend language: forks, a regex, a choice; prints what came of it."""

# pyright: reportMissingImports=false

from __future__ import annotations

import json
import sys
from typing import Any

import sglang as sgl

POINT = r"[a-c]{3}-[0-9]{2}"


def points(s: Any, question: str) -> None:
    """Three branches from one prefix, whose results are joined."""
    s += sgl.system("Answer in the fewest words that will do. " * 10)
    s += sgl.user(question)
    s += sgl.assistant_begin()
    forks = s.fork(3)
    for number, fork in enumerate(forks):
        fork += f"Point {number}: "
        fork += sgl.gen("point", max_tokens=8, regex=POINT)
    forks.join()
    for number, fork in enumerate(forks):
        s += sgl.gen(f"after{number}", max_tokens=2) + fork["point"] + "\n"
    s += "Sure? " + sgl.select("sure", choices=["yes", "no"])


def main() -> None:
    """Run it once, in a batch and as a stream."""
    program = sgl.function(points)
    sgl.set_default_backend(sgl.RuntimeEndpoint(sys.argv[1], chat_template_name="chatml"))
    one = program.run(question="What?", temperature=0)
    batch = program.run_batch(
        [{"question": f"What of {number}?"} for number in range(4)], temperature=0, num_threads=4
    )
    stream = program.run(question="What?", temperature=0, stream=True)
    pieces = list(stream.text_iter())
    print(json.dumps({"one": one.text(), "sure": [s["sure"] for s in batch], "pieces": pieces}))


if __name__ == "__main__":
    main()
