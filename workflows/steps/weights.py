"""Convert the metric networks' weights: `python -m workflows.steps.weights --out FOLDER`."""

from __future__ import annotations

import argparse
from pathlib import Path

from workflows import cli
from workflows.data.records import WeightsRecord
from workflows.data.weight_sources import SOURCES
from workflows.data.weights import load_weights
from workflows.files import digest, write_json
from workflows.training.tensor_files import save_tensors


def main(out: Path) -> None:
    """Write <network>.safetensors and <network>.json of every network. Raises DataError."""
    for network, source in SOURCES.items():
        tensors, file = load_weights(network), out / f"{network}.safetensors"
        save_tensors(file, tensors, {"network": network})
        record = WeightsRecord(
            network=network,
            route=source.route,
            key=source.key,
            files=[{"name": source.name, "sha256": source.sha256}],
            features=f"{source.title} ({source.route}, fp32)",
            sha256=digest(file),
            parameters=sum(value.numel() for value in tensors.values()),
        )
        write_json(out / f"{network}.json", record.model_dump(mode="json"))
        print(f"{network}: {record.features} -> {file}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    cli.run(parser, main)
