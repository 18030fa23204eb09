"""Keeps a policy that raises from costing a request: first come, first served takes its place."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator
from typing import Any, TypeVar

from paceline.scheduler.policy import Policy

P = TypeVar("P", bound=Policy)
Method = Callable[..., Any]
OnCrash = Callable[[str, Exception], None]
"""Hears which method raised, and what."""
Check = Callable[[Any, Any], Any]
"""What a method's answer stands for, given its last argument; raises if it cannot be used."""


def guard(policy: P, on_crash: OnCrash) -> P:
    """The same policy: what its class overrides answers as the base class does when it raises.

    The base class is first come, first served, at the cheapest backend. `on_crash` is called at
    each call that raises or gives what no queue can be sorted by; whoever hears it should make the
    scheduler `use` another policy, since keys of two policies are mixed until then. A policy that
    never returns cannot be helped. Methods that are not overridden cost nothing, a guarded call
    about 0.1 us.
    """
    for name, wrap in GUARDS.items():
        if getattr(type(policy), name) is not getattr(Policy, name):
            method, base = getattr(policy, name), getattr(Policy, name)

            def fail(error: Exception, *args: Any, name: str = name, base: Method = base) -> Any:
                on_crash(name, error)
                return base(policy, *args)

            setattr(policy, name, wrap(method, fail))
    return policy


def _told(method: Method, fail: Method) -> Method:
    def call(one: Any, two: Any) -> None:
        try:
            method(one, two)
        except Exception as error:
            fail(error, one, two)

    return call


def _dispatched(method: Method, fail: Method) -> Method:
    def call(request: Any, backend: Any, view: Any) -> None:
        try:
            method(request, backend, view)
        except Exception as error:
            fail(error, request, backend, view)

    return call


def _overdue(method: Method, fail: Method) -> Method:
    def call(request: Any, view: Any) -> Any:
        try:
            return bool(method(request, view))
        except Exception as error:
            return fail(error, request, view)

    return call


def _share(method: Method, fail: Method) -> Method:
    def call(request: Any) -> Any:
        try:
            share = method(request)
            return share if type(share) is str else _refuse(share)
        except Exception as error:
            return fail(error, request)

    return call


def _walk(method: Method, fail: Method) -> Method:
    def follow(buckets: Iterator[Hashable], view: Any) -> Iterator[Hashable]:
        """The walk, up to where it raises."""
        try:
            yield from buckets
        except Exception as error:
            fail(error, view)

    def call(view: Any) -> Any:
        try:
            buckets = method(view)
            return None if buckets is None else follow(iter(buckets), view)
        except Exception as error:
            return fail(error, view)

    return call


def _asked(check: Check) -> Callable[[Method, Method], Method]:
    def wrap(method: Method, fail: Method) -> Method:
        def call(one: Any, two: Any) -> Any:
            try:
                return check(method(one, two), two)
            except Exception as error:
                return fail(error, one, two)

        return call

    return wrap


def _refuse(answer: object) -> Any:
    raise TypeError(f"must not answer {answer!r}")


def _key(answer: Any, _: Any) -> Any:
    """What other keys can be compared with; NaN, which is neither less nor more, cannot."""
    if type(answer) is not tuple:
        _refuse(answer)
    for item in answer:
        if not isinstance(item, (int, float)) or item != item:
            _refuse(answer)
    return answer


def _number(answer: Any, _: Any) -> Any:
    return answer if isinstance(answer, (int, float)) and answer == answer else _refuse(answer)


def _hashable(answer: Any, _: Any) -> Any:
    hash(answer)
    return answer


def _candidate(answer: Any, view: Any) -> Any:
    if answer is None or answer in view.backends:
        return answer
    return _refuse(answer)


GUARDS: dict[str, Callable[[Method, Method], Method]] = {
    "order": _asked(_key),
    "rank": _asked(_key),
    "overdue": _overdue,
    "share": _share,
    "turn": _asked(_number),
    "bucket": _asked(_hashable),
    "walk": _walk,
    "place": _asked(_candidate),
    "entered": _told,
    "left": _told,
    "dispatched": _dispatched,
    "finished": _told,
}
"""Every method of a policy, and what guards it."""
