"""Similarities between latents and codevectors; larger is closer.

The N x K matrix is the cost centre of a quantiser: 128 MiB at the published batch, 4 GiB at 16,384
codes. Whoever needs only its maxima goes through it in chunks, which are read while they are still
in a core's cache, and never stores it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional as F

# Numbers a chunk of the matrix, float32: on a processor the 2 MiB that a core's cache holds, on a
# GPU 128 MiB, because small kernels would cost more than the memory's traffic.
CHUNK = {"cpu": 1 << 19, "cuda": 1 << 25}
# Rows a chunk at least, below which the product runs slower than its memory traffic.
FEWEST_ROWS = 128
# Images that torch wants before it gives a convolution of one pixel to oneDNN in a single thread.
IMAGES = 16


@dataclass(frozen=True)
class Similarity:
    """`similarity(latents, codevectors)` is the matrix (n, k).

    prepare: what can be done to one side alone, shape (n, d) to (n, d). compare: the matrix of two
    prepared sides. Whoever goes through one side in chunks prepares the other once.
    """

    prepare: Callable[[Tensor], Tensor]
    compare: Callable[[Tensor, Tensor], Tensor]

    def __call__(self, latents: Float[Tensor, "n d"], codevectors: Float[Tensor, "k d"]) -> Tensor:
        """The whole matrix, shape (n, k)."""
        return self.compare(self.prepare(latents), self.prepare(codevectors))


def _unit(vectors: Tensor) -> Tensor:
    return F.normalize(vectors, dim=1)


def _convolves(a: Tensor) -> bool:
    """Whether a product with the rows of `a` is best taken as a convolution of one pixel.

    Torch leaves matrices to MKL, which on processors that are not Intel's takes half of the
    vectors' width, and convolutions to oneDNN, which takes all of it: 111 against 227 GFLOP/s of
    one core with AVX512, and the same bits up to 64 dimensions. Where torch comes without oneDNN
    nothing is won by it.
    """
    fits = len(a) >= FEWEST_ROWS and len(a) % IMAGES == 0
    return fits and a.device.type == "cpu" and torch.backends.mkldnn.is_available()


def _inner(a: Tensor, b: Tensor) -> Tensor:
    if not _convolves(a):
        return a @ b.T
    # Images of one column, channels last: nothing is copied.
    pixels = a.reshape(IMAGES, -1, 1, a.shape[1]).permute(0, 3, 1, 2)
    return F.conv2d(pixels, b[:, :, None, None]).permute(0, 2, 3, 1).reshape(len(a), len(b))


def _unchanged(vectors: Tensor) -> Tensor:
    return vectors


def _minus_squared_distance(a: Tensor, b: Tensor) -> Tensor:
    squares = a.square().sum(1, keepdim=True) + b.square().sum(1)
    if _convolves(a):
        return _inner(2 * a, b) - squares
    return torch.addmm(squares, a, b.T, beta=-1, alpha=2)


# Cosine similarity, in [-1, 1]. The published default.
cosine = Similarity(_unit, _inner)
# Minus the squared Euclidean distance, in (-inf, 0] up to rounding.
squared_euclidean = Similarity(_unchanged, _minus_squared_distance)


def chunks(rows: Tensor, columns: int) -> Iterator[slice]:
    """Slices of `rows`, (n, d), whose part of a matrix with `columns` columns is a CHUNK at most,
    or FEWEST_ROWS; all but the last can be pixels of IMAGES.
    """
    size = max(FEWEST_ROWS, CHUNK.get(rows.device.type, CHUNK["cpu"]) // max(columns, 1))
    size -= size % IMAGES
    return (slice(start, min(start + size, len(rows))) for start in range(0, len(rows), size))


def grouped(groups: Int[Tensor, " m"], count: int) -> Iterator[tuple[int, Int[Tensor, " j"]]]:
    """The groups in [0, count) that have members, each with its members' indices in [0, m)."""
    sizes = groups.bincount(minlength=count).tolist()
    for group, members in enumerate(groups.argsort().split(sizes)):
        if len(members):
            yield group, members


@torch.no_grad()
def nearest_latents(
    latents: Float[Tensor, "n d"], codevectors: Float[Tensor, "k d"], similarity: Similarity
) -> Int[Tensor, " k"]:
    """The latent closest to each codevector, as an index in [0, n); the first of equals.

    In two passes: the largest value of each chunk, which is nearly free beside the product where
    its position would double the cost; then the position, in the chunk that holds the value.
    """
    parts = list(chunks(latents, len(codevectors)))
    prepared = similarity.prepare(codevectors)
    # Made beforehand: small results kept between large ones that go would leave holes too small for
    # the next, and memory would grow to the whole matrix.
    largest = latents.new_empty(len(parts), len(codevectors))
    for index, rows in enumerate(parts):
        scores = similarity.compare(similarity.prepare(latents[rows]), prepared)
        torch.amax(scores, 0, out=largest[index])
    find = _rows_grouped if latents.device.type == "cpu" else _rows_swept
    return find(latents, prepared, largest.argmax(0), parts, similarity)


def _rows_grouped(
    latents: Tensor, prepared: Tensor, part: Tensor, parts: list[slice], similarity: Similarity
) -> Int[Tensor, " k"]:
    """Where in its chunk each code's value is: the codes of a chunk share one product."""
    row = torch.empty_like(part)
    for index, codes in grouped(part, len(parts)):
        rows = parts[index]
        block = similarity.compare(similarity.prepare(latents[rows]), prepared[codes])
        row[codes] = block.argmax(0) + rows.start
    return row


def _rows_swept(
    latents: Tensor, prepared: Tensor, part: Tensor, parts: list[slice], similarity: Similarity
) -> Int[Tensor, " k"]:
    """The same over all of each chunk: chunks are few on a GPU, and nothing waits for it."""
    row = torch.zeros_like(part)
    for index, rows in enumerate(parts):
        block = similarity.compare(similarity.prepare(latents[rows]), prepared)
        row = torch.where(part == index, block.argmax(0) + rows.start, row)
    return row
