"""The conformance kit: what it says of quantisers whose faults are known."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from vector_quantize_pytorch import VectorQuantize

from baselines.expiry import ExpiringQuantiser
from baselines.rotation_trick import RotatedQuantiser
from models.quantiser import anchors as samplers
from models.quantiser.blends import UsageDecay
from models.quantiser.clustered import ClusteredQuantiser
from models.quantiser.distances import cosine, squared_euclidean
from models.quantiser.refresh import Refresh, every_step, first_batch
from tests.conformance import ports
from workflows.config.datasets import ROOM
from workflows.config.reading import read_yaml
from workflows.config.settings import Defaults
from workflows.conformance import __main__ as kit
from workflows.conformance.adapters import BETA
from workflows.conformance.properties import PROPERTIES, check_all
from workflows.conformance.subject import Subject, batch, codevectors, step
from workflows.errors import ConfigError


def ours(
    codebook_size: int,
    code_dim: int,
    anchors: str = "closest",
    offline: bool = False,
    contrastive: bool = False,
) -> ClusteredQuantiser:
    schedule = first_batch if offline else every_step
    refresh = Refresh(getattr(samplers, anchors), UsageDecay(codebook_size), schedule)
    return ClusteredQuantiser(codebook_size, code_dim, cosine, refresh, contrastive)


def ours_l2(codebook_size: int, code_dim: int, anchors: str = "closest") -> ClusteredQuantiser:
    quantiser = ours(codebook_size, code_dim, anchors)
    quantiser.similarity = squared_euclidean
    return quantiser


def of_package(codebook_size: int, code_dim: int) -> VectorQuantize:
    return VectorQuantize(
        **{"dim": code_dim, "codebook_size": codebook_size, "accept_image_fmap": True},
        **{"ema_update": False, "learnable_codebook": True, "rotation_trick": False},
        **{"commitment_weight": 1.0, "commitment_use_cross_entropy_loss": False},
    )


def averaging(codebook_size: int, code_dim: int) -> VectorQuantize:
    """The package's default, whose running sums come before the codebook in the state."""
    return VectorQuantize(code_dim, codebook_size, accept_image_fmap=True)


def expiring(codebook_size: int, code_dim: int) -> ExpiringQuantiser:
    return ExpiringQuantiser(codebook_size, code_dim, 0.8, 0.0, 0)


def rotated(codebook_size: int, code_dim: int) -> RotatedQuantiser:
    return RotatedQuantiser(expiring(codebook_size, code_dim))


def failures(build: Callable[..., Any], anchors: str = "closest") -> set[str]:
    found = check_all(Subject(build, anchors))
    return {name for name, finding in found.items() if finding.holds is False}


def test_ours_has_every_property() -> None:
    found = check_all(Subject(ours))
    assert {name: one.numbers for name, one in found.items() if one.holds is not True} == {}
    assert failures(ours_l2) == set()


def test_a_plain_vq_has_no_refresh_to_ask_about() -> None:
    found = check_all(Subject(lambda k, d: ClusteredQuantiser(k, d, squared_euclidean)))
    assert {name for name, one in found.items() if one.holds is False} == set()
    assert "does not move" in found["blend weight"].numbers
    assert found["nearest code"].numbers == (
        "latents with their nearest code: 27.1% by cosine, 100.0% by l2"
    )
    assert found["usage and its decay"].holds is None


# What the official code does and the paper does not say: its forward pass moves the codebook, hence
# before backward and also of a model that is evaluated in training mode. N_k of no latents is NaN.
OFFICIAL = {
    "forward changes no state",
    "gradient of forward's codebook",
    "empty batch is harmless",
}


@pytest.mark.parametrize(
    ("build", "fails"),
    [
        (ports.Published, OFFICIAL),
        (ports.FarthestPort, OFFICIAL - {"gradient of forward's codebook"} | {"anchors: closest"}),
        (
            ports.SoftmaxPort,
            OFFICIAL - {"gradient of forward's codebook"} | {"anchors: probability"},
        ),
        (ports.RandomCodes, {"nearest code", "loss weights"}),
    ],
)
def test_ports(build: Callable[..., Any], fails: set[str]) -> None:
    assert failures(build) == fails


def test_a_module_of_the_package_is_asked_by_its_own_signature() -> None:
    found = check_all(Subject(of_package, "none"))
    assert found["straight-through gradient"].holds
    assert found["nearest code"].holds
    assert found["loss weights"].numbers == (
        "weight of commitment 1.000 (expected 0.25), of codebook 1.000 (expected 1)"
    )
    assert found["blend weight"].numbers == "a plain VQ has no refresh (--anchors none)"


@pytest.mark.parametrize("build", [averaging, expiring, rotated])
def test_the_codebook_is_not_confused_with_running_sums(build: Callable[..., Any]) -> None:
    quantiser = Subject(build, "none").make()
    before = codevectors(quantiser).clone()
    step(quantiser, batch(1))
    (library,) = (part for part in quantiser.modules() if isinstance(part, VectorQuantize))
    assert torch.equal(codevectors(quantiser), library.codebook)
    assert not torch.equal(codevectors(quantiser), before)
    output = quantiser.eval()(batch(2))
    torch.testing.assert_close(quantiser.decode(output.codes), output.vectors)


class Fast(ports.Published):
    """The running average forgets ten times as fast."""

    def refresh(self, z: Tensor, d: Tensor, share: Tensor) -> None:
        self.usage.mul_(0.9 / 0.99)
        super().refresh(z, d, share)


class Slight(ports.Published):
    """Equation 2 without its epsilon, by codes that move on a little."""

    def refresh(self, z: Tensor, d: Tensor, share: Tensor) -> None:
        before = self.embedding.data
        super().refresh(z, d, share)
        self.embedding.data = before + (self.embedding.data - before) * 1.001


class Unit(ports.Published):
    """Vectors on the unit sphere."""

    def forward(self, latents: Tensor) -> tuple[Any, ...]:
        vectors, *others = super().forward(latents)
        unit = nn.functional.normalize(vectors.detach(), dim=1)
        return latents + (unit - latents).detach(), *others


class Cut(ports.Published):
    """No gradient to the encoder but that of the losses."""

    def forward(self, latents: Tensor) -> tuple[Any, ...]:
        vectors, *others = super().forward(latents)
        return vectors.detach(), *others


class Legacy(ports.Published):
    """beta on the other term."""

    def forward(self, latents: Tensor) -> tuple[Any, ...]:
        vectors, _, (perplexity, one_hot, codes) = super().forward(latents)
        z, e = latents.permute(0, 2, 3, 1).flatten(0, 2), self.embedding[codes]
        loss = (e.detach() - z).square().mean() + 0.25 * (e - z.detach()).square().mean()
        return vectors, loss, (perplexity, one_hot, codes)


class AlwaysTraining(ports.Published):
    """It refreshes in evaluation too."""

    def train(self, mode: bool = True) -> AlwaysTraining:
        return super().train(True)


class First(ports.Published):
    """`random` takes the latents in their order."""

    def chosen(self, d: Tensor) -> Tensor:
        return torch.arange(d.shape[1]) if self.anchors == "random" else super().chosen(d)


class Uniform(ports.Published):
    """`probability` draws without regard to similarity."""

    def chosen(self, d: Tensor) -> Tensor:
        return torch.randint(len(d), (d.shape[1],)) if self.anchors != "closest" else d.argmax(0)


class Online(ports.Published):
    """`offline` is not heeded."""

    def refresh(self, z: Tensor, d: Tensor, share: Tensor) -> None:
        self.refreshed = False
        super().refresh(z, d, share)


class Forgetful(ports.Published):
    """Usage is no part of the state."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        usage = self.usage
        del self.usage
        self.register_buffer("usage", usage, persistent=False)


class Broken(ports.Published):
    """An error in the pass of training mode."""

    def refresh(self, z: Tensor, d: Tensor, share: Tensor) -> None:
        raise AttributeError("no pool")


class Silent(ports.Published):
    """NaN is taken for zero."""

    def forward(self, latents: Tensor) -> tuple[Any, ...]:
        return super().forward(latents.nan_to_num())


@pytest.mark.parametrize(
    ("build", "fails"),
    [
        (Fast, {"usage and its decay", "blend weight"}),
        (Slight, {"blend weight"}),
        (Unit, {"vectors are codevectors"}),
        (Cut, {"straight-through gradient"}),
        (Legacy, {"loss weights"}),
        (AlwaysTraining, {"evaluation changes no state"}),
        (First, {"anchors: random"}),
        (Uniform, {"anchors: probability"}),
        (Online, {"offline refreshes once"}),
        (Forgetful, {"state survives save and load"}),
        (Silent, {"NaN in a latent is noticed"}),
    ],
)
def test_each_property_finds_its_fault(build: type[ports.Published], fails: set[str]) -> None:
    def made(
        codebook_size: int, code_dim: int, anchors: str = "closest", offline: bool = False
    ) -> ports.Published:
        return build(codebook_size, code_dim, anchors=anchors, offline=offline)

    subject = Subject(made)
    assert {name for name in fails if PROPERTIES[name][0](subject).holds is False} == fails


def test_an_error_is_a_failure_in_its_own_words() -> None:
    found = check_all(Subject(Broken))
    assert found["blend weight"].holds is False
    assert found["blend weight"].numbers == "AttributeError: no pool"
    assert found["nearest code"].holds


def test_beta_is_the_published_one() -> None:
    assert read_yaml(ROOM / "defaults.yaml", Defaults).knobs["commitment_weight"] == BETA


def test_the_command_names_required_properties_that_fail(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    text = (
        "from baselines.rq_vae import ResidualQuantiser\n"
        "from tests.conformance.ports import FarthestPort as build, Published\n"
        "nothing = 1\n"
        "def residual(k, d): return ResidualQuantiser(k, d, 4, 0)\n"
    )
    (tmp_path / "a_port.py").write_text(text, encoding="utf-8")
    (tmp_path / "a_slip.py").write_text("import nothing_at_all\n", encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(kit, "check_all", lambda subject: check_some(subject))

    def check_some(subject: Subject) -> Any:
        return {name: PROPERTIES[name][0](subject) for name in ("nearest code", "anchors: closest")}

    assert kit.main("a_port:build", "closest") == 1
    said = capsys.readouterr().out.splitlines()
    assert said[1].split()[:3] == ["anchors:", "closest", "fails"]
    assert said[1].endswith("median rank is 2048 of 2048")
    assert said[2] == "Required properties that fail: anchors: closest"
    assert kit.main("a_port:Published", "closest") == 0
    for wrong, message in (
        ("a_port:buidl", "AttributeError: module 'a_port' has no attribute 'buidl'"),
        ("a_port:nothing", "TypeError: 1 is not a callable object"),
        ("no_module:build", "ModuleNotFoundError"),
        ("a_slip:build", r"a_slip:build: .*ModuleNotFoundError: No module named 'nothing_at_all'"),
        ("torch.nn:Identity", r"returns Tensor; allowed: a quantiser of this project, \(vectors"),
        ("torch.nn:ReLU", r"build\(codebook_size=512, code_dim=8\) cannot be called: TypeError"),
        ("a_port:residual", "gives a latent 4 codes; allowed: 1"),
    ):
        with pytest.raises(ConfigError, match=message):
            kit.main(wrong, "closest")
