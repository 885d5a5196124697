"""Cache images' Inception features: `python -m workflows.steps.reference --help`."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError

from workflows import devices
from workflows.evaluation import BLOCK, inception_features
from workflows.metric_networks import read_network
from workflows.metrics.inception import FEATURES, load_inception
from workflows.protocol import load_protocol
from workflows.tensor_files import write_rows


def run(
    data: Path, protocol_name: str, images: int, weights: Path, out: Path, split: str = "test"
) -> None:
    """Write `features`, float32 (N, 2048), of the first `images` of a split (0 for all).

    split: "test", or "train", which leaves the validation images out.
    """
    from workflows.data import load_test, load_train

    device = devices.choose()
    devices.set_precision("fp32", device)
    protocol = load_protocol(protocol_name)
    if split == "train":
        loaded = load_train(data)
        source, record = loaded.train, loaded.record
    else:
        source, record = load_test(data)
    source = source[: images or None]
    written = read_network(weights, "inception")
    network = load_inception(written.tensors).to(device)
    metadata = {
        "protocol": protocol.name,
        "features": written.features,
        "dataset": record["name"],
        "sha256": record[split]["sha256"],
    }

    def fill(features: np.ndarray) -> dict[str, str]:
        for start in range(0, len(source), BLOCK):
            stored = protocol.store(protocol.originals(source[start : start + BLOCK]))
            features[start : start + BLOCK] = inception_features(stored, protocol, network)
        return metadata

    write_rows(out, "features", (len(source), FEATURES), fill)


def main() -> int:
    """Parse the command line; 1 and one line on standard error for bad input."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--protocol", required=True)
    parser.add_argument("--split", choices=["train", "test"], default="test")
    parser.add_argument("--images", type=int, default=0, help="first N images; 0 for all")
    parser.add_argument("--weights", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    try:
        run(
            arguments.data,
            arguments.protocol,
            arguments.images,
            arguments.weights,
            arguments.out,
            arguments.split,
        )
    except (ValueError, KeyError, OSError, RuntimeError, SafetensorError) as error:
        print(f"reference: {' '.join(str(error).split())}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
