"""Quantisers of other projects behind our interface, models/quantiser/interface.py.

A module of either kind takes latents (b, d, h, w) and changes its own state while it computes, so
`adapt` has nothing left to do. Its loss is a weighted sum already and is called `loss`. A plug-in
can be built by `adapted` too.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from models.quantiser.interface import Assignment, Quantised, Quantiser
from workflows.errors import ConfigError

# The commitment loss of our quantisers has no weight yet; this is the published one.
BETA = 0.25


# Vectors (b, d, h, w), codes of any shape and the loss, if there is one.
Unpacked = tuple[Tensor, Tensor, Tensor | None]
Unpack = Callable[[Any], Unpacked]


class Foreign(nn.Module):
    """A module that returns a tuple, as one of our quantisers."""

    codes_per_latent = 1

    def __init__(
        self, module: nn.Module, codebook_size: int, code_dim: int, unpack: Unpack
    ) -> None:
        """codebook_size: K. code_dim: D. unpack: reads what the module returns."""
        super().__init__()
        self.module = module
        self.codebook_size = codebook_size
        self.code_dim = code_dim
        self.unpack = unpack

    def forward(self, latents: Tensor) -> Quantised:
        """Quantise. In training mode the module may change its state."""
        b, _, h, w = latents.shape
        vectors, codes, loss = self.unpack(self.module(latents))
        codes = codes.reshape(b, h, w).long()
        losses = {} if loss is None else {"loss": loss.sum()}
        return Quantised(
            vectors, codes, losses, Assignment(rows(latents.detach()), codes.flatten())
        )

    def decode(self, codes: Tensor) -> Tensor:
        """The codevectors of codes (b, h, w): rows of a table, or what the module makes of them."""
        codevectors = table(self)
        if codevectors is not None:
            return codevectors.reshape(-1, self.code_dim)[codes].movedim(3, 1)
        module: Any = self.module
        return module.indices_to_codes(codes)

    def adapt(self, assignment: Assignment) -> None:
        """Change nothing: the module did so itself."""


def official(output: Any) -> Unpacked:
    """Read the authors' signature: (vectors, loss, (perplexity, one-hot, indices))."""
    vectors, loss, (_, _, codes) = output
    return vectors, codes, loss


def vector_quantize_pytorch(output: Any) -> Unpacked:
    """Read the library's signature: (vectors, indices, loss), or without a loss."""
    vectors, codes, *losses = output
    return vectors, codes, losses[0] if losses else None


def adapted(module: Any, codebook_size: int, code_dim: int) -> Any:
    """The module behind our interface; which kind it is, one batch tells. Raises ConfigError."""
    if isinstance(module, Quantiser):
        return module
    with torch.no_grad():
        output = copy.deepcopy(module).eval()(torch.zeros(1, code_dim, 2, 2))
    if isinstance(output, tuple) and len(output) == 3 and isinstance(output[2], tuple):
        return Foreign(module, codebook_size, code_dim, official)
    if isinstance(output, tuple) and len(output) in (2, 3):
        return Foreign(module, codebook_size, code_dim, vector_quantize_pytorch)
    raise ConfigError(
        f"{type(module).__name__} returns {type(output).__name__}; allowed: a quantiser of ours, "
        "(vectors, loss, (perplexity, one-hot, indices)) or (vectors, indices, loss)"
    )


def rows(grid: Tensor) -> Tensor:
    """(b, d, h, w) as (b h w, d)."""
    return grid.movedim(1, 3).reshape(-1, grid.shape[1])


def state(quantiser: Any) -> dict[str, Tensor]:
    """The tensors of the state dict, not copies of them."""
    found = quantiser.state_dict(keep_vars=True)
    return {name: value for name, value in found.items() if isinstance(value, Tensor)}


def table(quantiser: Any) -> Tensor | None:
    """The first tensor of K x D numbers in the state; None for a method without such a table."""
    shape = (quantiser.codebook_size, quantiser.code_dim)
    for value in state(quantiser).values():
        if value.is_floating_point() and value.squeeze().shape == shape:
            return value
    return None


def total(output: Quantised) -> Tensor:
    """L: the losses, each with its published weight."""
    weighted = [BETA * x if name == "commitment" else x for name, x in output.losses.items()]
    return sum(weighted, torch.zeros(()))
