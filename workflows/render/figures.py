"""The figures, each a function from collected measurements to a Figure."""

from workflows.render.codevectors import codevectors
from workflows.render.collected import Collected
from workflows.render.curves import training_curves
from workflows.render.generated import neighbours, progress, samples
from workflows.render.histograms import code_histograms
from workflows.render.pictures import reconstructions
from workflows.render.sweep import codebook_size, dimensionality

__all__ = [
    "Collected",
    "code_histograms",
    "codebook_size",
    "codevectors",
    "dimensionality",
    "neighbours",
    "progress",
    "reconstructions",
    "samples",
    "training_curves",
]
