"""The records of cells: whether they match today's plan, their numbers and the verdicts."""

from pathlib import Path

# The folder of published numbers.
PUBLISHED = Path("results/published")
