"""Settings of small models, typed as those of the grid are."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from workflows.knobs import Diffusion
from workflows.registry import DIFFUSIONS, METHODS, knobs_type, parse_knobs

SMALL: dict[str, Any] = {
    "dataset": "made_up",
    "seed": 3,
    "codebook_size": 16,
    "code_dim": 8,
    "distance": "cosine",
    "anchors": "probability",
    "schedule": "online",
    "contrastive": False,
    "commitment_weight": 0.25,
    "codebook_weight": 1.0,
    "contrastive_weight": 1.0,
    "sq_initial_variance": 10.0,
    "sq_final_temperature": 0.21,
    "epochs": 2,
    "batch_size": 8,
    "learning_rate": 3e-4,
    "precision": "fp32",
    "train_images": None,
    "residual_depth": 4,
    "channel_groups": 2,
}
# What the larger network takes beside.
LARGE: dict[str, Any] = {
    "network": "vqgan",
    "downsampling": 4,
    "network_channels": 32,
    "network_blocks": 1,
    "perceptual_weight": 1.0,
    "perceptual_network": "vgg",
    "adversarial_weight": 0.8,
    "adversarial_start": 2,
}


# What diffusion models take, but for the method.
DIFFUSION: dict[str, Any] = {
    "dataset": "made_up",
    "seed": 3,
    "first_stage": None,
    "conditional": False,
    "label_dropout": 0.0,
    "unet_channels": 8,
    "unet_multipliers": [1, 1],
    "unet_blocks": 1,
    "attention_levels": 1,
    "head_channels": 8,
    "noise_steps": 50,
    "noise_schedule": "linear",
    "noise_start": 0.001,
    "noise_end": 0.02,
    "diffusion_loss": "l2",
    "ema_decay": 0.9,
    "epochs": 2,
    "batch_size": 8,
    "learning_rate": 0.01,
    "warmup_steps": 1,
    "precision": "fp32",
    "train_images": None,
    "sampling_steps": 5,
    "eta": 1.0,
    "guidance": 1.0,
    "samples": 8,
}


def typed(settings: Mapping[str, Any]) -> Any:
    """Those of the settings that their method and network take, as the type of their knobs."""
    method = settings["method"]
    if method in DIFFUSIONS:
        names = set(Diffusion.model_fields)
    else:
        network = settings.get("network", METHODS[method].networks[0])
        settings = {**settings, "network": network}
        names = set(knobs_type(method, network).model_fields)
    return parse_knobs({name: value for name, value in settings.items() if name in names})


def small(method: str, **changes: Any) -> Any:
    """The settings of a small model of a method."""
    large = LARGE if "convnet" not in METHODS[method].networks else {}
    return typed({**SMALL, **large, "method": method, **changes})


def changed(knobs: Any, **changes: Any) -> Any:
    """The same with other values, or of another method or network."""
    return typed({**SMALL, **DIFFUSION, **knobs.model_dump(), **changes})


def variants() -> dict[str, Any]:
    """Every method, and CVQ-VAE with each anchor, schedule, distance and the contrastive term."""
    found = {method: small(method) for method in METHODS}
    for anchors, schedule, distance in (
        ("random", "online", "cosine"),
        ("unique", "offline", "l2"),
        ("probability", "online", "l2"),
        ("closest", "offline", "cosine"),
    ):
        found[f"cvq_vae-{anchors}-{schedule}-{distance}"] = small(
            "cvq_vae", anchors=anchors, schedule=schedule, distance=distance
        )
    return {**found, "cvq_vae-contrastive": small("cvq_vae", contrastive=True)}


VARIANTS = variants()
