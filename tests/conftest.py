"""Property tests draw the same examples each time, so that a red gate has a cause in the change.

`HYPOTHESIS_PROFILE=explore pytest` draws new ones, twenty times as many where a test sets none.
"""

from __future__ import annotations

import os

from hypothesis import settings

settings.register_profile("gate", derandomize=True, deadline=None)
settings.register_profile("explore", max_examples=2000, deadline=None)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "gate"))
