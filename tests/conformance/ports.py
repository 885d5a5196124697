"""CVQ-VAE as other projects have it, restated from descriptions, with the official signature.

The codebook is refreshed in the forward pass of training mode, before `backward`.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from benchmarks import plain


class Published(nn.Module):
    """The authors' procedure: d is a similarity, of which the largest is the closest."""

    def __init__(
        self,
        codebook_size: int,
        code_dim: int,
        distance: str = "cosine",
        anchors: str = "closest",
        offline: bool = False,
        contrastive: bool = False,
    ) -> None:
        super().__init__()
        bound = 1 / codebook_size
        self.embedding = nn.Parameter(torch.empty(codebook_size, code_dim).uniform_(-bound, bound))
        self.register_buffer("usage", torch.zeros(codebook_size))
        self.distance, self.anchors = distance, anchors
        self.offline, self.contrastive = offline, contrastive
        # Not in the state dict, so that a resumed offline training refreshes again.
        self.refreshed = False

    def scores(self, z: Tensor) -> Tensor:
        """d, (N, K): larger is closer."""
        return plain.similarities(z, self.embedding, self.distance)

    def codes(self, d: Tensor) -> Tensor:
        """The nearest code of each latent."""
        return d.argmax(1)

    def chosen(self, d: Tensor) -> Tensor:
        """The rows of the anchors, (K,)."""
        if self.anchors == "random":
            return torch.randint(len(d), (d.shape[1],))
        if self.anchors == "probability":
            return torch.multinomial(d.T.softmax(1), 1)[:, 0]
        return d.argmax(0)

    def forward(self, latents: Tensor) -> tuple[Any, ...]:
        z = latents.permute(0, 2, 3, 1).flatten(0, 2)
        d = self.scores(z.detach())
        codes = self.codes(d)
        one_hot = F.one_hot(codes, len(self.embedding)).float()
        e = one_hot @ self.embedding
        loss = 0.25 * F.mse_loss(e.detach(), z) + F.mse_loss(e, z.detach())
        share = one_hot.mean(0)
        perplexity = torch.exp(-(share * torch.log(share + 1e-10)).sum())
        if self.training:
            self.refresh(z.detach(), d.detach(), share)
            loss = loss + (plain.contrastive(d) if self.contrastive else 0)
        vectors = (z + (e - z).detach()).unflatten(0, (-1, *latents.shape[2:]))
        return vectors.permute(0, 3, 1, 2), loss, (perplexity, one_hot, codes)

    def refresh(self, z: Tensor, d: Tensor, share: Tensor) -> None:
        """Equations 1 to 3, behind the back of autograd."""
        self.usage.mul_(0.99).add_(share, alpha=0.01)
        if self.offline and self.refreshed:
            return
        alpha = torch.exp(-self.usage * len(self.usage) * 10 / 0.01 - 1e-3)[:, None]
        self.embedding.data = (1 - alpha) * self.embedding.data + alpha * z[self.chosen(d)]
        self.refreshed = True


class FarthestPort(Published):
    """d is the squared distance, and yet the anchor is still the latent of the largest d."""

    def __init__(self, codebook_size: int, code_dim: int, anchors: str = "closest") -> None:
        super().__init__(codebook_size, code_dim, anchors=anchors)

    def scores(self, z: Tensor) -> Tensor:
        return torch.cdist(z, self.embedding).square()

    def codes(self, d: Tensor) -> Tensor:
        return d.argmin(1)

    def chosen(self, d: Tensor) -> Tensor:
        if self.anchors == "probability":
            return torch.multinomial((-d).T.softmax(1), 1)[:, 0]
        return super().chosen(d)


class SoftmaxPort(FarthestPort):
    """The closest latent is right, and draws come from the softmax of a distance."""

    def chosen(self, d: Tensor) -> Tensor:
        if self.anchors == "probability":
            return torch.multinomial(d.T.softmax(1), 1)[:, 0]
        return d.argmin(0) if self.anchors == "closest" else super().chosen(d)


class RandomCodes(Published):
    """An impostor: codes without regard to the latents, from a codebook that nothing trains."""

    def codes(self, d: Tensor) -> Tensor:
        return torch.randint(d.shape[1], (len(d),))

    def forward(self, latents: Tensor) -> tuple[Any, ...]:
        with torch.no_grad():
            vectors, loss, codes = super().forward(latents)
        return latents + (vectors - latents).detach(), loss, codes

    def refresh(self, z: Tensor, d: Tensor, share: Tensor) -> None:
        """Nothing."""
