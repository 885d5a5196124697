"""The properties of CVQ-VAE, one function each, in the order of the paper's equations."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from models.quantiser.search import count
from workflows.conformance.adapters import BETA, rows, state, total
from workflows.conformance.subject import (
    SIMILARITIES,
    D,
    DoesNotApply,
    K,
    N,
    Subject,
    are_largest,
    batch,
    codevectors,
    gradient,
    move,
    step,
    way,
)

GAMMA, EPSILON = 0.99, 1e-3
# Deviations from what a distribution expects. A right draw lies beyond once in 15,000 times.
FARTHEST = 4.0
# By which a quantiser may refuse a batch.
REFUSALS = (ValueError, RuntimeError, IndexError, ZeroDivisionError)


@dataclass(frozen=True)
class Finding:
    """holds: whether the property holds; None where it does not apply. numbers: what was seen."""

    holds: bool | None
    numbers: str


def nearest_code(subject: Subject) -> Finding:
    """k(z) = argmax_k s(z, e_k), with s(z, e) = z.e / |z| |e| or -|z - e|^2."""
    shares = subject.nearest()
    said = ", ".join(f"{share:.1%} of codes nearest by {name}" for name, share in shares.items())
    return Finding(max(shares.values()) > 0.999, said)


def vectors_are_codevectors(subject: Subject) -> Finding:
    """z_q = e_k, not normalised."""
    quantiser = subject.make().eval()
    e, output = codevectors(quantiser).clone(), quantiser(batch(1))
    return _equal(rows(output.vectors), e[output.codes.flatten()])


def straight_through(subject: Subject) -> Finding:
    """z_q = z + sg(e_k - z), so dL/dz = dL/dz_q."""
    latents, given = batch(1).requires_grad_(), batch(2)
    vectors = subject.make()(latents).vectors
    if not vectors.requires_grad:
        return Finding(False, "no gradient reaches the latents")
    (found,) = torch.autograd.grad((vectors * given).sum(), latents)
    return _equal(found, given)


def _equal(found: Tensor, expected: Tensor) -> Finding:
    error = (found - expected).abs().max().item()
    return Finding(error < 1e-5, f"largest difference {error:.1e}")


def loss_weights(subject: Subject) -> Finding:
    """L = beta |z - sg(e_k)|^2 + |sg(z) - e_k|^2, means over N D numbers, with beta = 0.25."""
    quantiser, latents = subject.make(), batch(1).requires_grad_()
    e = codevectors(quantiser).clone()
    codes = step(quantiser, latents).codes.flatten()
    of_latents = 2 * (rows(latents.detach()) - e[codes]) / (N * D)
    of_codebook = torch.zeros(K, D).index_add_(0, codes, -of_latents)
    reached = torch.zeros(N, D) if latents.grad is None else rows(latents.grad)
    beta, other = _factor(reached, of_latents), _factor(gradient(quantiser), of_codebook)
    said = f"commitment {beta:.3f}, codebook {other:.3f}; expected {BETA} and 1"
    return Finding(max(abs(beta - BETA), abs(other - 1)) < 1e-3, said)


def _factor(found: Tensor, expected: Tensor) -> float:
    """The c for which c times `expected` is nearest to `found`."""
    return ((found * expected).sum() / expected.square().sum()).item()


def evaluation_changes_nothing(subject: Subject) -> Finding:
    """In evaluation mode no state changes."""
    return _changed(subject.make().eval())


def forward_changes_nothing(subject: Subject) -> Finding:
    """In training mode the forward pass alone changes no state. The official code's pass does."""
    return _changed(subject.make())


def _changed(quantiser: Any) -> Finding:
    before = copy.deepcopy(quantiser)
    with torch.no_grad():
        quantiser(batch(1))
    said = [f"{name} moved by {x:.2g}" for name, x in _differences(before, quantiser).items() if x]
    return Finding(not said, ", ".join(said) or "no tensor changed")


def _differences(first: Any, second: Any) -> dict[str, float]:
    """Tensor of the state -> the largest difference between two quantisers."""
    others = state(second)
    return {
        name: (value.double() - others[name].double()).abs().max().item()
        for name, value in state(first).items()
    }


def usage(subject: Subject) -> Finding:
    """N_k <- gamma N_k + (1 - gamma) n_k / N, from N_k = 0, with gamma = 0.99."""
    quantiser = subject.refreshing()
    first = move(quantiser, 1).usage
    then = {name: value.clone() for name, value in _of_codes(quantiser).items()}
    if not then:
        raise DoesNotApply("the state has no K numbers; the blend weight shows the usage")
    second = count(step(quantiser, batch(2)).codes.flatten(), K) / N
    name = min(then, key=lambda name: (then[name] - (1 - GAMMA) * first).abs().max().item())
    now = _of_codes(quantiser)[name]
    gamma = _factor(now - second, then[name] - second)
    expected = GAMMA * (1 - GAMMA) * first + (1 - GAMMA) * second
    error = (now - expected).abs().max().item()
    said = f"{name}: decay {gamma:.4f}, largest error {error:.1e}; expected {GAMMA}"
    return Finding(error < 1e-6, said)


def _of_codes(quantiser: Any) -> dict[str, Tensor]:
    """The tensors of K numbers in the state, not copies of them."""
    return {
        name: value.detach().view(K)
        for name, value in state(quantiser).items()
        if value.numel() == K and value.is_floating_point()
    }


def blend(subject: Subject) -> Finding:
    """e_k <- (1 - alpha_k) e_k + alpha_k z_k, alpha_k = exp(-N_k K 10 / (1 - gamma) - 0.001)."""
    quantiser, average = subject.refreshing(), torch.zeros(K, dtype=torch.double)
    errors, misfits = [], []
    for number in (1, 2):
        found = move(quantiser, number)
        average = GAMMA * average + (1 - GAMMA) * found.usage
        alpha = torch.exp(-average * K * 10 / (1 - GAMMA) - EPSILON)
        errors.append((found.weights - alpha).abs().max().item())
        misfits.append(found.misfit)
    said = f"largest error of alpha {max(errors):.1e}; anchors miss latents by {max(misfits):.1e}"
    return Finding(max(errors) < 3e-4 and max(misfits) < 0.05, said)


def closest(subject: Subject) -> Finding:
    """z_k = argmax_i s(z_i, e_k)."""
    scores, anchors = _with_anchors(subject, "closest")
    share = are_largest(scores, anchors).float().mean().item()
    rank = (scores > scores.gather(1, anchors[:, None])).sum(1).median().item() + 1
    said = f"{share:.1%} of {len(anchors)} anchors are; median rank {rank:.0f} of {N}"
    return Finding(share > 0.999, said)


def probability(subject: Subject) -> Finding:
    """p(z_k = z_i) = softmax_i s(z_i, e_k), so that near latents are drawn more often."""
    scores, anchors = _with_anchors(subject, "probability")
    off = _deviations(scores.softmax(1), scores, anchors)
    off_uniform = _deviations(torch.full_like(scores, 1 / N), scores, anchors)
    mean = scores.gather(1, anchors[:, None]).mean().item()
    said = f"{len(anchors)} anchors of mean similarity {mean:.3f}: {off:+.1f} deviations from the"
    return Finding(abs(off) < FARTHEST, f"{said} softmax's, {off_uniform:+.1f} from uniform draws'")


def random(subject: Subject) -> Finding:
    """p(z_k = z_i) = 1 / N."""
    scores, anchors = _with_anchors(subject, "random")
    uniform, places = torch.full_like(scores, 1 / N), torch.arange(N).expand_as(scores).float()
    off = [_deviations(uniform, values, anchors) for values in (scores, places)]
    different, expected = len(anchors.unique()), N * (1 - (1 - 1 / N) ** len(anchors))
    said = f"{different} different ones of {len(anchors)} anchors, {expected:.0f} expected; mean "
    said += f"similarity {off[0]:+.1f} and place {off[1]:+.1f} deviations from uniform draws'"
    return Finding(max(map(abs, off)) < FARTHEST and different > 0.9 * expected, said)


def _with_anchors(subject: Subject, anchors: str) -> tuple[Tensor, Tensor]:
    """The similarities s(z_i, e_k) (m, N) of the m codes that a step moves, and their anchors."""
    if not subject.takes("anchors") and anchors != subject.anchors:
        raise DoesNotApply("`build` takes no argument anchors; --anchors says what it makes")
    try:
        quantiser = subject.refreshing(anchors=anchors)
    except (KeyError, ValueError, NotImplementedError) as error:
        raise DoesNotApply(f"`build` refuses these anchors ({error})") from None
    found, shares = move(quantiser, 1), subject.nearest()
    similarity = SIMILARITIES[max(shares, key=lambda name: shares[name])]
    return similarity(found.before[found.moved], found.latents), found.anchors


def _deviations(p: Tensor, values: Tensor, drawn: Tensor) -> float:
    """How many deviations the sum of drawn values is from its mean. p, values: (m, N)."""
    mean = (p * values).sum(1)
    variance = (p * values.square()).sum(1) - mean.square()
    own = values.gather(1, drawn[:, None])[:, 0]
    return ((own - mean).sum() / variance.sum().sqrt()).item()


def offline(subject: Subject) -> Finding:
    """Offline, the first training batch alone refreshes the codebook."""
    if not subject.takes("offline"):
        raise DoesNotApply("`build` takes no argument offline")
    quantiser = subject.refreshing(offline=True)
    first, loaded = move(quantiser, 1), subject.make(seed=3, offline=True)
    loaded.load_state_dict(copy.deepcopy(quantiser.state_dict()))
    then, after_loading = (way(one, 2).abs().max().item() for one in (quantiser, loaded))
    said = f"the first batch moves {len(first.moved)} codes, the second moves one by {then:.1g}"
    return Finding(then == 0, f"{said}, after save and load by {after_loading:.1g}")


def gradient_of_forward(subject: Subject) -> Finding:
    """dL/de_k belongs to the codebook of the forward pass, whether or not the refresh moves it. The
    official code overwrites the codebook before backward, which changes its contrastive gradient.
    """
    quantiser = subject.refreshing(contrastive=True)
    settled = copy.deepcopy(quantiser)
    for values in _of_codes(settled).values():
        # Nothing moves: alpha_k = exp(-10 K / (1 - gamma)) = 0.
        values.fill_(1)
    move(quantiser, 1)
    if way(settled, 1).any():
        raise DoesNotApply("the state has no K numbers by which the refresh can be held still")
    expected = gradient(settled)
    if not expected.any():
        raise DoesNotApply("the codebook has no gradient")
    error = ((gradient(quantiser) - expected).norm() / expected.norm()).item()
    return Finding(error < 1e-5, f"a refresh changes the gradient by {error:.2g} of its length")


def survives_saving(subject: Subject) -> Finding:
    """A quantiser that was saved and loaded goes on as if it had not been."""
    first, second = subject.make(), subject.make(seed=3)
    step(first, batch(1))
    second.load_state_dict(copy.deepcopy(first.state_dict()))
    codes = [step(quantiser, batch(2)).codes for quantiser in (first, second)]
    share = (codes[0] != codes[1]).float().mean().item()
    farthest = max(_differences(first, second).values(), default=0.0)
    said = f"after one more step {share:.1%} of codes and {farthest:.1g} in the state differ"
    return Finding(share == 0 and farthest == 0, said)


def not_a_number(subject: Subject) -> Finding:
    """A latent that is NaN makes the loss NaN, so that a training can stop."""
    quantiser, latents = subject.make(), batch(1)
    latents[0, 0, 0, 0] = torch.nan
    try:
        loss = total(step(quantiser, latents))
    except REFUSALS as error:
        return Finding(True, f"refused: {_first_line(error)}")
    return Finding(bool(loss.isnan()), f"loss {loss.item():.3g}; {_not_finite(quantiser)}")


def empty_batch(subject: Subject) -> Finding:
    """A batch without images is refused or leaves a state of finite numbers."""
    quantiser, said = subject.make(), "taken"
    try:
        step(quantiser, batch(1)[:0])
    except REFUSALS as error:
        said = f"refused: {_first_line(error)}"
    lost = _not_finite(quantiser)
    return Finding(lost.startswith("0 "), f"{said}; {lost}")


def _not_finite(quantiser: Any) -> str:
    lost = sum((~value.isfinite()).sum().item() for value in state(quantiser).values())
    return f"{lost:.0f} numbers of the state are not finite"


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:60]


# What is asked, in order -> whether the paper requires it. The others are told as they are; the
# official code departs from three of them.
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
    "NaN": (not_a_number, False),
    "empty batch": (empty_batch, False),
}


def ask(subject: Subject) -> dict[str, Finding]:
    """What each property says of a quantiser. One that cannot be asked for an error departs."""
    found = {}
    for name, (question, _) in PROPERTIES.items():
        try:
            found[name] = question(subject)
        except DoesNotApply as reason:
            found[name] = Finding(None, str(reason))
        except Exception as error:
            found[name] = Finding(False, f"{type(error).__name__}: {_first_line(error)}")
    return found
