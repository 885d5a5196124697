"""VQ-VAE's moving average with expiry of codes, by vector-quantize-pytorch (MIT licence).

The average is that of van den Oord et al. 2017, appendix A.1, with smoothed counts. Expiry comes
from Jukebox (Dhariwal et al. 2020). The library's quantiser changes its codebook while it computes.
Here a call only reads the codebook, and `adapt` lets the library change it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F
from vector_quantize_pytorch import VectorQuantize

from models.quantiser.distances import squared_euclidean
from models.quantiser.interface import Assignment, Quantised, codevectors, rows, straight_through
from models.quantiser.refresh import Step
from models.quantiser.search import nearest
from models.streams import Purpose, word


class ExpiringQuantiser(nn.Module):
    """Each codevector is the running mean of its latents, and rarely used codes expire.

    After every batch of N latents, each codevector whose running count is below `expiry` becomes a
    random latent of the batch and gets the count `expiry`; of more than N such codevectors, N are
    chosen at random. The only loss is `commitment`, mean (z - sg(e))^2 over all elements.
    """

    def __init__(
        self, codebook_size: int, code_dim: int, decay: float, expiry: float, seed: int
    ) -> None:
        """codebook_size: K. code_dim: D. decay: of the running counts and sums. expiry: the limit
        of the counts, in latents per batch; with 0 no code expires. seed: of the random latents.
        """
        super().__init__()
        self.codebook_size = codebook_size
        self.codes_per_latent = 1
        self.code_dim = code_dim
        self.inner = VectorQuantize(
            dim=code_dim,
            codebook_size=codebook_size,
            decay=decay,
            threshold_ema_dead_code=expiry,
            rotation_trick=False,
            # Each of several processes passes the whole batch, so the sums must not be added up.
            sync_codebook=False,
        )
        self.seed = seed
        self.step = Step()

    @property
    def codebook(self) -> Float[Tensor, "k d"]:
        """The codevectors."""
        return self.inner.codebook

    def forward(self, latents: Float[Tensor, "b d h w"]) -> Quantised:
        """Quantise a batch of latents."""
        z = rows(latents)
        codes = nearest(z, self.codebook, squared_euclidean)
        e = F.embedding(codes, self.codebook)
        losses = {"commitment": F.mse_loss(z, e)}
        return Quantised.of_rows(latents, straight_through(z, e), codes, losses)

    def decode(self, codes: Int[Tensor, "b h w"]) -> Float[Tensor, "b d h w"]:
        """Return the codevectors of `codes`."""
        return codevectors(self.codebook, codes)

    def adapt(self, assignment: Assignment) -> None:
        """Update the averages with one batch and let codes expire."""
        self.step.passed += 1
        seed = word(self.seed, Purpose.CODES, self.step.passed)
        with changing(self.inner, seed):
            self.inner.update_indices(assignment.latents[None], assignment.codes[None])


@contextmanager
def changing(library: nn.Module, seed: int) -> Iterator[None]:
    """Let a quantiser of vector-quantize-pytorch change its codebook.

    The library needs training mode and torch's global generators. Afterwards the mode and the
    processor's generator are as before. A GPU's generator stays seeded, because saving it takes
    time and nothing else draws from it.
    """
    was_training = library.training
    library.train()
    with torch.no_grad(), torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield
    library.train(was_training)
