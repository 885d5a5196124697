"""The workflow itself: what Snakemake makes, and what it leaves alone."""
