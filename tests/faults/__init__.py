"""Faults, tried for real: `python -m tests.faults` (`make faults`) writes docs/faults.md."""
