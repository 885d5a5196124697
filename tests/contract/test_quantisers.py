"""One contract, asked of everything in the registry."""

from __future__ import annotations

from typing import Any

import jaxtyping
import pytest
import torch

from models.quantiser.distances import cosine
from models.quantiser.interface import Quantiser
from tests.knobs import VARIANTS, small
from workflows.registry import METHODS, build_autoencoder, loss_weights

STEPS = 40


def quantiser_of(knobs: Any) -> Any:
    return build_autoencoder(knobs, 1, STEPS).quantiser


def size_of(knobs: Any) -> tuple[int | None, int]:
    """The codebook size and the code dimension that the method says it has."""
    method = METHODS[knobs.method]
    return method.codes(knobs), method.dim(knobs)


def latents(knobs: Any) -> torch.Tensor:
    return torch.randn(4, size_of(knobs)[1], 3, 5)


def state_of(module: torch.nn.Module) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in module.state_dict().items()}


def assert_same(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor]) -> None:
    assert first.keys() == second.keys()
    for name, value in first.items():
        assert torch.equal(value, second[name]), name


def test_every_method_is_asked() -> None:
    assert {knobs.method for knobs in VARIANTS.values()} == set(METHODS)


def test_forward_changes_no_state(knobs: Any) -> None:
    for training in (True, False):
        quantiser = quantiser_of(knobs).train(training)
        # After a batch of one latent most codes are unused, and some methods restart such codes.
        quantiser.adapt(quantiser(latents(knobs)[:1, :, :1, :1]).assignment)
        before, batch = state_of(quantiser), latents(knobs)
        random_state = torch.get_rng_state()
        first, second = quantiser(batch), quantiser(batch)
        assert_same(before, state_of(quantiser))
        assert torch.equal(random_state, torch.get_rng_state()), "drew from the global generator"
        assert torch.equal(first.vectors, second.vectors)


@pytest.mark.parametrize(
    ("method", "changes", "sizes"),
    [
        ("fsq", {"levels": [8, 5, 5, 5]}, (1000, 4)),
        ("lfq", {"code_bits": 9}, (512, 9)),
        ("bsq", {"code_bits": 12}, (4096, 12)),
    ],
)
def test_sizes_follow_the_settings_that_imply_them(
    method: str, changes: dict[str, Any], sizes: tuple[int, int]
) -> None:
    knobs = small(method, **changes)
    quantiser = quantiser_of(knobs)
    assert (quantiser.codebook_size, quantiser.code_dim) == size_of(knobs) == sizes


def test_interface_and_shapes(knobs: Any) -> None:
    quantiser = quantiser_of(knobs)
    assert isinstance(quantiser, Quantiser)
    size, dim = size_of(knobs)
    assert (quantiser.codebook_size, quantiser.code_dim) == (size, dim)
    output, deep = quantiser(latents(knobs)), quantiser.codes_per_latent
    assert deep == {"rq_vae": 4, "movq": 2, "autoencoder": 0, "kl_autoencoder": 0}.get(
        knobs.method, 1
    )
    assert output.vectors.shape == (4, dim, 3, 5)
    assert output.codes.shape == (4, deep * 3, 5)
    # Every group of channels is a latent of its own.
    rows, width = (120, 4) if knobs.method == "movq" else (60, dim)
    assert output.assignment.latents.shape == (rows, width)
    assert output.assignment.codes.shape == (60 * deep,)
    assert not output.assignment.latents.requires_grad
    assert loss_weights(knobs, 1).keys() >= output.losses.keys()
    assert all(loss.shape == () and torch.isfinite(loss) for loss in output.losses.values())


def test_decode_inverts(knobs: Any) -> None:
    quantiser = quantiser_of(knobs).eval()
    output = quantiser(latents(knobs))
    if quantiser.codebook_size is None:
        with pytest.raises(TypeError, match="no codes"):
            quantiser.decode(output.codes)
        return
    assert torch.equal(quantiser.decode(output.codes), output.vectors)


def test_gradient_reaches_the_encoder(knobs: Any) -> None:
    quantiser = quantiser_of(knobs)
    batch = latents(knobs).requires_grad_()
    quantiser(batch).vectors.sum().backward()
    assert batch.grad is not None
    assert batch.grad.abs().sum() > 0


def test_annotated_shapes_are_checked_under_test() -> None:
    with pytest.raises(jaxtyping.TypeCheckError, match="parameter 'e'"):
        cosine(torch.randn(3, 8), torch.randn(4, 7))


def test_same_seed_same_networks_across_methods() -> None:
    """Paired comparisons start from the same encoder and decoder."""
    models = [build_autoencoder(VARIANTS[name], 1, STEPS) for name in ("vq_vae", "sq_vae")]
    assert_same(state_of(models[0].encoder), state_of(models[1].encoder))
    assert_same(state_of(models[0].decoder), state_of(models[1].decoder))
