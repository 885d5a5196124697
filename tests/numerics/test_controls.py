"""What makes each control a control."""

from __future__ import annotations

import pytest
import torch

from models.quantiser import anchors
from models.quantiser.distances import cosine, squared_euclidean
from models.quantiser.interface import Similarity


@pytest.mark.parametrize("similarity", [cosine, squared_euclidean])
def test_a_farthest_anchor_is_the_least_similar_latent(similarity: Similarity) -> None:
    latents, codebook, needed = torch.randn(50, 4), torch.randn(7, 4), torch.tensor([1, 2, 6])
    found = anchors.farthest(latents, codebook, needed, similarity, torch.Generator())
    assert torch.equal(found, latents[similarity(codebook[needed], latents).argmin(1)])
