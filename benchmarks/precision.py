"""Whether features in bfloat16 are sound: `python -m benchmarks.precision --help`.

The Fréchet distance of trained models' reconstructions, with Inception in float32, in bfloat16, and
in bfloat16 but for its first or its last blocks, of originals and reconstructions alike. Sound is a
precision that moves no model's distance by a tenth of its method's interval over seeds, and that
leaves the methods in their order. Weights are the real ones; only speed depends on the machine.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import nn

from workflows.checkpoint import load_trained
from workflows.data import load_test
from workflows.evaluation import inception_features
from workflows.intervals import interval
from workflows.metric_networks import load_networks
from workflows.metrics.frechet import frechet_distance
from workflows.metrics.inception import Inception
from workflows.protocol import load_protocol
from workflows.steps.evaluate import reconstruct

WEIGHTS = Path(".cache/weights")
BLOCKS = [name for name, _ in Inception().named_children()]
FIRST_LATE = BLOCKS.index("Mixed_6a")
# The blocks that run in bfloat16.
PRECISIONS = {
    "fp32": [],
    "bf16": BLOCKS,
    "bf16, last blocks fp32": BLOCKS[:FIRST_LATE],
    "bf16, first blocks fp32": BLOCKS[FIRST_LATE:],
}
SOUND = 0.1  # of a method's interval over seeds


@contextmanager
def lowered(network: nn.Module, low: Collection[str]) -> Iterator[None]:
    """Within it the children named in `low` run under bfloat16 autocast, the others in float32."""

    def before(name: str) -> Callable[..., tuple[torch.Tensor]]:
        def hook(_: nn.Module, inputs: tuple[torch.Tensor]) -> tuple[torch.Tensor]:
            torch.set_autocast_enabled("cpu", name in low)
            return (inputs[0] if name in low else inputs[0].float(),)

        return hook

    hooks = [child.register_forward_pre_hook(before(n)) for n, child in network.named_children()]
    try:
        with torch.autocast("cpu", torch.bfloat16, enabled=bool(low)):
            yield
    finally:
        for hook in hooks:
            hook.remove()


def measure(results: Path, dataset: str, count: int) -> pd.DataFrame:
    """A line per model and precision: cell, method and variant, seed, precision, distance."""
    network = load_networks(WEIGHTS).inception
    protocol = load_protocol("exact")
    images = load_test(Path(".cache/datasets") / dataset)[0][:count]
    stored = protocol.store(protocol.originals(images))

    def features(pictures: np.ndarray, precision: str) -> np.ndarray:
        with lowered(network, PRECISIONS[precision]):
            return inception_features(pictures, protocol, network)

    references = {precision: features(stored, precision) for precision in PRECISIONS}
    lines = []
    for cell in sorted((results / "cells" / dataset).glob("*/*/seed*")):
        trained = load_trained(cell)
        made, _ = reconstruct(trained.model, images, trained.codebook_size, torch.device("cpu"))
        restored = protocol.store(protocol.quantise(made))
        for precision, reference in references.items():
            distance = frechet_distance(reference, features(restored, precision))
            line = {"dataset": dataset, "row": str(cell.parent.relative_to(results / "cells"))}
            seed = int(cell.name.removeprefix("seed"))
            lines.append({**line, "seed": seed, "precision": precision, "distance": distance})
            print(*lines[-1].values(), flush=True)
    return pd.DataFrame(lines).assign(images=len(images))


def judge(lines: pd.DataFrame) -> pd.DataFrame:
    """A line per precision but float32: largest shift, in distance and in intervals, and order.

    Raises ValueError for rows of one seed, which have no interval.
    """
    wide = lines.pivot_table(index=["row", "seed"], columns="precision", values="distance")
    ranges = {row: interval(part["fp32"].to_numpy()) for row, part in wide.groupby("row")}
    if any(found.seeds < 2 for found in ranges.values()):
        raise ValueError("every row needs two seeds at least")
    width = {row: found.high - found.low for row, found in ranges.items()}
    means = wide.groupby("row").mean()
    order = list(means["fp32"].sort_values().index)
    judged = []
    for precision in wide.columns.drop("fp32"):
        shift = (wide[precision] - wide["fp32"]).abs()
        share = shift / shift.index.get_level_values("row").map(width).to_numpy()
        same = list(means[precision].sort_values().index) == order
        judged.append(
            {
                "precision": precision,
                "largest_shift": shift.max(),
                "of_the_interval": share.max(),
                "same_order": same,
                "sound": bool(same and share.max() < SOUND),
            }
        )
    return pd.DataFrame(judged)


def main() -> int:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--results", type=Path, required=True, help="results/<budget> with models")
    parser.add_argument("--dataset", required=True)
    parser.add_argument("--images", type=int, default=500)
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    lines = measure(arguments.results, arguments.dataset, arguments.images)
    lines.to_csv(arguments.out, index=False, float_format="%.6g")
    print(judge(lines).to_markdown(index=False, floatfmt=".3g"))
    return 0


if __name__ == "__main__":
    sys.exit(main())
