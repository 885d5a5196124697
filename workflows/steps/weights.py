"""Convert the metric networks' weights: `python -m workflows.steps.weights --out FOLDER`."""

from __future__ import annotations

import argparse
from pathlib import Path

from workflows import cli
from workflows.data.records import WeightsRecord
from workflows.data.weight_sources import NETWORKS, files_key
from workflows.data.weights import load_weights
from workflows.files import digest, write_json
from workflows.training.tensor_files import save_tensors

TITLES = {
    "inception": "inception-2015-12-05",
    "lpips_vgg": "lpips-v0.1-vgg",
    "lpips_alex": "lpips-v0.1-alex",
}


def main(out: Path) -> None:
    """Write <network>.safetensors and <network>.json of every network. Raises DataError."""
    key = files_key()
    for network in NETWORKS:
        weights = load_weights(network)
        file = out / f"{network}.safetensors"
        save_tensors(file, weights.tensors, {"network": network})
        record = WeightsRecord(
            network=network,
            route=weights.route,
            key=key,
            files=weights.files,
            features=f"{TITLES[network]} ({weights.route}, fp32)",
            sha256=digest(file),
            parameters=sum(value.numel() for value in weights.tensors.values()),
        )
        write_json(out / f"{network}.json", record.model_dump(mode="json"))
        print(f"{network}: {record.features} -> {file}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    cli.run(parser, main)
