"""Settings of small models, typed as those of the grid are."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from workflows.config.grid import ROOM
from workflows.config.reading import read_yaml
from workflows.config.settings import Defaults
from workflows.generators import GENERATORS
from workflows.registry import METHODS, knobs_type, parse_knobs

DEFAULTS = read_yaml(ROOM / "defaults.yaml", Defaults)
SHORT: dict[str, Any] = {"dataset": "made_up", "seed": 3, "epochs": 2, "batch_size": 8}
SMALL: dict[str, Any] = {
    **{name: value for name, value in DEFAULTS.knobs.items() if name != "network"},
    **{"codebook_size": 16, "code_dim": 8, "residual_depth": 4, "channel_groups": 2},
    **SHORT,
}
# What the larger network takes beside.
LARGE: dict[str, Any] = {
    **DEFAULTS.networks["vqgan"],
    **{"network": "vqgan", "downsampling": 4, "network_channels": 32, "network_blocks": 1},
    "adversarial_start": 2,
}
# What generative models take, but for the method.
DIFFUSION: dict[str, Any] = {
    **DEFAULTS.generation.knobs,
    **{"first_stage": None, "unet_channels": 8, "unet_multipliers": [1, 1], "unet_blocks": 1},
    **{"attention_levels": 1, "head_channels": 8, "noise_steps": 50, "noise_schedule": "linear"},
    **{"noise_start": 0.001, "noise_end": 0.02, "ema_decay": 0.9, "learning_rate": 0.01},
    **{"warmup_steps": 1, "sampling_steps": 5, "samples": 8},
    **{"transformer_width": 32, "transformer_layers": 1, "temperature": 1.0},
    **{"depth_layers": 1, "soft_temperature": 0.5, "top_k": None, "scales": 2},
    **{"gan_channels": 16, "noise_dim": 8, "augment": True, "r1_weight": 1.0, "r1_every": 2},
    **{"feature_side": 64},
    **SHORT,
}


def taken(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings that their method and network take."""
    method = settings["method"]
    if method in GENERATORS:
        return {name: settings[name] for name in GENERATORS[method].knobs.model_fields}
    network = settings.get("network", METHODS[method].networks[0])
    names = knobs_type(method, network).model_fields
    every = {**settings, "network": network}
    return {name: value for name, value in every.items() if name in names}


def typed(settings: Mapping[str, Any]) -> Any:
    """Return the settings as the type of their method."""
    return parse_knobs(taken(settings))


def small(method: str, **changes: Any) -> Any:
    """The settings of a small model of a method."""
    if method in GENERATORS:
        return typed({**DIFFUSION, "method": method, **changes})
    is_large = "vqgan" in (changes.get("network"), METHODS[method].networks[0])
    own = DEFAULTS.methods.get(method, {})
    return typed({**own, **SMALL, **(LARGE if is_large else {}), "method": method, **changes})


def changed(knobs: Any, **changes: Any) -> Any:
    """Return the settings with other values, or of another method or network."""
    return typed({**SMALL, **DIFFUSION, **knobs.model_dump(), **changes})


# Every method, and CVQ-VAE with each anchor, schedule, distance and the contrastive term.
VARIANTS = {method: small(method) for method in METHODS}
for _anchors, _schedule, _distance in (
    ("random", "online", "cosine"),
    ("unique", "offline", "l2"),
    ("probability", "online", "l2"),
    ("closest", "offline", "cosine"),
    ("farthest", "online", "cosine"),
):
    VARIANTS[f"cvq_vae-{_anchors}-{_schedule}-{_distance}"] = small(
        "cvq_vae", anchors=_anchors, schedule=_schedule, distance=_distance
    )
VARIANTS["cvq_vae-contrastive"] = small("cvq_vae", contrastive=True)
