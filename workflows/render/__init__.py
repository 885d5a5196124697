"""Tables and figures from collected CSVs: a DataFrame in, text or a Figure out; no torch."""
