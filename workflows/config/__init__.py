"""What people write and what steps hand on: typed, closed, and refused with file and key."""
