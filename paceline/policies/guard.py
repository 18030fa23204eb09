"""Keeps a policy that raises from costing a request: first come, first served takes its place."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator
from typing import Any, TypeVar

from paceline.scheduler.policy import Policy

P = TypeVar("P", bound=Policy)
OnCrash = Callable[[str, Exception], None]
"""Hears which method raised, and what."""
Args = tuple[Any, ...]
Sound = Callable[[Any, Args], bool]
"""Whether a method's answer to these arguments can be used."""


def guard(policy: P, on_crash: OnCrash) -> P:
    """The same policy: what its class overrides answers as the base class does once it has raised.

    The base class is first come, first served, at the cheapest backend. `on_crash` is called at
    each call that raises or gives what no queue can be sorted by; whoever hears it should make the
    scheduler `use` another policy, since keys of two policies are mixed until then. A policy that
    never returns cannot be helped. Methods that are not overridden cost nothing.
    """
    for name, sound in SOUND.items():
        if getattr(type(policy), name) is not getattr(Policy, name):
            setattr(policy, name, _guarded(policy, name, sound, on_crash))
    return policy


def _guarded(policy: Policy, name: str, sound: Sound, on_crash: OnCrash) -> Callable[..., Any]:
    method = getattr(policy, name)
    fallback = getattr(Policy, name)

    def call(*args: Any) -> Any:
        try:
            answer = method(*args)
            if sound(answer, args):
                return answer
            raise TypeError(f"`{name}` must not answer {answer!r}")
        except Exception as error:
            on_crash(name, error)
            return fallback(policy, *args)

    def walk(*args: Any) -> Iterator[Hashable] | None:
        buckets = call(*args)
        return None if buckets is None else _followed(buckets, on_crash)

    return walk if name == "walk" else call


def _followed(buckets: Iterator[Hashable], on_crash: OnCrash) -> Iterator[Hashable]:
    """The walk, up to where it raises."""
    try:
        yield from buckets
    except Exception as error:
        on_crash("walk", error)


def _key(answer: Any, _: Args) -> bool:
    """What other keys can be compared with; NaN, which is neither less nor more, cannot."""
    return type(answer) is tuple and all(_number(item, _) for item in answer)


def _number(answer: Any, _: Args) -> bool:
    return isinstance(answer, int | float) and answer == answer


def _candidate(answer: Any, args: Args) -> bool:
    _, view = args
    return answer is None or any(answer is backend for backend in view.backends)


def _hashable(answer: Any, _: Args) -> bool:
    hash(answer)
    return True


def _buckets(answer: Any, _: Args) -> bool:
    return answer is None or isinstance(answer, Iterator)


def _name(answer: Any, _: Args) -> bool:
    return isinstance(answer, str)


def _anything(answer: Any, _: Args) -> bool:
    return True


SOUND: dict[str, Sound] = {
    "order": _key,
    "rank": _key,
    "overdue": _anything,
    "share": _name,
    "turn": _number,
    "bucket": _hashable,
    "walk": _buckets,
    "place": _candidate,
    "entered": _anything,
    "left": _anything,
    "dispatched": _anything,
    "finished": _anything,
}
"""Every method of a policy, and whether an answer of it can be used."""
