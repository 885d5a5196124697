"""Spaces, the backbone, guidance and the sampler, against closed forms."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from models.generation.diffusion import DiffusionModel, denoised, with_guidance
from models.generation.interface import draw_each
from models.generation.spaces import LatentSpace
from tests.knobs import DIFFUSION, VARIANTS, changed, typed
from workflows.generators import diffusion_process
from workflows.registry import build_autoencoder
from workflows.training.sampling import sample_points

KNOBS = typed(
    {
        **DIFFUSION,
        "method": "ddpm",
        "seed": 0,
        "conditional": False,
        "noise_steps": 1000,
        "noise_schedule": "scaled_linear",
        "noise_start": 0.0015,
        "noise_end": 0.0195,
        "sampling_steps": 100,
        "eta": 0.0,
    }
)
# Of latents, which are not clipped.
LATENT = KNOBS.model_copy(update={"method": "ldm"})
CPU = torch.device("cpu")


def backbone(classes: int | None = None, knobs: Any = KNOBS) -> DiffusionModel:
    return DiffusionModel(diffusion_process(knobs), 4, [8, 16, 16], 1, 1, 8, classes)


@pytest.mark.filterwarnings("ignore:Initializing zero-element tensors")  # of heads without channels
@pytest.mark.parametrize("channels", [8, 24, 136])
@pytest.mark.parametrize("factors", [[1], [2, 3], [1, 1, 2]])
def test_a_u_net_that_cannot_be_built_is_known_by_its_settings(
    channels: int, factors: list[int]
) -> None:
    """The grid refuses what would fail when training begins, and nothing else."""
    for levels, head in ((0, 8), (1, 48), (2, 24), (4, 200)):
        knobs = {"unet_channels": channels, "unet_multipliers": factors, "head_channels": head}
        try:
            known = not changed(KNOBS, **knobs, attention_levels=levels)
        except ValueError:
            known = True
        try:
            widths = [channels * factor for factor in factors]
            network = DiffusionModel(diffusion_process(KNOBS), 4, widths, 1, levels, head)
            network(torch.randn(1, 4, 8, 8), torch.tensor([5]))
        except (ValueError, ZeroDivisionError):
            assert known
        else:
            assert not known


@pytest.mark.parametrize("side", [7, 8, 5])
def test_grids_of_any_side_keep_their_shape(side: int) -> None:
    points = torch.randn(2, 4, side, side)
    assert backbone()(points, torch.tensor([0, 999])).shape == points.shape


def test_labels_are_those_of_the_classes_or_of_none() -> None:
    points, times = torch.randn(2, 4, 8, 8), torch.tensor([0, 1])
    for label in (-1, 11):
        with pytest.raises(IndexError):
            backbone(10)(points, times, torch.tensor([0, label]))
    one, two = (backbone(10)(points, times, torch.tensor([k, k])) for k in (0, 10))
    assert not torch.equal(one, two)


def test_guidance_extrapolates_from_no_class_to_the_class() -> None:
    class Known(nn.Module):
        passes = 0

        def forward(self, points: Any, times: Any, labels: Any) -> Any:
            Known.passes += 1
            return labels.float()[:, None, None, None].expand_as(points)

    points, times, labels = torch.zeros(2, 1, 2, 2), torch.zeros(2).long(), torch.tensor([3, 4])
    guided = with_guidance(Known(), 10, points, times, labels, 3.0)
    # none is 10: 10 + 3 (3 - 10) and 10 + 3 (4 - 10).
    assert guided[:, 0, 0, 0].tolist() == [-11.0, -8.0]
    assert Known.passes == 1
    plain = with_guidance(Known(), 10, points, times, labels, 1.0)
    assert plain[:, 0, 0, 0].tolist() == [3.0, 4.0]


@pytest.mark.parametrize("method", ["vq_vae", "sq_vae", "cvq_vae", "vq_vae_ema"])
def test_latent_space_there_and_back_is_the_autoencoder(method: str) -> None:
    """Pre-quantisation latents, snapped to codevectors at the start of the decoder."""
    model = build_autoencoder(VARIANTS[method], 3, 40).eval()
    space = LatentSpace(model, 7.0)
    images = torch.rand(2, 3, 16, 16) * 2 - 1
    torch.testing.assert_close(space.encode(images), model.encoder(images) * 7)
    torch.testing.assert_close(space.decode(space.encode(images)), model(images).images)
    assert not [p for p in space.parameters() if p.requires_grad]
    assert not space.autoencoder.training


class Gaussian(nn.Module):
    """The best prediction of noise where the data are normal with mean `mean` and deviation `s`."""

    def __init__(self, mean: float, s: float, knobs: Any) -> None:
        super().__init__()
        self.process = diffusion_process(knobs)
        self.alphas = self.process.noising().alphas_cumprod
        self.mean, self.s = mean, s

    def forward(self, points: Any, times: Any, labels: Any = None) -> Any:
        a = self.alphas[times][:, None, None, None]
        return (1 - a).sqrt() * (points - a.sqrt() * self.mean) / (a * self.s**2 + 1 - a)

    def sample(self, shape: Any, labels: Any, streams: Any, quick: bool) -> Any:
        return denoised(self, None, self.process, draw_each(shape, streams), labels, streams)


@pytest.mark.parametrize("eta", [0.0, 1.0])
def test_sampling_with_the_best_network_gives_the_data(eta: float) -> None:
    knobs = changed(LATENT, eta=eta, sampling_steps=500)
    points = sample_points(Gaussian(2.0, 0.5, knobs), knobs, (1, 8, 8), None, range(200), CPU)
    assert points.mean() == pytest.approx(2.0, abs=0.02)
    assert points.std() == pytest.approx(0.5, abs=0.02)


def test_a_sample_depends_on_its_number_alone() -> None:
    """Also if the numbers fill more than one batch; the number decides the class, too."""
    knobs = changed(
        LATENT, eta=1.0, sampling_steps=5, conditional=True, guidance=2.0, label_dropout=0.1
    )
    torch.manual_seed(0)
    network = backbone(10, knobs)
    whole = sample_points(network, knobs, (4, 8, 8), 10, range(100), CPU)
    parts = [sample_points(network, knobs, (4, 8, 8), 10, n, CPU) for n in ([70, 3], [99])]
    torch.testing.assert_close(torch.cat(parts), whole[[70, 3, 99]], rtol=1e-4, atol=1e-5)
    other = sample_points(network, changed(knobs, seed=1), (4, 8, 8), 10, [3], CPU)
    assert not torch.allclose(other[0], whole[3])
