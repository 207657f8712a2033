"""Hypothesis profiles: `ci` draws the same examples each time, `deep` many more (HYPOTHESIS_PROFILE=deep)."""

import os

from hypothesis import settings

settings.register_profile("ci", derandomize=True, deadline=None, max_examples=50)
settings.register_profile("deep", deadline=None, max_examples=3000)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci"))
