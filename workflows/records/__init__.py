"""What finished cells leave, held against the plan: states, collected numbers, verdicts."""
