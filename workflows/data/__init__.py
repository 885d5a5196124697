"""Datasets: where they are, and their decoded uint8 arrays."""
