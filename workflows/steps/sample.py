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

# Samples that are kept together while sampling goes on; what an interruption costs at most.
PART = 256
# Images whose likelihood is asked.
CODED = 500


def run(
    cell: Path,
    data: Path,
    evaluation: PlannedEvaluation,
    stage1: Path | None = None,
    latents: Path | None = None,
) -> None:
    """Write samples.npy, uint8 (n, c, h, w), progress.npy, noise.npy and sampling.json.

    data: folder of the prepared dataset. stage1, latents: folder of the first stage and the file of
    its latents or codes, None for pixels.
    progress.npy has the samples along the training, (moments, n, c, h, w), and noise.npy as many
    images decoded from noise. A model that diverged, or whose samples are not finite, has none of
    these, and sampling.json says why. The samples stay in the cell's state until they are measured.
    """
    device = devices.prepare()
    record = read(cell / "train.json", TrainRecord)
    if record.status != "finished":
        _write_nothing(cell, {"status": record.status, "message": record.message})
        return
    sampling = evaluation.sampling
    knobs = parse_knobs({**record.knobs, **sampling})
    assert isinstance(knobs, Generative), "the knobs of a generative model"
    sampler = load_sampler(cell, record, knobs, stage1, latents, device)
    about = {**sampling, "versions": evaluation.sampling_versions}
    model = digest(cell / "model.safetensors")
    identity = json.dumps([model, about], sort_keys=True)
    try:
        samples, seconds = _sample(sampler, cell / "state", identity)
        epochs = _compare(sampler, cell)
        bits = _bits(sampler, data) if GENERATORS[knobs.method].likelihood else {}
    except NotFinite as error:
        _write_nothing(cell, {**about, "status": "diverged", "message": str(error)})
        return
    write_atomically(cell / "samples.npy", functools.partial(shutil.copyfile, samples))
    about |= {
        "status": "finished",
        "model_sha256": model,
        "epochs": epochs,
        **bits,
        "seconds": seconds,
        **origin(devices.name(device), torch.get_num_threads()),
    }
    write(cell / "sampling.json", SamplingRecord.model_validate(about))


@dataclass(frozen=True)
class Sampler:
    """A trained generative model. knobs: of the training and of sampling. shape, classes: of a
    point, and of the dataset. space: from points to images.
    """

    cell: str
    knobs: Generative
    shape: tuple[int, ...]
    classes: int | None
    model: torch.nn.Module
    space: torch.nn.Module
    device: torch.device

    def sample(self, numbers: range) -> np.ndarray:
        """The images of these numbers, uint8 (n, c, h, w). Raises NotFinite."""
        about = (self.knobs, self.shape, self.classes)
        return self.images(sample_points(self.model, *about, numbers, self.device))

    def images(self, points: torch.Tensor) -> np.ndarray:
        """Points (n, d, h, w) to images, uint8 (n, c, h, w), rounded as the protocol of samples
        says. Raises NotFinite.
        """
        # A first stage would decode latents to some codevector, whose image is finite.
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
    """The generative model of a cell's folder. Raises CheckpointError, also for a first stage that
    is not the one that the model was trained on.
    """
    if stage1 is not None and digest(stage1 / "model.safetensors") != record.first_stage:
        raise CheckpointError(
            f"{stage1 / 'model.safetensors'}: not the first stage that {cell / 'train.json'} was "
            f"trained on; train the generative model again with --config retrain={record.cell}"
        )
    assert record.shape is not None, "every generative model's record has it"
    shape, space = tuple(record.shape), space_of(knobs, stage1, latents)
    model = build_generator(knobs, shape, record.classes, space)
    load_model(cell / "model.safetensors", record, model)
    model = model.to(device).requires_grad_(False)
    return Sampler(record.cell, knobs, shape, record.classes, model, space, device)


def _sample(sampler: Sampler, folder: Path, identity: str) -> tuple[Path, float]:
    """Make the samples by parts; returns their file in `folder` and the seconds that they took.

    identity: of model, knobs and versions. Samples that an interrupted run of the same identity
    left are used again.
    """
    file, about = folder / "samples.npy", folder / "samples.json"
    count, done, seconds = sampler.knobs.samples, 0, 0.0
    if about.exists():
        known = json.loads(about.read_text("utf-8"))
        if known["identity"] == identity:
            done, seconds = known["samples"], known["seconds"]
        else:
            about.unlink()
    while done < count:
        numbers = range(done, min(done + PART, count))
        start = time.perf_counter()
        images = sampler.sample(numbers)
        folder.mkdir(parents=True, exist_ok=True)
        if done:
            samples = np.load(file, mmap_mode="r+")
        else:
            samples = new_file(file, (count, *images.shape[1:]))
        samples[done : numbers.stop] = images
        samples.flush()
        done, seconds = numbers.stop, seconds + time.perf_counter() - start
        write_json(about, {"identity": identity, "samples": done, "seconds": seconds})
        left = seconds / done * (count - done)
        print(
            f"[{sampler.cell}] {done}/{count} samples  {int(left // 60)}:{int(left % 60):02d} left",
            flush=True,
        )
    return file, seconds


def _compare(sampler: Sampler, cell: Path) -> list[int]:
    """Write progress.npy and noise.npy; returns the epochs that progress.npy has samples of."""
    kept, _ = read_tensors(cell / "progress.safetensors")
    along = [sampler.images(kept[name]) for name in sorted(kept)]
    stream = generator(sampler.knobs.seed, Purpose.UNTRAINED)
    noise = sampler.space.noise((len(along[-1]), *sampler.shape), stream)  # type: ignore[operator]
    _write(cell / "progress.npy", np.stack(along))
    _write(cell / "noise.npy", sampler.images(noise))
    return [int(name) for name in sorted(kept)]


def _bits(sampler: Sampler, data: Path) -> dict[str, Any]:
    """How many bits a code of images takes that were kept for validation, the first CODED of them.

    Raises NotFinite.
    """
    loaded, labels = load_train(data), None
    if sampler.knobs.conditional:
        labels = load_labels(data)[len(loaded.train) :][:CODED]
    images = np.array(loaded.validation[:CODED])
    about = (sampler.model, sampler.space.to(sampler.device), images, labels, sampler.device)
    return {"bits": bits_of_a_code(*about), "coded_images": len(images)}


def _write_nothing(cell: Path, about: dict[str, Any]) -> None:
    """Write the files of a model that has no samples. about: the content of sampling.json."""
    for name in ("samples.npy", "progress.npy", "noise.npy"):
        _write(cell / name, np.empty(0, np.uint8))
    write(cell / "sampling.json", SamplingRecord.model_validate(about))


def _write(file: Path, array: np.ndarray) -> None:
    content = io.BytesIO()
    np.save(content, array)
    write_bytes(file, content.getvalue())


if __name__ == "__main__":
    parser = cli.measuring_parser("sample", __doc__ or "", "--data")
    parser.add_argument("--stage1", type=Path, help="folder of the first stage; none for pixels")
    parser.add_argument("--latents", type=Path, help="its latents or codes; none for pixels")
    cli.run(parser, devices.command(run))
