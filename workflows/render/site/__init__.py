"""Build a static site of a budget's results from collected numbers and pictures."""
