"""The published procedure, restated plainly: the peer of our quantiser and of our training step.

It is written from the published description. The benchmarks compare its speed with ours, and
tests/restatement compares the numbers. It sorts where a maximum would do, multiplies by one-hot
matrices where a gather would do, stores the whole N x K matrix, computes in single precision, and
reads the statistics of a step with `.item()`. The blend comes after the backward pass, as
everywhere in this project.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from models.autoencoder import Autoencoder
from models.quantiser.interface import Assignment, Quantised

DECAY, EPSILON, TEMPERATURE, BETA = 0.99, 1e-3, 0.07, 0.25


def similarities(latents: Tensor, codebook: Tensor, distance: str) -> Tensor:
    """Return the whole matrix (N, K) of cosines, or of negative squared Euclidean distances."""
    if distance == "cosine":
        return F.normalize(latents, dim=1) @ F.normalize(codebook, dim=1).T
    squares = latents.square().sum(1, keepdim=True) + codebook.square().sum(1)
    return 2 * latents @ codebook.T - squares


class PlainQuantiser(nn.Module):
    """CVQ-VAE with closest anchors. The caller decides in which steps it adapts."""

    usage: Tensor

    def __init__(
        self, size: int, width: int, contrastive: bool = False, distance: str = "cosine"
    ) -> None:
        super().__init__()
        self.contrastive, self.distance = contrastive, distance
        self.codebook = nn.Parameter(torch.empty(size, width).uniform_(-1 / size, 1 / size))
        self.register_buffer("usage", torch.zeros(size))

    def forward(self, latents: Tensor) -> Quantised:
        """Quantise latents (b, d, h, w), and keep the statistics of the batch for `adapt`."""
        grid = latents.permute(0, 2, 3, 1).contiguous()
        flat = grid.view(-1, grid.shape[-1])
        scores = similarities(flat.detach(), self.codebook, self.distance)
        codes = scores.detach().sort(dim=1).indices[:, -1]
        one_hot = torch.zeros_like(scores).scatter_(1, codes[:, None], 1)
        chosen = (one_hot @ self.codebook).view(grid.shape)
        losses = {
            "commitment": F.mse_loss(chosen.detach(), grid),
            "codebook": F.mse_loss(chosen, grid.detach()),
        }
        if self.contrastive:
            losses["contrastive"] = contrastive(scores)
        vectors = (grid + (chosen - grid).detach()).permute(0, 3, 1, 2).contiguous()
        self.scores, self.shares = scores.detach(), one_hot.mean(0)
        entropy = -(self.shares * torch.log(self.shares + 1e-10)).sum()
        self.perplexity = torch.exp(entropy).item()
        assignment = Assignment(flat.detach(), codes)
        return Quantised(vectors, codes.view(grid.shape[:3]), losses, assignment)

    @torch.no_grad()
    def adapt(self, assignment: Assignment) -> None:
        """Equations 1 to 3: move every codevector towards its closest latent."""
        self.usage.mul_(DECAY).add_(self.shares, alpha=1 - DECAY)
        anchors = assignment.latents[self.scores.sort(dim=0).indices[-1]]
        alpha = torch.exp(-self.usage * len(self.usage) * 10 / (1 - DECAY) - EPSILON)[:, None]
        self.codebook.data = self.codebook.data * (1 - alpha) + anchors * alpha


def contrastive(scores: Tensor) -> Tensor:
    """Compare each code's closest latents with its farthest half, by scores (N, K)."""
    count, size = scores.shape
    ordered = scores.T.sort(dim=1).values
    positive = ordered[:, -max(1, count // size) :].mean(1, keepdim=True)
    logits = torch.cat([positive, ordered[:, : count // 2]], dim=1) / TEMPERATURE
    return F.cross_entropy(logits, torch.zeros(size, dtype=torch.long))


def step(
    model: Autoencoder, optimiser: torch.optim.Optimizer, images: Tensor, variance: float
) -> float:
    """Train on images (b, c, h, w) in [-1, 1]. Returns the loss."""
    output = model(images)
    losses = output.quantised.losses
    loss = F.mse_loss(output.images, images) / variance
    loss = loss + BETA * losses["commitment"] + losses["codebook"]
    optimiser.zero_grad()
    loss.backward()
    model.quantiser.adapt(output.quantised.assignment)  # type: ignore[operator]
    optimiser.step()
    return loss.item()
