"""Datasets and metric weights: finding, checking, decoding and storing them."""
