"""Power of two choices: of a few backends drawn at random, the one with the least prefill ahead."""

from paceline.scheduler import Backend, Policy, Request, View


class PowerOfTwo(Policy):
    """Place on the least loaded of a few backends drawn at random; arrival order."""

    choices: int = 2
    """How many backends to draw."""

    def place(self, request: Request, view: View) -> Backend | None:
        drawn = view.rng.sample(view.backends, min(self.choices, len(view.backends)))
        return min(drawn, key=lambda backend: backend.prefill_tokens, default=None)
