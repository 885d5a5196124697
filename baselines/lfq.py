"""Binary codes without a codebook, by vector-quantize-pytorch (MIT licence).

LFQ is lookup-free quantisation (Yu et al. 2023). BSQ is binary spherical quantisation (Zhao et al.
2024), which is LFQ on the unit sphere. Departures from the code of BSQ's authors: the entropies
here are of all bits together, while they take groups of 9 bits, which is the same for 512 codes.
The weight of the entropy is constant, while theirs is three times as large at first and falls to
its final value within 2,000 steps.
"""

from __future__ import annotations

from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F
from vector_quantize_pytorch import LFQ

from models.quantiser.interface import Assignment, Quantised, rows, straight_through


class LookupFreeQuantiser(nn.Module):
    """Each coordinate becomes a bit: e = sign(z), or sign(z) / sqrt(D) on the sphere; K = 2^D.

    Gradients pass straight to z, or to z / |z| on the sphere. The loss `commitment` is
    mean (z - sg(e))^2 over all elements. With p(k | z) = softmax_k(2 z . e_k / temperature), the
    loss `entropy` is the mean entropy of p(. | z) minus the entropy of the mean of p over the
    batch, in [-D log 2, 0]. Both losses are 0 in evaluation.
    """

    def __init__(self, bits: int, temperature: float, spherical: bool = False) -> None:
        """bits: D. temperature: of the entropies. spherical: BSQ instead of LFQ."""
        super().__init__()
        # By default the library gives the commitment the weight 0 and leaves it out.
        self.inner = LFQ(dim=bits, commitment_loss_weight=1.0, spherical=spherical)
        self.codebook_size = 2**bits
        self.codes_per_latent = 1
        self.code_dim = bits
        self.temperature = temperature
        self.spherical = spherical

    def forward(self, latents: Float[Tensor, "b d h w"]) -> Quantised:
        """Quantise a batch of latents."""
        result, terms = self.inner(
            rows(latents)[None], inv_temperature=1 / self.temperature, return_loss_breakdown=True
        )
        codes = result.indices[0].long()
        losses = {
            "entropy": terms.per_sample_entropy - terms.batch_entropy,
            "commitment": terms.commitment,
        }
        passed = rows(F.normalize(latents, dim=1) if self.spherical else latents)
        vectors = straight_through(passed, self.inner.indices_to_codes(codes))
        return Quantised.of_rows(latents, vectors, codes, losses)

    def decode(self, codes: Int[Tensor, "b h w"]) -> Float[Tensor, "b d h w"]:
        """Return the corners of the cube, or the points of the sphere, that `codes` stand for."""
        return self.inner.indices_to_codes(codes)

    def adapt(self, assignment: Assignment) -> None:
        """Change nothing, because there is nothing to train."""
