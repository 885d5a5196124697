"""Datasets: where they are, and their decoded uint8 arrays. Importing this loads numpy only."""

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
from workflows.data.sources import Unavailable, absence
from workflows.errors import DataError

__all__ = [
    "SMALL",
    "DataError",
    "TrainData",
    "Unavailable",
    "absence",
    "hold",
    "load_labels",
    "load_test",
    "load_train",
    "note_missing",
    "prepare",
    "verify",
]
