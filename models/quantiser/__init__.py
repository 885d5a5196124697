"""The quantiser of the paper. Read interface, distances, clustered, refresh; then the others."""
