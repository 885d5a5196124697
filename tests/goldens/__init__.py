"""Numbers that results are made of, recorded at the versions that results are known by."""
