"""Code that was replaced by code which computes the same numbers.

`python -m workflows.equivalents` prints today's digests, before a change and after it, for an entry
in equivalents.yaml.
"""

from __future__ import annotations

import functools
from pathlib import Path

from workflows.provenance import fingerprint, sampling_code, training_code
from workflows.reading import load_yaml
from workflows.registry import DIFFUSIONS, METHODS, NETWORKS
from workflows.schema import ConfigError

FILE = Path(__file__).with_suffix(".yaml")
# Steps whose digest is of the step alone.
STEPS = ("weights", "check", "reference", "latents", "evaluate", "evaluate_samples")


@functools.cache
def load(path: Path) -> dict[str, str]:
    """Digest of code: digest of the code that it replaced.

    Raises ConfigError for a malformed file and where a digest replaces two or is replaced twice.
    """
    earlier: dict[str, str] = {}
    for index, change in enumerate(load_yaml(path, "equivalents")["changes"]):
        for before, after in change["codes"].items():
            where = f"{path}: changes/{index}/codes: {before}: {after}"
            if before in earlier.values():
                raise ConfigError(f"{where}: {before} was replaced already")
            if after in earlier or first(before, earlier) == after:
                raise ConfigError(f"{where}: {after} replaced another, or is older than {before}")
            earlier[after] = before
    return earlier


def first(code: str, earlier: dict[str, str] | None = None) -> str:
    """The digest of the first code that computes what `code` does, which may be `code` itself.

    earlier: what `load` gives, of this project unless given.
    """
    earlier = load(FILE) if earlier is None else earlier
    while code in earlier:
        code = earlier[code]
    return code


def today() -> dict[str, str]:
    """What each digest is of, and today's."""
    autoencoders = {
        f"train {method} {network}": training_code(1, method, network)
        for method in METHODS
        for network in NETWORKS
    }
    diffusion = {f"train {method}": training_code(2, method, "") for method in DIFFUSIONS}
    sampling = {f"sample {method}": sampling_code(method) for method in DIFFUSIONS}
    steps = {step: fingerprint(f"workflows.steps.{step}") for step in STEPS}
    return autoencoders | diffusion | sampling | steps


if __name__ == "__main__":
    for name, code in today().items():
        print(code, name)
