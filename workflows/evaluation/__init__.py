"""Measurements of trained models: protocols, metrics of reconstructions and codes, records."""
