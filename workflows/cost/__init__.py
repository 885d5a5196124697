"""What a budget's grid costs, worked out before any of it runs: see docs/cost.md."""
