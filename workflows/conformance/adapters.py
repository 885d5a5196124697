"""Put quantisers of other projects behind the interface in models/quantiser/interface.py.

Such a module takes latents (b, d, h, w) and changes its own state while it computes, so `adapt` has
nothing to do. Its loss is a sum that is already weighted; it is called `loss`.
"""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor, nn

from models.quantiser.interface import Assignment, Quantised, Quantiser, rows
from workflows.errors import ConfigError

# The published weight of the commitment loss, which our quantisers return without a weight.
BETA = 0.25


class Foreign(nn.Module):
    """A module that returns a tuple, behind the interface of our quantisers."""

    codes_per_latent = 1

    def __init__(self, module: nn.Module, codebook_size: int, code_dim: int) -> None:
        """codebook_size: K. code_dim: D."""
        super().__init__()
        self.module = module
        self.codebook_size = codebook_size
        self.code_dim = code_dim

    def forward(self, latents: Tensor) -> Quantised:
        """Quantise a batch. In training mode the module may change its state."""
        b, _, h, w = latents.shape
        vectors, codes, loss = unpack(self.module(latents))
        codes = codes.reshape(b, h, w).long()
        losses = {} if loss is None else {"loss": loss.sum()}
        assignment = Assignment(rows(latents.detach()), codes.flatten())
        return Quantised(vectors, codes, losses, assignment)

    def decode(self, codes: Tensor) -> Tensor:
        """Return the codevectors of codes (b, h, w), from the codebook or the module."""
        codebook = table(self)
        if codebook is not None:
            return codebook.reshape(-1, self.code_dim)[codes].movedim(3, 1)
        module: Any = self.module
        return module.indices_to_codes(codes)

    def adapt(self, assignment: Assignment) -> None:
        """Change nothing, because the module changes its state in `forward`."""


def unpack(output: Any) -> tuple[Tensor, Tensor, Tensor | None]:
    """Return the vectors (b, d, h, w), the codes (any shape) and the loss, if there is one.

    Raises ConfigError if `output` has neither of the known signatures.
    """
    if isinstance(output, tuple) and len(output) == 3 and isinstance(output[2], tuple):
        vectors, loss, (_, _, codes) = output  # The authors' signature.
        return vectors, codes, loss
    if isinstance(output, tuple) and len(output) in (2, 3):
        vectors, codes, *losses = output  # The signature of vector-quantize-pytorch.
        return vectors, codes, losses[0] if losses else None
    raise ConfigError(
        f"the module returns {type(output).__name__}; allowed: a quantiser of this project, "
        "(vectors, loss, (perplexity, one-hot, indices)) or (vectors, indices, loss)"
    )


def adapted(module: Any, codebook_size: int, code_dim: int) -> Any:
    """Return the module behind our interface. Raises ConfigError for an unknown signature.

    Plug-ins can call this function in their builders, too.
    """
    if isinstance(module, Quantiser):
        return module
    with torch.no_grad():
        unpack(copy.deepcopy(module).eval()(torch.zeros(1, code_dim, 2, 2)))
    return Foreign(module, codebook_size, code_dim)


def state(quantiser: Any) -> dict[str, Tensor]:
    """Return the tensors of the state dict themselves, not copies."""
    entries = quantiser.state_dict(keep_vars=True)
    return {name: value for name, value in entries.items() if isinstance(value, Tensor)}


def table(quantiser: Any) -> Tensor | None:
    """Return the codebook, a tensor of K x D numbers in the state; None if there is none.

    The state may hold other tensors of this shape, such as running sums of latents. The codebook is
    the tensor that an attribute `codebook` of the quantiser or of a part shows, or else the first.
    """
    shape = (quantiser.codebook_size, quantiser.code_dim)
    tables = [
        tensor
        for tensor in state(quantiser).values()
        if tensor.is_floating_point() and tensor.squeeze().shape == shape
    ]
    attributes = [_shown(part) for part in quantiser.modules()]
    shown = {value.data_ptr() for value in attributes if isinstance(value, Tensor)}
    # Shown tensors are smaller in this order, and `min` returns the first of equal ones.
    return min(tables, key=lambda tensor: tensor.data_ptr() not in shown, default=None)


def _shown(part: nn.Module) -> Any:
    """Return a part's attribute `codebook`; None if there is none or if it cannot be computed."""
    try:
        return getattr(part, "codebook", None)
    # The property is foreign code, and a kit that looks at it should not end with its error.
    except Exception:
        return None


def total(output: Quantised) -> Tensor:
    """Return L, the sum of the losses, each with its published weight."""
    weighted = [BETA * x if name == "commitment" else x for name, x in output.losses.items()]
    return sum(weighted, torch.zeros(()))
