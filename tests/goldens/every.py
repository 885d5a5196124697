"""Every golden there is."""

from __future__ import annotations

from tests.goldens import of_diffusion, of_measures, of_methods, of_networks, of_readers
from tests.goldens.golden import Golden

MODULES = (of_methods, of_networks, of_diffusion, of_readers, of_measures)
GOLDENS: list[Golden] = [golden for module in MODULES for golden in module.GOLDENS]
