"""Guards taken out, one at a time, to see a test fail: `python -m tests.guards` (`make guards`)."""
