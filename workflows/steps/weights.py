"""Convert the weights of the metric networks: `python -m workflows.steps.weights --out FOLDER`."""

from __future__ import annotations

import argparse
from pathlib import Path

from workflows.config import cli
from workflows.data.records import WeightsRecord
from workflows.data.weight_sources import SOURCES
from workflows.data.weights import load_weights
from workflows.files import digest, write_json
from workflows.training.tensor_files import save_tensors


def main(out: Path) -> None:
    """Write <network>.safetensors and <network>.json for each network. Raises DataError."""
    for network, source in SOURCES.items():
        tensors, file = load_weights(network), out / f"{network}.safetensors"
        save_tensors(file, tensors, {"network": network})
        record = WeightsRecord(
            network=network, key=source.key, features=source.features, sha256=digest(file)
        )
        write_json(out / f"{network}.json", record.model_dump(mode="json"))
        print(f"{network}: {record.features} -> {file}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    cli.run(parser, main)
