"""Holds a quantiser against the equations of CVQ-VAE: `python -m workflows.conformance --help`."""
