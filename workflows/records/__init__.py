"""The records of cells: whether they match today's plan, their numbers and the verdicts."""
