"""Test any quantiser against the equations of CVQ-VAE: `python -m workflows.conformance --help`."""
