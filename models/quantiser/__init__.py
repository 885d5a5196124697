"""The quantiser of the paper; interface, distances, clustered, refresh, then the fast kernels."""
