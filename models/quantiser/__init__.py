"""The quantiser of the paper. Read interface, distances, clustered and refresh first."""
