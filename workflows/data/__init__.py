"""Datasets by name: what they are, where they are, and their decoded uint8 arrays. Numpy only."""

from workflows.data.cache import (
    SMALL,
    TrainData,
    load_labels,
    load_test,
    load_train,
    note_missing,
    prepare,
    verify,
)
from workflows.data.memory import hold
from workflows.data.registry import DataError, Dataset, describe, names
from workflows.data.sources import Unavailable, absence

__all__ = [
    "SMALL",
    "DataError",
    "Dataset",
    "TrainData",
    "Unavailable",
    "absence",
    "describe",
    "hold",
    "load_labels",
    "load_test",
    "load_train",
    "names",
    "note_missing",
    "prepare",
    "verify",
]
