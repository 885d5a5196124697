"""Write the Inception features of a dataset: `python -m workflows.steps.reference --help`."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from workflows.config import cli
from workflows.data.cache import load_test, load_train
from workflows.data.metric_networks import read_inception
from workflows.data.weight_sources import SOURCES
from workflows.evaluation.protocol import load_protocol
from workflows.evaluation.reconstructions import BLOCK, inception_features
from workflows.metrics.inception import FEATURES, load_inception
from workflows.training import devices
from workflows.training.tensor_files import write_rows


def main(data: Path, protocol: str, split: str, images: int, out: Path, threads: int) -> None:
    """Write `features`, float32 (N, 2048), of the first `images` images of a split; 0 means all.

    split: "test", or "train" without the validation images. Raises DataError.
    """
    torch.set_num_threads(threads)
    device = devices.prepare()
    settings = load_protocol(protocol)
    if split == "train":
        loaded = load_train(data)
        pixels, record = loaded.train, loaded.record
    else:
        pixels, record = load_test(data)
    pixels = pixels[: images or None]
    network = load_inception(read_inception()).to(device)

    def fill(features: np.ndarray) -> dict[str, str]:
        for start in range(0, len(pixels), BLOCK):
            stored = settings.store(settings.originals(pixels[start : start + BLOCK]))
            features[start : start + BLOCK] = inception_features(stored, settings, network)
        return {
            "protocol": protocol,
            "features": SOURCES["inception"].features,
            "dataset": record.name,
            "sha256": record.arrays[split].sha256,
        }

    write_rows(out, "features", (len(pixels), FEATURES), fill)


if __name__ == "__main__":
    parser = cli.step_parser("reference", __doc__ or "", "--data", "--out")
    parser.add_argument("--protocol", required=True)
    parser.add_argument("--split", choices=["train", "test"], default="test")
    parser.add_argument("--images", type=int, default=0, help="first N images; 0 for all")
    cli.run(parser, main)
