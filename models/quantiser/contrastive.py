"""The contrastive term: pulls each codevector to its closest latents, away from the far half."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor

from models.quantiser import kernels
from models.quantiser.interface import Similarity


class ContrastiveTerm:
    """L = mean_k -log(exp(p_k / t) / (exp(p_k / t) + sum_j exp(n_kj / t))).

    For code k, p_k is the mean of the max(1, N // K) largest similarities s(z_i, e_k) over the N
    latents of the batch, and n_kj are the N // 2 smallest ones. Latents are detached: the term
    trains the codebook alone. The formula follows the published implementation.
    """

    def __init__(self, temperature: float = 0.07) -> None:
        """temperature: t, positive."""
        self.temperature = temperature

    def __call__(
        self, latents: Float[Tensor, "n d"], codebook: Float[Tensor, "k d"], similarity: Similarity
    ) -> Float[Tensor, ""]:
        """The term of one batch, not negative; it has first derivatives only."""
        return kernels.contrastive(latents, codebook, similarity, self.temperature)
