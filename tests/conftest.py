"""For every test."""

from __future__ import annotations

from hypothesis import settings

# examples are many and machines are noisy: one that takes long is no failure
settings.register_profile("unshim", deadline=None)
settings.load_profile("unshim")
