"""Write the latents or codes of a first stage: `python -m workflows.steps.latents --help`."""

from __future__ import annotations

from pathlib import Path

from workflows.config import cli
from workflows.data.cache import load_train
from workflows.files import digest
from workflows.training import devices
from workflows.training.spaces import first_stage, write_latents


def run(cell: Path, data: Path, out: Path, kind: str = "latents") -> None:
    """Write the latents or codes of the training images, without validation, in their order.

    kind: "latents" or "codes". The file has `points`, (n, d, h, w).
    """
    device = devices.prepare()
    loaded = load_train(data)
    trained = first_stage(cell, loaded.record.train.sha256)
    metadata = {
        "cell": trained.record.cell,
        "model": digest(cell / "model.safetensors"),
        "dataset": loaded.record.train.sha256,
    }
    latents = write_latents(out, kind, trained, loaded.train, metadata, device)
    shape = " x ".join(map(str, latents.points.shape))
    print(f"[{trained.record.cell}] {kind} {shape}, times {latents.scale:.4g}")


if __name__ == "__main__":
    parser = cli.step_parser("latents", __doc__ or "", "--cell", "--data", "--out")
    parser.add_argument("--kind", choices=["latents", "codes"], default="latents")
    cli.run(parser, devices.command(run))
