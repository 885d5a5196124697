"""What is measured of a model: protocols, and the metrics of reconstructions and samples."""
