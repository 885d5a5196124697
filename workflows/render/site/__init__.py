"""The gallery: a static site of a budget's results, from collected CSVs and pictures alone."""
