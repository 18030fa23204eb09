"""The grid of runs on a Ray cluster, a task a run."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from paceline.sim.experiment import Job, Outcome, run
from paceline.sim.extras import extra


class ClusterError(Exception):
    """The cluster cannot be used; the message is one line."""


def run_on_ray(jobs: Sequence[Job], address: str) -> Iterator[tuple[int, Outcome]]:
    """Every job's outcome with its place, as they are done; the first error ends it.

    Args:
        jobs: what to run; traces and loose policies must be readable on every node.
        address: `host:port` of a cluster, `ray://host:port`, `auto` for the one that runs here, or
            `local` for one that lives as long as this call.

    Raises ClusterError, MissingExtra, and what `run` raises.
    """
    ray = extra("ray", "ray")
    try:
        ray.init(address=address, log_to_driver=False, configure_logging=False)
    except (OSError, RuntimeError, ValueError) as error:
        raise ClusterError(f"no Ray cluster at {address}: {_line(error)}") from None
    try:
        task = ray.remote(run)
        places = {task.remote(job): place for place, job in enumerate(jobs)}
        pending = list(places)
        while pending:
            (done,), pending = ray.wait(pending)
            yield places[done], ray.get(done)
    except ray.exceptions.RayTaskError as error:
        raise error.cause from None  # as it was raised there, without Ray's traceback in its text
    except ray.exceptions.RayError as error:
        raise ClusterError(f"the Ray cluster at {address} failed: {_line(error)}") from None
    finally:
        ray.shutdown()


def _line(error: Exception) -> str:
    return " ".join(str(error).split())
