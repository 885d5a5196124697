"""Datasets by name: what they are, where they are, and their decoded uint8 arrays. Numpy only."""

from workflows.data.cache import TrainData, load_labels, load_test, load_train, prepare, verify
from workflows.data.memory import hold
from workflows.data.registry import DataError, Dataset, describe, names
from workflows.data.sources import Found, Missing, locate

__all__ = [
    "DataError",
    "Dataset",
    "Found",
    "Missing",
    "TrainData",
    "describe",
    "hold",
    "load_labels",
    "load_test",
    "load_train",
    "locate",
    "names",
    "prepare",
    "verify",
]
