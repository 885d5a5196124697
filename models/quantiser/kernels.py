"""The fast paths of the quantisers. Each gives what its plain form gives, in less time and memory.

The matrix of similarities between N latents and K codevectors is the main cost of a quantiser: it
takes 128 MiB at the published batch, and 4 GiB at 16,384 codes. The kernels therefore go through
the latents in chunks, use each part of the matrix while it is in the cache, and never store the
whole. tests/numerics/test_speed_paths.py compares every kernel with the plain form that its
docstring states.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from models.quantiser.interface import Similarity

# Numbers in one chunk of the matrix, float32: 2 MiB on a processor, which fit into the cache of a
# core; 128 MiB on a GPU, where starting many small kernels costs more than memory traffic.
CHUNK = {"cpu": 1 << 19, "cuda": 1 << 25}
# A product of fewer rows than this is slower than its memory traffic.
FEWEST_ROWS = 128
# Torch uses oneDNN for a 1 x 1 convolution in one thread only from this many images on.
IMAGES = 16
# Latents in one block of a draw from a softmax over the batch.
BLOCK = 256
# Codes that the contrastive term takes at a time; their scores over the published batch of 65,536
# latents are 8 MiB.
CODES = 32
# With a smaller weight, (1 - weight) * old + weight * anchor equals `old` in float32.
NEGLIGIBLE = 1e-8


# Products


def inner(a: Float[Tensor, "n d"], b: Float[Tensor, "k d"]) -> Float[Tensor, "n k"]:
    """Plain form: a @ b.T."""
    if not _convolves(a):
        return a @ b.T
    # Images of one column with channels last, so nothing is copied.
    pixels = a.reshape(IMAGES, -1, 1, a.shape[1]).permute(0, 3, 1, 2)
    return F.conv2d(pixels, b[:, :, None, None]).permute(0, 2, 3, 1).reshape(len(a), len(b))


def minus_squared_distance(
    a: Float[Tensor, "n d"], b: Float[Tensor, "k d"]
) -> Float[Tensor, "n k"]:
    """Plain form: -torch.cdist(a, b) ** 2, written out as 2 ab - (a^2 + b^2)."""
    squares = a.square().sum(1, keepdim=True) + b.square().sum(1)
    if _convolves(a):
        return inner(2 * a, b) - squares
    return torch.addmm(squares, a, b.T, beta=-1, alpha=2)


def _convolves(a: Tensor) -> bool:
    """Whether to compute a product with the rows of `a` as a 1 x 1 convolution.

    Torch computes matrix products with MKL and convolutions with oneDNN. On processors that are not
    Intel's, MKL uses half of the vector width: 111 GFLOP/s against 227 on one core with AVX512. The
    two agree bit for bit up to 64 dimensions.
    """
    fits = len(a) >= FEWEST_ROWS and len(a) % IMAGES == 0
    return fits and a.device.type == "cpu" and torch.backends.mkldnn.is_available()


def chunks(rows: Float[Tensor, "n d"], columns: int) -> Iterator[slice]:
    """Slices of `rows` for a matrix with `columns` columns.

    A slice has at most CHUNK numbers of the matrix, but at least FEWEST_ROWS rows. Every slice but
    the last fits `inner` as a convolution.
    """
    size = max(FEWEST_ROWS, CHUNK.get(rows.device.type, CHUNK["cpu"]) // max(columns, 1))
    size -= size % IMAGES
    return (slice(start, min(start + size, len(rows))) for start in range(0, len(rows), size))


# Selection. On a processor numpy selects, on the tensor's own memory: for 512 rows of 65,536 values
# in one thread its argmax takes 8 ms and torch's 76, its partition 78 ms and torch's kthvalue 660.


def argmax(rows: Float[Tensor, "m n"]) -> Int[Tensor, " m"]:
    """Plain form: rows.argmax(1). The first of equal values is taken."""
    if rows.device.type != "cpu":
        return rows.argmax(1)
    return torch.from_numpy(rows.detach().numpy().argmax(1))


def count(codes: Int[Tensor, " n"], size: int) -> Int[Tensor, " {size}"]:
    """Plain form: torch.bincount(codes, minlength=size)."""
    if codes.device.type == "cpu":
        return torch.bincount(codes, minlength=size)
    # bincount waits for the GPU, because its result has as many entries as the largest code.
    return torch.zeros(size, dtype=torch.long, device=codes.device).scatter_add_(
        0, codes, torch.ones_like(codes)
    )


@dataclass(frozen=True)
class Selection:
    """weights: the share, in [0, 1], with which a value is selected. bound: the largest one."""

    weights: Float[Tensor, "m n"]
    bound: Float[Tensor, "m 1"]


def smallest(rows: Float[Tensor, "m n"], count: int) -> Selection:
    """Select the `count` smallest values of each row, 1 <= count <= n.

    Plain form: sort each row and take the first `count`. Values equal to the bound share the
    remaining places evenly, so that the selection does not depend on the order of the sort.
    """
    rows = rows.detach()
    if rows.device.type != "cpu":
        bound = rows.kthvalue(count, dim=1, keepdim=True).values
        weights = (rows <= bound).to(rows.dtype)
        selected = weights.sum(1, keepdim=True)
        tied = torch.arange(len(rows), device=rows.device)
    else:
        values = rows.numpy()
        bound = torch.from_numpy(np.partition(values, count - 1, axis=1)[:, count - 1 : count])
        members = values <= bound.numpy()
        weights = torch.from_numpy(members.astype(values.dtype))
        selected = torch.tensor([[float(np.count_nonzero(row))] for row in members])
        tied = torch.nonzero(selected[:, 0] != count)[:, 0]
    if len(tied):
        level = (rows[tied] == bound[tied]).to(rows.dtype)
        surplus = selected[tied] - count
        weights[tied] -= level * (surplus / level.sum(1, keepdim=True))
    return Selection(weights, bound)


def moving(weights: Float[Tensor, " k"]) -> Int[Tensor, " m"]:
    """The codes that a blend moves, as indices. Plain form: all codes, torch.arange(K).

    A code whose weight is negligible stays as it is, so its anchor need not be computed. On a GPU
    all codes are returned, because counting those that move would wait for the GPU.
    """
    if weights.device.type == "cpu":
        return torch.nonzero(weights > NEGLIGIBLE)[:, 0]
    return torch.arange(len(weights), device=weights.device)


# Assignment


@dataclass(frozen=True)
class Nearest:
    """The outcome of `quantise`.

    vectors: the chosen codevectors; their gradient goes to the latents unchanged. codes: indices in
    [0, K). commitment: mean (z - sg(e))^2. codebook: mean (e - sg(z))^2.
    """

    vectors: Float[Tensor, "n d"]
    codes: Int[Tensor, " n"]
    commitment: Float[Tensor, ""]
    codebook: Float[Tensor, ""]


def quantise(
    latents: Float[Tensor, "n d"], codevectors: Float[Tensor, "k d"], similarity: Similarity
) -> Nearest:
    """Give each latent its most similar codevector, with both losses; first derivatives only.

    Plain form, with z the latents and sg() for detach():

        codes = similarity(z, codevectors).argmax(1)
        e = codevectors[codes]
        vectors = z + sg(e - z)
        commitment, codebook = mse_loss(z, sg(e)), mse_loss(e, sg(z))

    Composed of torch's functions these lines read and write as much memory as the latents take a
    dozen times, and again backward. Here each chunk is compared, assigned, subtracted and summed
    while it is in the cache.
    """
    return Nearest(*_Quantise.apply(latents, codevectors, similarity))


class _Quantise(torch.autograd.Function):
    """With d = z - e over N x D numbers, both losses are mean d^2.

    Their gradients are 2 d / ND for the latents, and -2 / ND times the sum of a code's d for its
    codevector.
    """

    @staticmethod
    def forward(ctx: Any, latents: Tensor, codevectors: Tensor, similarity: Similarity) -> Any:
        chosen, difference = torch.empty_like(latents), torch.empty_like(latents)
        codes = torch.empty(len(latents), dtype=torch.long, device=latents.device)
        sums = torch.zeros_like(codevectors)
        total = latents.new_zeros(())
        prepared = similarity.prepare(codevectors)
        for rows in chunks(latents, len(codevectors)):
            part, part_difference = latents[rows], difference[rows]
            part_codes = argmax(similarity.compare(similarity.prepare(part), prepared))
            codes[rows] = part_codes
            torch.index_select(codevectors, 0, part_codes, out=chosen[rows])
            torch.sub(part, chosen[rows], out=part_difference)
            total += torch.dot(part_difference.view(-1), part_difference.view(-1))
            sums.index_add_(0, part_codes, part_difference)
        ctx.save_for_backward(difference, sums)
        ctx.mark_non_differentiable(codes)
        mean = total / latents.numel()
        return chosen, codes, mean, mean.clone()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, vectors: Tensor, _: Any, commitment: Tensor, codebook: Tensor) -> Any:
        difference, sums = ctx.saved_tensors
        scale = 2 / difference.numel()
        return (
            torch.addcmul(vectors, difference, commitment * scale),
            sums * (codebook * -scale),
            None,
        )


# Anchors


@torch.no_grad()
def nearest_latents(
    latents: Float[Tensor, "n d"], codevectors: Float[Tensor, "k d"], similarity: Similarity
) -> Int[Tensor, " k"]:
    """The latent closest to each codevector, as an index in [0, n); the first of equals.

    Plain form: similarity(latents, codevectors).argmax(0).
    """
    find = _in_two_passes if latents.device.type == "cpu" else _in_one_pass
    return find(latents, similarity.prepare(codevectors), similarity)


def _in_one_pass(latents: Tensor, prepared: Tensor, similarity: Similarity) -> Int[Tensor, " k"]:
    """Keep the largest value of each code so far, and its position."""
    best = latents.new_full((len(prepared),), -torch.inf)
    row = torch.zeros(len(prepared), dtype=torch.long, device=latents.device)
    for rows in chunks(latents, len(prepared)):
        scores = similarity.compare(similarity.prepare(latents[rows]), prepared)
        value, position = scores.max(0)
        row = torch.where(value > best, position + rows.start, row)
        best = torch.maximum(value, best)
    return row


def _in_two_passes(latents: Tensor, prepared: Tensor, similarity: Similarity) -> Int[Tensor, " k"]:
    """The same for a processor, where finding positions costs as much as the product.

    The first pass finds which chunk has the largest value of a code, the second its position in
    that chunk. Codes that are closest to the same chunk share one product.
    """
    parts = list(chunks(latents, len(prepared)))
    # Allocated beforehand. Small results that outlive large ones would leave gaps in memory that
    # are too small for the next large one, and memory would grow to the whole matrix.
    largest = latents.new_empty(len(parts), len(prepared))
    for index, rows in enumerate(parts):
        scores = similarity.compare(similarity.prepare(latents[rows]), prepared)
        torch.amax(scores, 0, out=largest[index])
    row = torch.empty(len(prepared), dtype=torch.long)
    for index, codes in _grouped(largest.argmax(0), len(parts)):
        rows = parts[index]
        scores = similarity.compare(similarity.prepare(latents[rows]), prepared[codes])
        row[codes] = scores.argmax(0) + rows.start
    return row


def draw_latents(
    latents: Float[Tensor, "n d"],
    codevectors: Float[Tensor, "m d"],
    uniform: Float[Tensor, "2 m"],
    similarity: Similarity,
) -> Int[Tensor, " m"]:
    """For each codevector, draw a latent from the softmax of its similarities to all latents.

    Plain form: torch.multinomial(similarity(latents, codevectors).softmax(0).T, 1)[:, 0]. The draw
    takes two numbers in [0, 1) a codevector. The first draws a block of latents in proportion to
    the block's share of the softmax, the second draws a latent within that block.
    """
    blocks = latents.split(BLOCK)
    prepared = similarity.prepare(codevectors)
    mass = latents.new_empty(len(codevectors), len(blocks))
    for index, block in enumerate(blocks):
        mass[:, index] = similarity.compare(similarity.prepare(block), prepared).logsumexp(0)
    drawn = _draw(mass, uniform[0])
    within = _within_grouped if latents.device.type == "cpu" else _within_gathered
    return drawn * BLOCK + within(latents, codevectors, drawn, uniform[1], similarity)


def _within_grouped(
    latents: Tensor, codevectors: Tensor, drawn: Tensor, uniform: Tensor, similarity: Similarity
) -> Int[Tensor, " m"]:
    """For each code, a latent of its drawn block; the codes of a block share one product."""
    blocks = latents.split(BLOCK)
    row = torch.empty_like(drawn)
    for block, codes in _grouped(drawn, len(blocks)):
        row[codes] = _draw(similarity(blocks[block], codevectors[codes]).T, uniform[codes])
    return row


def _within_gathered(
    latents: Tensor, codevectors: Tensor, drawn: Tensor, uniform: Tensor, similarity: Similarity
) -> Int[Tensor, " m"]:
    """The same with a copy of its block for each code: more memory, but no wait for a GPU."""
    rows = drawn[:, None] * BLOCK + torch.arange(BLOCK, device=latents.device)
    inside = rows < len(latents)
    members = latents[rows.clamp(max=len(latents) - 1)]
    scores = torch.vmap(lambda block, code: similarity(block, code[None])[:, 0])(
        members, codevectors
    )
    return _draw(scores.masked_fill(~inside, -torch.inf), uniform)


def _grouped(groups: Int[Tensor, " m"], count: int) -> Iterator[tuple[int, Int[Tensor, " j"]]]:
    """Each group in [0, count) that has members, with the indices of its members in [0, m)."""
    sizes = groups.bincount(minlength=count).tolist()
    for group, members in enumerate(groups.argsort().split(sizes)):
        if len(members):
            yield group, members


def _draw(logits: Float[Tensor, "m n"], uniform: Float[Tensor, " m"]) -> Int[Tensor, " m"]:
    """Invert the cumulative distribution of softmax(logits) at `uniform` in [0, 1), row by row."""
    cumulative = torch.softmax(logits.double(), dim=1).cumsum(1)
    target = (uniform.double() * cumulative[:, -1])[:, None]
    return torch.searchsorted(cumulative, target, right=True)[:, 0].clamp(max=logits.shape[1] - 1)


# The contrastive term


def contrastive(
    latents: Float[Tensor, "n d"],
    codebook: Float[Tensor, "k d"],
    similarity: Similarity,
    temperature: float,
) -> Float[Tensor, ""]:
    """The mean over codes of a cross entropy; it trains the codebook alone, by first derivatives.

    Plain form:

        scores = similarity(latents.detach(), codebook).T.sort(1).values
        positive = scores[:, -max(1, N // K):].mean(1, keepdim=True)
        logits = torch.cat([positive, scores[:, : N // 2]], 1) / temperature
        cross_entropy(logits, torch.zeros(K))

    A single latent has no far half, and the term is then zero.
    """
    return _Contrastive.apply(codebook, latents.detach(), similarity, temperature)


class _Contrastive(torch.autograd.Function):
    """Computes value and gradient together, CODES codes at a time."""

    @staticmethod
    def forward(
        ctx: Any, codebook: Tensor, latents: Tensor, similarity: Similarity, temperature: float
    ) -> Tensor:
        prepared = similarity.prepare(latents)
        differentiates = ctx.needs_input_grad[0] and not torch.is_inference_mode_enabled()
        positives = max(1, len(latents) // len(codebook))
        total, gradient, done = codebook.new_zeros(()), torch.zeros_like(codebook), 0
        for codes in codebook.split(CODES) if len(latents) > 1 else ():
            with torch.set_grad_enabled(differentiates):
                leaf = codes.detach().requires_grad_(differentiates)
                scores = similarity.compare(similarity.prepare(leaf), prepared)
            terms, slopes = _cross_entropy(scores.detach(), positives, temperature)
            total += terms.sum()
            if differentiates:
                (gradient[done : done + len(codes)],) = torch.autograd.grad(scores, leaf, slopes)
                done += len(codes)
        ctx.save_for_backward(gradient / len(codebook))
        return total / len(codebook)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, loss: Tensor) -> Any:
        (gradient,) = ctx.saved_tensors
        return loss * gradient, None, None, None


def _cross_entropy(
    scores: Float[Tensor, "k n"], positives: int, temperature: float
) -> tuple[Float[Tensor, " k"], Float[Tensor, "k n"]]:
    """Each code's term, and the derivatives of the term by the scores."""
    far = smallest(scores, scores.shape[1] // 2)
    close = smallest(-scores, positives)
    # Relative to the largest of the far half, so that nothing overflows.
    mass = torch.minimum(scores, far.bound).sub_(far.bound).div_(temperature).exp_()
    mass = mass.mul_(far.weights)
    total = mass.sum(1, keepdim=True)
    positive = (close.weights * scores).sum(1, keepdim=True) / positives
    margin = total.log() + (far.bound - positive) / temperature
    pull = torch.sigmoid(margin) / temperature
    slopes = mass.mul_(pull / total).sub_(close.weights.mul_(pull / positives))
    # Where the term is small, softplus keeps digits that a difference of logarithms would lose.
    return F.softplus(margin)[:, 0], slopes
