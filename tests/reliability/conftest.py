"""The steps' fixtures, for steps that are killed, starved of disk or given damaged files."""

from tests.steps.conftest import chain, command, digits, refused

__all__ = ["chain", "command", "digits", "refused"]
