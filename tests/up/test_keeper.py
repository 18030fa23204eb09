"""One engine's life: it comes up, ends, comes back, is given up, or never comes."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
from pathlib import Path

import pytest

from paceline.up.keeper import EngineFailed
from tests.up.rig import Ears, engine, fleet, gone, running, until


async def test_it_comes_up_and_goes(tmp_path: Path) -> None:
    """Ready is who answers; its output is in its log; at the end it is gone, and its children."""
    ears, child = Ears(), tmp_path / "child"
    one = engine(args={"child": str(child)}, gpus=[3])
    async with fleet(one, folder=tmp_path / "logs", ears=ears) as made:
        assert made.states()[0].state == "waiting"
        await made.start()
        view = made.states()[0]
        assert (view.name, view.state, view.restarts) == ("e", "ready", 0)
        assert view.pid is not None
        assert running(view.pid)
        assert Path(view.log).read_text().startswith("loading weights 3\n")
    assert made.states()[0].state == "stopped"
    assert [what for what, _ in ears.heard] == ["engine starts", "engine ready"]
    await gone(view.pid)
    await gone(int(child.read_text()))


async def test_it_comes_back(tmp_path: Path) -> None:
    """Killed, it is started again at the same port, and what it had started is ended before."""
    child = tmp_path / "child"
    async with fleet(engine(args={"child": str(child)}), folder=tmp_path) as made:
        await made.start()
        pid = made.states()[0].pid
        assert pid is not None
        old = int(child.read_text())
        os.kill(pid, signal.SIGKILL)
        again = await until(made, "ready", 1)
        assert again not in (None, pid)
        assert not running(old)


async def test_its_leash_is_killed(tmp_path: Path) -> None:
    """Even so no child of the engine is left, and the engine comes back."""
    child = tmp_path / "child"
    async with fleet(engine(args={"child": str(child)}), folder=tmp_path) as made:
        await made.start()
        pid, old = made.states()[0].pid, int(child.read_text())
        leash = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1]
        os.kill(int(leash), signal.SIGKILL)
        assert await until(made, "ready", 1) != pid
        await gone(old)


async def test_it_is_given_up(tmp_path: Path) -> None:
    """After so many ends in a row; another engine goes on."""
    fail = tmp_path / "fail"
    doomed = engine("doomed", args={"fail": str(fail)})
    async with fleet(doomed, engine("other"), folder=tmp_path) as made:
        await made.start()
        pid, other = (state.pid for state in made.states())
        assert pid is not None
        assert other is not None
        fail.write_text("RuntimeError: no")
        os.kill(pid, signal.SIGTERM)
        assert await until(made, "failed", 2) is None
        assert made.states()[1].state == "ready"
        assert running(other)


async def test_it_never_comes(tmp_path: Path) -> None:
    """The first start's failure is an error with status, cure and log; the log's end is shown."""
    (tmp_path / "fail").write_text("loading\nCUDA out of memory. Tried to allocate 2.00 GiB")
    ears, one = Ears(), engine(args={"fail": str(tmp_path / "fail")})
    async with fleet(one, engine("other"), folder=tmp_path, ears=ears) as made:
        with pytest.raises(EngineFailed) as caught:
            await made.start()
    assert str(caught.value).startswith("engine e: it ended with status 1 while starting; out of ")
    assert str(caught.value).endswith(f"; see {tmp_path}/e.log")
    assert ears.lines == ["e | loading", "e | CUDA out of memory. Tried to allocate 2.00 GiB"]


async def test_only_this_runs_words_count(tmp_path: Path) -> None:
    """What an earlier run left in the log explains nothing."""
    (tmp_path / "e.log").write_text("CUDA out of memory. Tried to allocate 2.00 GiB\n")
    (tmp_path / "fail").write_text("bye")
    async with fleet(engine(args={"fail": str(tmp_path / "fail")}), folder=tmp_path) as made:
        with pytest.raises(
            EngineFailed, match=r"^engine e: it ended with status 1 while starting; see"
        ):
            await made.start()


async def test_it_is_never_healthy(tmp_path: Path) -> None:
    """After `start_seconds` it is ended, by force where it must be."""
    deaf = engine(args={"deaf": True, "stubborn": True}, start_seconds=0.5)
    ears = Ears()
    async with fleet(deaf, folder=tmp_path, ears=ears, stop_seconds=0.05) as made:
        with pytest.raises(EngineFailed, match=r"it was not healthy after 0\.5 s"):
            await made.start()
        await gone(ears.details[0]["pid"])


async def test_its_port_is_taken(tmp_path: Path) -> None:
    """It is not even started: it would answer for another."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        async with fleet(engine(port=other.getsockname()[1]), folder=tmp_path) as made:
            with pytest.raises(EngineFailed, match=r"port \d+ is taken"):
                await made.start()


async def test_there_is_no_such_program(tmp_path: Path) -> None:
    """What the system says of it is passed on."""
    async with fleet(engine(command=[f"{tmp_path}/none"]), folder=tmp_path) as made:
        with pytest.raises(EngineFailed, match="none: No such file or directory"):
            await made.start()


async def test_engines_of_one_gpu_take_turns(tmp_path: Path) -> None:
    """The second starts when the first is ready, in the file's order."""
    ears = Ears()
    two = (engine("first", gpus=[0]), engine("second", gpus=[0]))
    async with fleet(*two, folder=tmp_path, ears=ears) as made:
        await made.start()
    assert ears.heard[:4] == [
        ("engine starts", "first"),
        ("engine ready", "first"),
        ("engine starts", "second"),
        ("engine ready", "second"),
    ]


async def test_engines_of_other_gpus_do_not_wait(tmp_path: Path) -> None:
    """One is ready while another is still loading, and a third waits for that."""
    slow = engine("slow", gpus=[0], args={"deaf": True})
    others = (engine("next", gpus=[0]), engine("apart", gpus=[1]))
    async with fleet(slow, *others, folder=tmp_path) as made:
        starting = asyncio.create_task(made.start())
        while made.states()[2].state != "ready":
            await asyncio.sleep(0.01)
        assert [one.state for one in made.states()] == ["starting", "waiting", "ready"]
        starting.cancel()
        await asyncio.gather(starting, return_exceptions=True)
