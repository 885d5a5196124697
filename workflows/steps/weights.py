"""Convert the metric networks' weights: `python -m workflows.steps.weights --out FOLDER`."""

from __future__ import annotations

import argparse
import hashlib
import sys
from pathlib import Path

from workflows.files import write_json
from workflows.tensor_files import save_tensors
from workflows.weight_sources import NETWORKS, WeightsError, files_key
from workflows.weights import load_weights

TITLES = {
    "inception": "inception-2015-12-05",
    "lpips_vgg": "lpips-v0.1-vgg",
    "lpips_alex": "lpips-v0.1-alex",
}


def run(out: Path) -> None:
    """Write <network>.safetensors and <network>.json of every network. Raises WeightsError."""
    key = files_key()
    for network in NETWORKS:
        weights = load_weights(network)
        file = out / f"{network}.safetensors"
        save_tensors(file, weights.tensors, {"network": network})
        record = {
            "network": network,
            "route": weights.route,
            "key": key,
            "files": weights.files,
            "features": f"{TITLES[network]} ({weights.route}, fp32)",
            "sha256": hashlib.sha256(file.read_bytes()).hexdigest(),
            "parameters": sum(value.numel() for value in weights.tensors.values()),
        }
        write_json(out / f"{network}.json", record)
        print(f"{network}: {record['features']} -> {file}")


def main() -> int:
    """Parse the command line; 1 and one line on standard error if weights cannot be had."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    try:
        run(arguments.out)
    except (WeightsError, OSError) as error:
        print(f"weights: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
