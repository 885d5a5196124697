"""Sample one generative model: `python -m workflows.steps.sample --help`."""

from __future__ import annotations

import functools
import io
import json
import shutil
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from models.streams import Purpose, generator
from workflows.config import cli
from workflows.config.plan import PlannedEvaluation
from workflows.config.provenance import origin
from workflows.config.records import SamplingRecord, TrainRecord, read, write
from workflows.data.cache import load_labels, load_train, new_file
from workflows.evaluation.codes import bits_of_a_code
from workflows.evaluation.protocol import NotFinite, check_finite, load_protocol
from workflows.files import digest, write_atomically, write_bytes, write_json
from workflows.generators import GENERATORS, build_generator
from workflows.knobs import Generative
from workflows.registry import parse_knobs
from workflows.training import devices
from workflows.training.sampling import sample_points, to_images
from workflows.training.spaces import load_model, space_of
from workflows.training.tensor_files import CheckpointError, read_tensors

# How many samples are saved at a time; an interrupted run loses at most this many.
PART = 256
# How many validation images the likelihood of codes is measured on.
CODED = 500


def run(
    cell: Path,
    data: Path,
    evaluation: PlannedEvaluation,
    stage1: Path | None = None,
    latents: Path | None = None,
) -> None:
    """Write samples.npy, progress.npy, noise.npy and sampling.json.

    data: folder of the prepared dataset. stage1, latents: folder of the first stage and the file of
    its latents or codes, None for a model of pixels.

    samples.npy has the samples, uint8 (n, c, h, w), progress.npy the samples that the training kept
    at several moments, (moments, n, c, h, w), and noise.npy as many images, decoded from noise. If
    the model diverged, or if samples are not finite, these files are empty and sampling.json says
    why. The samples stay in the state of the cell until they are measured.
    """
    device = devices.prepare()
    record = read(cell / "train.json", TrainRecord)
    if record.status != "finished":
        _write_without_samples(cell, {"status": record.status, "message": record.message})
        return
    knobs = parse_knobs({**record.knobs, **evaluation.sampling})
    assert isinstance(knobs, Generative), "the knobs of a generative model"
    sampler = load_sampler(cell, record, knobs, stage1, latents, device)
    settings = {**evaluation.sampling, "versions": evaluation.sampling_versions}
    model_sha256 = digest(cell / "model.safetensors")
    identity = json.dumps([model_sha256, settings], sort_keys=True)
    try:
        samples, seconds = _sample(sampler, cell / "state", identity)
        epochs = _write_progress(sampler, cell)
        bits = _measure_bits(sampler, data) if GENERATORS[knobs.method].likelihood else {}
    except NotFinite as error:
        _write_without_samples(cell, {**settings, "status": "diverged", "message": str(error)})
        return
    write_atomically(cell / "samples.npy", functools.partial(shutil.copyfile, samples))
    content = {
        **settings,
        "status": "finished",
        "model_sha256": model_sha256,
        "epochs": epochs,
        **bits,
        "seconds": seconds,
        **origin(devices.name(device), torch.get_num_threads()),
    }
    write(cell / "sampling.json", SamplingRecord.model_validate(content))


@dataclass(frozen=True)
class Sampler:
    """A trained generative model.

    record: train.json. knobs: of the training and of sampling. shape: of a point. space: turns
    points into images.
    """

    record: TrainRecord
    knobs: Generative
    shape: tuple[int, ...]
    model: torch.nn.Module
    space: torch.nn.Module
    device: torch.device

    def sample(self, numbers: range) -> np.ndarray:
        """Return the samples with these numbers, uint8 (n, c, h, w). Raises NotFinite."""
        settings = (self.knobs, self.shape, self.record.classes)
        return self.images(sample_points(self.model, *settings, numbers, self.device))

    def images(self, points: torch.Tensor) -> np.ndarray:
        """Turn points (n, d, h, w) into images, uint8 (n, c, h, w), by the protocol of samples.

        Raises NotFinite.
        """
        # A first stage would decode points that are not finite to a finite image.
        check_finite(points.numpy(), "the model's points")
        return load_protocol("samples").quantise(to_images(self.space, points, self.device).numpy())


def load_sampler(
    cell: Path,
    record: TrainRecord,
    knobs: Generative,
    stage1: Path | None,
    latents: Path | None,
    device: torch.device,
) -> Sampler:
    """Load the generative model of a cell. Raises CheckpointError, also if the model was trained on
    another first stage.
    """
    if stage1 is not None and digest(stage1 / "model.safetensors") != record.first_stage:
        raise CheckpointError(
            f"{stage1 / 'model.safetensors'}: not the first stage that {cell / 'train.json'} was "
            f"trained on; train the generative model again with --config retrain={record.cell}"
        )
    assert record.shape is not None, "the record of a generative model has a shape"
    shape, space = tuple(record.shape), space_of(knobs, stage1, latents)
    model = build_generator(knobs, shape, record.classes, space)
    load_model(cell / "model.safetensors", record, model)
    model = model.to(device).requires_grad_(False)
    return Sampler(record, knobs, shape, model, space, device)


def _sample(sampler: Sampler, state: Path, identity: str) -> tuple[Path, float]:
    """Sample part by part; return the file of all samples in the folder `state`, and the seconds.

    identity: of the model, the settings and the versions. Samples that an interrupted run of the
    same identity left are kept.
    """
    file, progress_file = state / "samples.npy", state / "samples.json"
    count, done, seconds = sampler.knobs.samples, 0, 0.0
    if progress_file.exists():
        progress = json.loads(progress_file.read_text("utf-8"))
        if progress["identity"] == identity:
            done, seconds = progress["samples"], progress["seconds"]
        else:
            progress_file.unlink()
    while done < count:
        numbers = range(done, min(done + PART, count))
        start = time.perf_counter()
        images = sampler.sample(numbers)
        state.mkdir(parents=True, exist_ok=True)
        if done:
            samples = np.load(file, mmap_mode="r+")
        else:
            samples = new_file(file, (count, *images.shape[1:]))
        samples[done : numbers.stop] = images
        samples.flush()
        done, seconds = numbers.stop, seconds + time.perf_counter() - start
        write_json(progress_file, {"identity": identity, "samples": done, "seconds": seconds})
        left = int(seconds / done * (count - done))
        print(
            f"[{sampler.record.cell}] {done}/{count} samples  {left // 60}:{left % 60:02d} left",
            flush=True,
        )
    return file, seconds


def _write_progress(sampler: Sampler, cell: Path) -> list[int]:
    """Write progress.npy and noise.npy; return the epochs of the samples in progress.npy."""
    kept, _ = read_tensors(cell / "progress.safetensors")
    epochs = sorted(kept)
    progress = [sampler.images(kept[epoch]) for epoch in epochs]
    stream = generator(sampler.knobs.seed, Purpose.UNTRAINED)
    noise = sampler.space.noise((len(progress[-1]), *sampler.shape), stream)  # type: ignore[operator]
    _write(cell / "progress.npy", np.stack(progress))
    _write(cell / "noise.npy", sampler.images(noise))
    return [int(epoch) for epoch in epochs]


def _measure_bits(sampler: Sampler, data: Path) -> dict[str, Any]:
    """Return the bits of a code over the first CODED validation images. Raises NotFinite."""
    loaded, labels = load_train(data), None
    if sampler.knobs.conditional:
        labels = load_labels(data)[len(loaded.train) :][:CODED]
    images = np.array(loaded.validation[:CODED])
    space = sampler.space.to(sampler.device)
    bits = bits_of_a_code(sampler.model, space, images, labels, sampler.device)
    return {"bits": bits, "coded_images": len(images)}


def _write_without_samples(cell: Path, content: dict[str, Any]) -> None:
    """Write the files of a model without samples. content: of sampling.json."""
    for name in ("samples.npy", "progress.npy", "noise.npy"):
        _write(cell / name, np.empty(0, np.uint8))
    write(cell / "sampling.json", SamplingRecord.model_validate(content))


def _write(file: Path, array: np.ndarray) -> None:
    content = io.BytesIO()
    np.save(content, array)
    write_bytes(file, content.getvalue())


if __name__ == "__main__":
    parser = cli.measuring_parser("sample", __doc__ or "", "--data")
    parser.add_argument("--stage1", type=Path, help="folder of the first stage; none for pixels")
    parser.add_argument("--latents", type=Path, help="its latents or codes; none for pixels")
    cli.run(parser, devices.command(run))
