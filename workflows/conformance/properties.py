"""The properties of CVQ-VAE, one function each, in the order of the paper's equations."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from models.quantiser.interface import rows
from models.quantiser.search import count
from workflows.conformance.adapters import BETA, state, total
from workflows.conformance.subject import (
    SIMILARITIES,
    D,
    DoesNotApply,
    K,
    N,
    Subject,
    are_largest,
    batch,
    codebook_gradient,
    codevectors,
    displacement,
    move,
    step,
)

GAMMA, EPSILON = 0.99, 1e-3
# The largest accepted distance from a distribution's mean, in standard deviations. A correct
# sampler exceeds it once in 15,000 tests.
FARTHEST = 4.0
# The exceptions with which a quantiser may refuse a batch.
REFUSALS = (ValueError, RuntimeError, IndexError, ZeroDivisionError)


@dataclass(frozen=True)
class Finding:
    """holds: None if the property does not apply. numbers: the measured values, in words."""

    holds: bool | None
    numbers: str


def nearest_code(subject: Subject) -> Finding:
    """k(z) = argmax_k s(z, e_k), with s(z, e) = z.e / |z| |e| or -|z - e|^2."""
    shares = subject.nearest_shares()
    measured = ", ".join(f"{share:.1%} by {name}" for name, share in shares.items())
    return Finding(max(shares.values()) > 0.999, f"latents with their nearest code: {measured}")


def vectors_are_codevectors(subject: Subject) -> Finding:
    """z_q = e_k, not normalised."""
    quantiser = subject.make().eval()
    e, output = codevectors(quantiser).clone(), quantiser(batch(1))
    return _equal(rows(output.vectors), e[output.codes.flatten()])


def straight_through(subject: Subject) -> Finding:
    """z_q = z + sg(e_k - z), so dL/dz = dL/dz_q."""
    latents, gradient = batch(1).requires_grad_(), batch(2)
    vectors = subject.make()(latents).vectors
    if not vectors.requires_grad:
        return Finding(False, "no gradient reaches the latents")
    (latent_gradient,) = torch.autograd.grad((vectors * gradient).sum(), latents)
    return _equal(latent_gradient, gradient)


def _equal(measured: Tensor, expected: Tensor) -> Finding:
    error = (measured - expected).abs().max().item()
    return Finding(error < 1e-5, f"largest difference {error:.1e}")


def loss_weights(subject: Subject) -> Finding:
    """L = beta |z - sg(e_k)|^2 + |sg(z) - e_k|^2, means over N D numbers, with beta = 0.25."""
    quantiser, latents = subject.make(), batch(1).requires_grad_()
    e = codevectors(quantiser).clone()
    codes = step(quantiser, latents).codes.flatten()
    # The gradients of the two terms, each with weight 1.
    of_latents = 2 * (rows(latents.detach()) - e[codes]) / (N * D)
    of_codebook = torch.zeros(K, D).index_add_(0, codes, -of_latents)
    latent_gradient = torch.zeros(N, D) if latents.grad is None else rows(latents.grad)
    commitment = _factor(latent_gradient, of_latents)
    codebook = _factor(codebook_gradient(quantiser), of_codebook)
    weights = f"weight of commitment {commitment:.3f} (expected {BETA})"
    weights += f", of codebook {codebook:.3f} (expected 1)"
    return Finding(max(abs(commitment - BETA), abs(codebook - 1)) < 1e-3, weights)


def _factor(measured: Tensor, expected: Tensor) -> float:
    """Return the c for which c times `expected` is nearest to `measured`."""
    return ((measured * expected).sum() / expected.square().sum()).item()


def evaluation_changes_nothing(subject: Subject) -> Finding:
    """In evaluation mode no state changes."""
    return _unchanged(subject.make().eval())


def forward_changes_nothing(subject: Subject) -> Finding:
    """In training mode the forward pass alone changes no state; the official code changes it."""
    return _unchanged(subject.make())


def _unchanged(quantiser: Any) -> Finding:
    before = copy.deepcopy(quantiser)
    with torch.no_grad():
        quantiser(batch(1))
    changes = {name: change for name, change in _differences(before, quantiser).items() if change}
    numbers = ", ".join(f"{name} changes by {change:.2g}" for name, change in changes.items())
    return Finding(not changes, numbers or "no tensor of the state changes")


def _differences(first: Any, second: Any) -> dict[str, float]:
    """Return, for each tensor of the state, the largest difference between two quantisers."""
    others = state(second)
    return {
        name: (value.double() - others[name].double()).abs().max().item()
        for name, value in state(first).items()
    }


def usage(subject: Subject) -> Finding:
    """N_k <- gamma N_k + (1 - gamma) n_k / N, from N_k = 0, with gamma = 0.99."""
    quantiser = subject.make_refreshing()
    first = move(quantiser, 1).usage
    before = {name: value.clone() for name, value in _code_tensors(quantiser).items()}
    if not before:
        raise DoesNotApply("the state has no usage (K numbers); the blend weight shows it")
    second = count(step(quantiser, batch(2)).codes.flatten(), K) / N
    # N_k is the tensor that is nearest to its expected value after the first step.
    name = min(before, key=lambda name: (before[name] - (1 - GAMMA) * first).abs().max().item())
    after = _code_tensors(quantiser)[name]
    gamma = _factor(after - second, before[name] - second)
    expected = GAMMA * (1 - GAMMA) * first + (1 - GAMMA) * second
    error = (after - expected).abs().max().item()
    numbers = f"{name}: decay {gamma:.4f} (expected {GAMMA}), largest error {error:.1e}"
    return Finding(error < 1e-6, numbers)


def _code_tensors(quantiser: Any) -> dict[str, Tensor]:
    """Return the tensors of K numbers in the state themselves, not copies."""
    return {
        name: value.detach().view(K)
        for name, value in state(quantiser).items()
        if value.numel() == K and value.is_floating_point()
    }


def blend(subject: Subject) -> Finding:
    """e_k <- (1 - alpha_k) e_k + alpha_k z_k, alpha_k = exp(-N_k K 10 / (1 - gamma) - 0.001)."""
    quantiser, average = subject.make_refreshing(), torch.zeros(K, dtype=torch.double)
    errors, misfits = [], []
    for number in (1, 2):
        refresh = move(quantiser, number)
        average = GAMMA * average + (1 - GAMMA) * refresh.usage
        alpha = torch.exp(-average * K * 10 / (1 - GAMMA) - EPSILON)
        errors.append((refresh.weights - alpha).abs().max().item())
        misfits.append(refresh.misfit)
    numbers = f"largest error of alpha {max(errors):.1e}; codevectors miss the line to a latent by "
    numbers += f"at most {max(misfits):.1e} of their displacement"
    return Finding(max(errors) < 3e-4 and max(misfits) < 0.05, numbers)


def closest(subject: Subject) -> Finding:
    """z_k = argmax_i s(z_i, e_k)."""
    scores, anchors = _scores_and_anchors(subject, "closest")
    share = are_largest(scores, anchors).float().mean().item()
    rank = (scores > scores.gather(1, anchors[:, None])).sum(1).median().item() + 1
    numbers = f"{share:.1%} of {len(anchors)} anchors are the closest latent; their median rank is "
    return Finding(share > 0.999, f"{numbers}{rank:.0f} of {N}")


def probability(subject: Subject) -> Finding:
    """p(z_k = z_i) = softmax_i s(z_i, e_k), so that near latents are drawn more often."""
    scores, anchors = _scores_and_anchors(subject, "probability")
    from_softmax = _deviations(scores.softmax(1), scores, anchors)
    from_uniform = _deviations(torch.full_like(scores, 1 / N), scores, anchors)
    mean = scores.gather(1, anchors[:, None]).mean().item()
    numbers = f"mean similarity of {len(anchors)} anchors {mean:.3f}: {from_softmax:+.1f} standard "
    numbers += f"deviations from draws by softmax, {from_uniform:+.1f} from uniform draws"
    return Finding(abs(from_softmax) < FARTHEST, numbers)


def random(subject: Subject) -> Finding:
    """p(z_k = z_i) = 1 / N."""
    scores, anchors = _scores_and_anchors(subject, "random")
    uniform, places = torch.full_like(scores, 1 / N), torch.arange(N).expand_as(scores).float()
    deviations = [_deviations(uniform, values, anchors) for values in (scores, places)]
    different, expected = len(anchors.unique()), N * (1 - (1 - 1 / N) ** len(anchors))
    numbers = f"{different} different latents among {len(anchors)} anchors (expected "
    numbers += f"{expected:.0f}); standard deviations from uniform draws: mean similarity "
    numbers += f"{deviations[0]:+.1f}, mean position in the batch {deviations[1]:+.1f}"
    return Finding(max(map(abs, deviations)) < FARTHEST and different > 0.9 * expected, numbers)


def _scores_and_anchors(subject: Subject, anchors: str) -> tuple[Tensor, Tensor]:
    """Return the similarities s(z_i, e_k) (m, N) of the m codes that a step moves, and anchors."""
    if not subject.accepts("anchors") and anchors != subject.anchors:
        raise DoesNotApply("`build` has no argument `anchors`; --anchors names the kind it makes")
    try:
        quantiser = subject.make_refreshing(anchors=anchors)
    except (KeyError, ValueError, NotImplementedError) as error:
        raise DoesNotApply(f"`build` refuses these anchors ({error})") from None
    before, shares = codevectors(quantiser).clone(), subject.nearest_shares()
    refresh = move(quantiser, 1)
    similarity = SIMILARITIES[max(shares, key=lambda name: shares[name])]
    return similarity(before[refresh.moved], rows(batch(1))), refresh.anchors


def _deviations(p: Tensor, values: Tensor, drawn: Tensor) -> float:
    """Return how far the sum of the drawn values is from its mean, in standard deviations.

    p, values: (m, N), probabilities and values of the candidates. drawn: indices (m,).
    """
    mean = (p * values).sum(1)
    variance = (p * values.square()).sum(1) - mean.square()
    drawn_values = values.gather(1, drawn[:, None])[:, 0]
    return ((drawn_values - mean).sum() / variance.sum().sqrt()).item()


def offline(subject: Subject) -> Finding:
    """Offline, only the first training batch refreshes the codebook."""
    if not subject.accepts("offline"):
        raise DoesNotApply("`build` has no argument `offline`")
    quantiser = subject.make_refreshing(offline=True)
    first, loaded = move(quantiser, 1), subject.make(seed=3, offline=True)
    loaded.load_state_dict(copy.deepcopy(quantiser.state_dict()))
    second, after_loading = (displacement(q, 2).abs().max().item() for q in (quantiser, loaded))
    numbers = f"the first batch moves {len(first.moved)} codevectors; the second moves them by at "
    numbers += f"most {second:.1g}, and by {after_loading:.1g} after saving and loading"
    return Finding(second == 0, numbers)


def gradient_of_forward(subject: Subject) -> Finding:
    """dL/de_k belongs to the codebook of the forward pass, whether or not the refresh moves it.

    The official code overwrites the codebook before backward, which changes its contrastive
    gradient.
    """
    quantiser = subject.make_refreshing(contrastive=True)
    without_refresh = copy.deepcopy(quantiser)
    for values in _code_tensors(without_refresh).values():
        # At N_k = 1 nothing moves, because alpha_k = exp(-10 K / (1 - gamma)) = 0.
        values.fill_(1)
    move(quantiser, 1)
    if displacement(without_refresh, 1).any():
        raise DoesNotApply("the state has no usage (K numbers) with which to stop the refresh")
    expected = codebook_gradient(without_refresh)
    if not expected.any():
        raise DoesNotApply("the codebook has no gradient")
    error = ((codebook_gradient(quantiser) - expected).norm() / expected.norm()).item()
    return Finding(error < 1e-5, f"the refresh changes the gradient by {error:.2g} of its length")


def survives_saving(subject: Subject) -> Finding:
    """A quantiser that was saved and loaded continues as if it had never stopped."""
    first, second = subject.make(), subject.make(seed=3)
    step(first, batch(1))
    second.load_state_dict(copy.deepcopy(first.state_dict()))
    codes = [step(quantiser, batch(2)).codes for quantiser in (first, second)]
    share = (codes[0] != codes[1]).float().mean().item()
    largest = max(_differences(first, second).values(), default=0.0)
    numbers = f"one step later {share:.1%} of codes differ, and the state by up to {largest:.1g}"
    return Finding(share == 0 and largest == 0, numbers)


def not_a_number(subject: Subject) -> Finding:
    """A latent that is NaN makes the loss NaN or is refused, so that a training can stop."""
    quantiser, latents = subject.make(), batch(1)
    latents[0, 0, 0, 0] = torch.nan
    try:
        loss = total(step(quantiser, latents))
    except REFUSALS as error:
        return Finding(True, f"refused: {_first_line(error)}")
    return Finding(bool(loss.isnan()), f"loss {loss.item():.3g}; {_not_finite(quantiser)[1]}")


def empty_batch(subject: Subject) -> Finding:
    """A batch without images is refused or leaves a state of finite numbers."""
    quantiser, outcome = subject.make(), "accepted"
    try:
        step(quantiser, batch(1)[:0])
    except REFUSALS as error:
        outcome = f"refused: {_first_line(error)}"
    not_finite, description = _not_finite(quantiser)
    return Finding(not_finite == 0, f"{outcome}; {description}")


def _not_finite(quantiser: Any) -> tuple[int, str]:
    """Return how many numbers of the state are NaN or infinite, and a sentence that says so."""
    number = int(sum((~value.isfinite()).sum().item() for value in state(quantiser).values()))
    return number, f"{number} numbers of the state are then NaN or infinite"


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:60]


# Name -> the test of a property, and whether the paper requires the property. The official code
# fails three of the properties that are not required.
PROPERTIES: Mapping[str, tuple[Callable[[Subject], Finding], bool]] = {
    "nearest code": (nearest_code, True),
    "vectors are codevectors": (vectors_are_codevectors, True),
    "straight-through gradient": (straight_through, True),
    "loss weights": (loss_weights, True),
    "evaluation changes no state": (evaluation_changes_nothing, True),
    "forward changes no state": (forward_changes_nothing, False),
    "usage and its decay": (usage, True),
    "blend weight": (blend, True),
    "anchors: closest": (closest, True),
    "anchors: probability": (probability, True),
    "anchors: random": (random, True),
    "offline refreshes once": (offline, True),
    "gradient of forward's codebook": (gradient_of_forward, False),
    "state survives save and load": (survives_saving, True),
    "NaN in a latent is noticed": (not_a_number, False),
    "empty batch is harmless": (empty_batch, False),
}


def check_all(subject: Subject) -> dict[str, Finding]:
    """Test every property of a quantiser. A property whose test raises an error fails."""
    findings = {}
    for name, (test, _) in PROPERTIES.items():
        try:
            findings[name] = test(subject)
        except DoesNotApply as reason:
            findings[name] = Finding(None, str(reason))
        except Exception as error:
            findings[name] = Finding(False, f"{type(error).__name__}: {_first_line(error)}")
    return findings
