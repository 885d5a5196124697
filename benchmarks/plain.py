"""The published procedure, restated plainly: the peer of the quantiser and of a training step.

It sorts where a maximum would do, multiplies by one-hot matrices where a gather would do, stores
the whole N x K matrix, computes in single precision, and reads the statistics of a step with
`.item()`. The blend comes after the backward pass, as everywhere in this project, so that the tests
can compare both number by number.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from models import convnet

DECAY, EPSILON, TEMPERATURE, BETA = 0.99, 1e-3, 0.07, 0.25


@dataclass
class Pass:
    """What a forward pass leaves for the loss and for `adapt`."""

    vectors: Tensor
    codes: Tensor
    losses: dict[str, Tensor]
    scores: Tensor
    latents: Tensor
    shares: Tensor
    perplexity: float

    @property
    def assignment(self) -> Pass:
        """The argument of `adapt`, under the name that our quantisers use."""
        return self


class PlainQuantiser(nn.Module):
    """CVQ-VAE with cosine distance and closest anchors, online."""

    usage: Tensor

    def __init__(self, codebook_size: int, code_dim: int, contrastive: bool = False) -> None:
        super().__init__()
        self.contrastive = contrastive
        bound = 1 / codebook_size
        self.codebook = nn.Parameter(torch.empty(codebook_size, code_dim).uniform_(-bound, bound))
        self.register_buffer("usage", torch.zeros(codebook_size))

    def forward(self, latents: Tensor) -> Pass:
        """Latents (b, d, h, w)."""
        grid = latents.permute(0, 2, 3, 1).contiguous()
        flat = grid.view(-1, grid.shape[-1])
        scores = F.normalize(flat.detach(), dim=1) @ F.normalize(self.codebook, dim=1).T
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
        shares = one_hot.mean(0)
        perplexity = torch.exp(-(shares * torch.log(shares + 1e-10)).sum()).item()
        return Pass(vectors, codes, losses, scores.detach(), flat.detach(), shares, perplexity)

    @torch.no_grad()
    def adapt(self, seen: Pass) -> None:
        """Move every codevector towards its closest latent."""
        self.usage.mul_(DECAY).add_(seen.shares, alpha=1 - DECAY)
        anchors = seen.latents[seen.scores.sort(dim=0).indices[-1]]
        alpha = torch.exp(-self.usage * len(self.usage) * 10 / (1 - DECAY) - EPSILON)[:, None]
        self.codebook.data = self.codebook.data * (1 - alpha) + anchors * alpha


def contrastive(scores: Tensor) -> Tensor:
    """Cross entropy of each code's closest latents against the farthest half, (N, K) scores."""
    count, size = scores.shape
    ordered = scores.T.sort(dim=1).values
    positive = ordered[:, -max(1, count // size) :].mean(1, keepdim=True)
    logits = torch.cat([positive, ordered[:, : count // 2]], dim=1) / TEMPERATURE
    return F.cross_entropy(logits, torch.zeros(size, dtype=torch.long))


class PlainAutoencoder(nn.Module):
    """The same encoder and decoder as ours, of torch's own layers in its default memory layout."""

    def __init__(self, channels: int, quantiser: PlainQuantiser, code_dim: int) -> None:
        super().__init__()
        self.encoder = convnet.encoder(channels, code_dim)
        self.quantiser = quantiser
        self.decoder = convnet.decoder(channels, code_dim)
        for index, layer in enumerate(self.decoder):
            if isinstance(layer, convnet.Upsampling):
                sizes = layer.in_channels, layer.out_channels
                self.decoder[index] = nn.ConvTranspose2d(*sizes, 4, stride=2, padding=1)

    def forward(self, images: Tensor) -> tuple[Tensor, Pass]:
        """Images (b, c, h, w) in [-1, 1]."""
        seen = self.quantiser(self.encoder(images))
        return self.decoder(seen.vectors), seen


def step(
    model: PlainAutoencoder, optimiser: torch.optim.Optimizer, images: Tensor, variance: float
) -> tuple[float, float]:
    """One training step on images (b, c, h, w) in [-1, 1]: loss and perplexity."""
    output, seen = model(images)
    loss = F.mse_loss(output, images) / variance
    loss = loss + BETA * seen.losses["commitment"] + seen.losses["codebook"]
    optimiser.zero_grad()
    loss.backward()
    model.quantiser.adapt(seen)
    optimiser.step()
    return loss.item(), seen.perplexity
