"""How long to look: a few examples, always the same; HYPOTHESIS_PROFILE=long for many others."""

from __future__ import annotations

import os

from hypothesis import HealthCheck, settings

CHECKS = [HealthCheck.too_slow, HealthCheck.function_scoped_fixture, HealthCheck.data_too_large]
settings.register_profile(
    "quick", max_examples=15, deadline=None, derandomize=True, suppress_health_check=CHECKS
)
settings.register_profile("long", max_examples=1500, deadline=None, suppress_health_check=CHECKS)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "quick"))
