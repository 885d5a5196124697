"""What makes each control a control."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from models.quantiser import anchors
from models.quantiser.distances import cosine, squared_euclidean
from models.quantiser.interface import Similarity
from tests.knobs import small
from workflows.registry import build_autoencoder, build_objective, loss_weights


def built(method: str) -> Any:
    return build_autoencoder(small(method), 1, 10)


@pytest.mark.parametrize("similarity", [cosine, squared_euclidean])
def test_a_farthest_anchor_is_the_least_similar_latent(similarity: Similarity) -> None:
    latents, codebook, needed = torch.randn(50, 4), torch.randn(7, 4), torch.tensor([1, 2, 6])
    found = anchors.farthest(latents, codebook, needed, similarity, torch.Generator())
    assert torch.equal(found, latents[similarity(codebook[needed], latents).argmin(1)])


def test_four_variances_scale_the_reconstruction_term_and_nothing_else() -> None:
    knobs, plain = small("variance_times_4"), small("cvq_vae")
    images, output = torch.rand(2, 1, 8, 8), torch.rand(2, 1, 8, 8)
    values = [build_objective(one, 0.09)(output, images) for one in (knobs, plain)]
    torch.testing.assert_close(values[0], values[1] / 4)
    assert loss_weights(knobs, 64) == loss_weights(plain, 64)
    assert knobs.model_dump(exclude={"method"}) == plain.model_dump(exclude={"method"})
    first, second = (built(name).state_dict() for name in ("variance_times_4", "cvq_vae"))
    assert all(torch.equal(first[name], value) for name, value in second.items())
