"""Reading the files that metric networks' weights come in: TorchScript, pickles and .pth.

Whoever reads one checks its sha256 first. Even so no code of a file is run: pickles are read with
an unpickler that admits plain arrays only, and .pth files with `weights_only=True`.
"""

from __future__ import annotations

import importlib
import io
import pickle
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from workflows.metrics import inception, perceptual
from workflows.weight_sources import WeightsError


def read_torchscript(file: Path, network: str = "inception") -> dict[str, Tensor]:
    """The Inception of a TorchScript file, under pytorch-fid's names; its code is not run."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        script = torch.jit.load(file, map_location="cpu").state_dict()
    kernels = [name.removesuffix(".weight") for name in script if name.endswith(".weight")]
    tensors = {}
    for theirs, name in zip(kernels, inception.kernels(), strict=True):
        beta = script[f"{theirs}.beta"].flatten()
        tensors[f"{name}.conv.weight"] = script[f"{theirs}.weight"]
        tensors[f"{name}.bn.weight"] = torch.ones_like(beta)
        tensors[f"{name}.bn.bias"] = beta
        tensors[f"{name}.bn.running_mean"] = script[f"{theirs}.mean"].flatten()
        tensors[f"{name}.bn.running_var"] = script[f"{theirs}.var"].flatten()
    return {name: value.detach().clone().contiguous() for name, value in tensors.items()}


class _ArraysOnly(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if module in ("numpy.core.multiarray", "numpy._core.multiarray") and name == "_reconstruct":
            return importlib.import_module("numpy._core.multiarray")._reconstruct
        if module == "numpy" and name in ("ndarray", "dtype"):
            return getattr(np, name)
        raise pickle.UnpicklingError(f"{module}.{name} is not admitted")


def read_checkpoint(file: Path, network: str) -> dict[str, Tensor]:
    """An LPIPS pickle of numpy arrays (kernels HWIO), under torchvision's names.

    Raises WeightsError if it holds anything but arrays.
    """
    try:
        content = _ArraysOnly(io.BytesIO(file.read_bytes())).load()
    except Exception as error:
        raise WeightsError(f"{file}: refused ({error})") from error
    content = content.get("params", content)
    backbone = next(value for name, value in content.items() if not name.startswith("Net"))
    convolutions = [n for n in _perceptual_names(network) if n.endswith(".bias")]
    tensors = {}
    for index, name in enumerate(n.removesuffix(".bias") for n in convolutions):
        layer = backbone[f"Conv_{index}"]
        tensors[f"{name}.weight"] = _from_hwio(layer["kernel"])
        tensors[f"{name}.bias"] = torch.tensor(np.asarray(layer["bias"]))
    for index in range(5):
        head = content[f"NetLinLayer_{index}"]["Conv_0"]["kernel"]
        tensors[f"lin{index}.weight"] = _from_hwio(head)
    return tensors


def _from_hwio(kernel: np.ndarray) -> Tensor:
    return torch.tensor(np.ascontiguousarray(np.asarray(kernel).transpose(3, 2, 0, 1)))


def _perceptual_names(network: str) -> list[str]:
    return list(perceptual.shapes(network.removeprefix("lpips_")))


def read_pth(file: Path) -> Mapping[str, Tensor]:
    """A state dict of torch.save. Raises WeightsError if it holds anything but tensors."""
    try:
        return torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:
        reason = str(error).splitlines()[0]
        raise WeightsError(f"{file}: refused ({reason})") from error


def canonical_names(tensors: Mapping[str, Tensor], network: str) -> dict[str, Tensor]:
    """Keep what the metric uses: no classifier, no counters; LPIPS heads as linN.weight."""
    if network == "inception":
        unused = ("fc.", "AuxLogits.")
        kept = {n: v for n, v in tensors.items() if not n.startswith(unused)}
        return {n: v for n, v in kept.items() if not n.endswith("num_batches_tracked")}
    renamed = {name.replace(".model.1.", "."): value for name, value in tensors.items()}
    return {n: v for n, v in renamed.items() if n.startswith(("features.", "lin"))}
