"""A grid as jobs: what each computes, holds, leaves behind and waits for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from workflows.cell import Cell
from workflows.cost import counts
from workflows.cost.devices import Work, settings
from workflows.data import Dataset
from workflows.data.memory import SHARE
from workflows.diffusion_training import QUICK, moments
from workflows.evaluation import ALEX_SMALLEST, BATCH
from workflows.grid import Grid
from workflows.metrics.inception import FEATURES
from workflows.sampling import BATCH as SAMPLED
from workflows.training import WATCHED, record_marks, steps_per_epoch

FLOAT = 4
KINDS = (
    "prepare", "reference", "train", "evaluate", "latents", "train_diffusion", "sample",
    "evaluate_samples",
)  # fmt: skip


@dataclass(frozen=True)
class Job:
    """One step of one cell or dataset. after: names of the jobs that it waits for.

    memory: bytes on the device at most. main: bytes of main memory beside them. kept: bytes that
    it leaves on disk. meanwhile: bytes on disk that are gone when the cell is finished.
    """

    name: str
    kind: str
    work: Work
    after: tuple[str, ...] = ()
    memory: float = 0.0
    main: float = 0.0
    kept: float = 0.0
    meanwhile: float = 0.0

    @property
    def on_gpu(self) -> bool:
        """Whether it takes a GPU where there are any; decoding never does."""
        return self.kind != "prepare"


def jobs(grid: Grid, datasets: Mapping[str, Dataset]) -> list[Job]:
    """Every job of a budget but the rendering of tables and pages, which takes minutes in all."""
    budget = _Budget(grid, datasets)
    wanted = {cell.knobs["dataset"] for cell in grid.cells.values()}
    found = [budget.prepare(datasets[name]) for name in sorted(wanted)]
    for name in sorted(wanted):
        found += budget.references(datasets[name])
    for cell in grid.cells.values():
        found += budget.first_stage(cell) if cell.stage == 1 else budget.diffusion(cell)
    return found


@dataclass(frozen=True)
class _Budget:
    grid: Grid
    datasets: Mapping[str, Dataset]

    def prepare(self, about: Dataset) -> Job:
        size = about.image_size**2 * about.channels
        count = about.images["train"] + about.images["test"]
        pixels = count * about.image_size**2 / 1e6
        host = pixels * settings()["host"]["decode_seconds_per_megapixel"]
        work = Work(host=host)
        main = settings()["process_bytes"]
        return Job(f"prepare {about.name}", "prepare", work, main=main, kept=count * size)

    def references(self, about: Dataset) -> Iterator[Job]:
        cells = [c for c in self.grid.cells.values() if c.knobs["dataset"] == about.name]
        after = (f"prepare {about.name}",)
        measured = (self.grid.protocols(cell.id) for cell in cells if cell.stage == 1)
        for protocol in sorted({name for names in measured for name in names}):
            count = self._first(about.images["test"], "fid_images")
            yield self._reference(f"reference {about.name} {protocol}", about, count, after)
        if any(cell.stage == 2 for cell in cells):
            count = self._training_reference(about)
            yield self._reference(f"reference {about.name} train", about, count, after)

    def _reference(self, name: str, about: Dataset, count: int, after: tuple[str, ...]) -> Job:
        inception = counts.metric("inception", about.image_size)
        pictures = _pictures(count, about)
        return Job(
            name, "reference", Work(inference=count * inception.forward, host=pictures), after,
            inception.copies + BATCH * inception.widest, settings()["process_bytes"],
            count * FEATURES * FLOAT,
        )  # fmt: skip

    def first_stage(self, cell: Cell) -> Iterator[Job]:
        knobs, about = cell.knobs, self.datasets[cell.knobs["dataset"]]
        network = counts.autoencoder(knobs, about.channels, about.image_size)
        codes = counts.quantiser(knobs, network.latents)
        images, batch = _trained_on(knobs, about), knobs["batch_size"]
        train = f"train {cell.id}"
        quantiser = knobs["codebook_size"] * knobs["code_dim"]
        size = network.whole.copies + FLOAT * 4 * quantiser
        yield Job(
            train,
            "train",
            training_work(knobs, about),
            (f"prepare {about.name}",),
            size
            + min(batch, images) * (network.whole.activations + codes.activations)
            + _held(images * _pixels(about)),
            settings()["process_bytes"] + _held(images * _pixels(about)),
            FLOAT * (network.whole.parameters + quantiser) + settings()["record_bytes"],
            size * 3 / 4,
        )
        inception, tests = counts.metric("inception", about.image_size), about.images["test"]
        fid = self._first(tests, "fid_images")
        lpips = self._first(tests, "lpips_images")
        names = ["vgg", *(["alex"] if about.image_size >= ALEX_SMALLEST else [])]
        distances = [counts.metric(name, about.image_size) for name in names]
        protocols = self.grid.protocols(cell.id)
        each = fid * inception.forward + lpips * sum(one.forward for one in distances)
        host = _pictures(tests, about) + self._distances(fid, fid)
        pairs = tests * codes.pairs
        once = tests * (network.whole.forward + codes.operations)
        yield Job(
            f"evaluate {cell.id}",
            "evaluate",
            Work(
                inference=once + len(protocols) * each, pairs=pairs, kind=kind_of(knobs),
                host=len(protocols) * host,
            ),
            (train, *(f"reference {about.name} {name}" for name in protocols)),
            network.whole.parameters * FLOAT
            + inception.copies
            + sum(one.copies for one in distances)
            + BATCH * max(one.widest for one in (network.whole, inception, *distances)),
            settings()["process_bytes"] + len(protocols) * fid * FEATURES * FLOAT * 3,
        )  # fmt: skip
        if any(other.first_stage == cell.id for other in self.grid.cells.values()):
            count = about.images["train"] - about.validation
            points = count * network.latents * knobs["code_dim"] * FLOAT
            yield Job(
                f"latents {cell.id}", "latents", Work(inference=count * network.encoder), (train,),
                FLOAT * network.whole.parameters + SAMPLED * network.whole.widest,
                settings()["process_bytes"], points,
            )  # fmt: skip

    def diffusion(self, cell: Cell) -> Iterator[Job]:
        knobs, about = cell.knobs, self.datasets[cell.knobs["dataset"]]
        first = self.grid.cells[cell.first_stage] if cell.first_stage else None
        channels, side, decoder = about.channels, about.image_size, 0.0
        widest = 0
        if first is not None:
            network = counts.autoencoder(first.knobs, channels, side)
            channels, side = first.knobs["code_dim"], round(network.latents**0.5)
            codes = counts.quantiser(first.knobs, network.latents)
            decoder = network.whole.forward - network.encoder + codes.operations
            widest = network.whole.widest
        backbone = counts.backbone(knobs, channels, side, about.classes)
        images, point = _trained_on(knobs, about), channels * side**2
        steps = steps_per_epoch(images, knobs["batch_size"]) * knobs["epochs"]
        shown = len(moments(knobs["epochs"])) * self._generation["progress_samples"]
        looked = shown * min(QUICK["sampling_steps"], knobs["noise_steps"]) * backbone.forward
        train, sample = f"train {cell.id}", f"sample {cell.id}"
        bytes_of = FLOAT if first is not None else 1
        yield Job(
            train,
            "train_diffusion",
            Work(
                knobs["epochs"] * images * backbone.step, looked, knobs["precision"], steps
            ),
            (f"latents {first.id}" if first else f"prepare {about.name}",),
            backbone.copies + min(knobs["batch_size"], images) * backbone.activations,
            settings()["process_bytes"] + _held(images * point * bytes_of),
            FLOAT * (backbone.parameters + shown * point) + settings()["record_bytes"],
            backbone.copies * 4 / 5 + FLOAT * shown * point,
        )  # fmt: skip
        passes = 2 if knobs["conditional"] and knobs["guidance"] != 1 else 1
        count = knobs["samples"]
        noise = self._generation["progress_samples"]
        made = count * knobs["sampling_steps"] * passes * backbone.forward
        decoded = (count + shown + noise) * decoder
        yield Job(
            sample, "sample", Work(inference=made + decoded), (train,),
            FLOAT * backbone.parameters + SAMPLED * passes * max(backbone.widest, widest),
            settings()["process_bytes"],
            meanwhile=(2 * count + shown + noise) * _pixels(about),
        )  # fmt: skip
        inception, real = (
            counts.metric("inception", about.image_size),
            self._training_reference(about),
        )
        yield Job(
            f"evaluate_samples {cell.id}",
            "evaluate_samples",
            Work(
                inference=(count + shown + noise) * inception.forward,
                host=self._distances(real, count, manifold=True)
                + (shown / noise + 1) * self._distances(real, noise, kernel=False),
            ),
            (sample, f"reference {about.name} train"),
            inception.copies + BATCH * inception.widest,
            settings()["process_bytes"] + FEATURES * FLOAT * count,
            settings()["record_bytes"],
        )

    @property
    def _evaluation(self) -> Mapping[str, Any]:
        return self.grid.budget["evaluation"]

    @property
    def _generation(self) -> Mapping[str, Any]:
        return self.grid.budget["generation"]

    def _first(self, images: int, key: str) -> int:
        return min(images, self._evaluation[key] or images)

    def _training_reference(self, about: Dataset) -> int:
        images = about.images["train"] - about.validation
        return min(images, self._generation["reference_images"] or images)

    def _distances(
        self, real: int, made: int, kernel: bool = True, manifold: bool = False
    ) -> float:
        """Seconds of Fréchet distance; KID; precision and recall: 2 D operations a pair of rows."""
        side = max(real, made)
        # Which of its two matrices the Fréchet distance takes, and that one's eigenvalues.
        pairs = float(real * made if side < FEATURES else (real + made) * FEATURES)
        pairs += 10.0 * min(side, FEATURES) ** 3 / FEATURES
        if kernel:
            pairs += real**2 / 2 + made**2 / 2 + real * made
        if manifold:
            pairs += real**2 + made**2 + 2 * real * made
        return 2 * FEATURES * pairs / settings()["host"]["float64_rate"]


def training_work(knobs: Mapping[str, Any], about: Dataset) -> Work:
    """What training an autoencoder computes, the looks at the validation images among it."""
    network = counts.autoencoder(knobs, about.channels, about.image_size)
    codes = counts.quantiser(knobs, network.latents)
    images = _trained_on(knobs, about)
    steps, epochs = steps_per_epoch(images, knobs["batch_size"]), knobs["epochs"]
    silent = min(1.0, knobs.get("adversarial_start", 0) / (steps * epochs))
    step = silent * network.silent + (1 - silent) * network.whole.step + codes.step
    watched = epochs * len(record_marks(steps, epochs)) * min(WATCHED, about.validation)
    return Work(
        epochs * images * step,
        watched * (network.encoder + codes.operations),
        knobs["precision"],
        steps * epochs,
        (epochs * images + watched) * codes.pairs,
        kind_of(knobs),
    )


def kind_of(knobs: Mapping[str, Any]) -> str:
    """How a quantiser goes over the pairs of latents and codevectors, as devices.yaml calls it."""
    if knobs["method"] == "sq_vae":
        return "stochastic"
    return "contrastive" if knobs.get("contrastive") else "plain"


def _trained_on(knobs: Mapping[str, Any], about: Dataset) -> int:
    images = about.images["train"] - about.validation
    return min(images, knobs["train_images"] or images)


def _pixels(about: Dataset) -> int:
    return about.channels * about.image_size**2


def _held(size: float) -> float:
    """Bytes of an array that are in memory, beside a file that is read as it is needed."""
    return size if size <= SHARE * settings()["devices"]["gpu"]["memory"] else 0.0


def _pictures(count: int, about: Dataset) -> float:
    rate = settings()["host"]["picture_seconds_per_megapixel"]
    return count * about.image_size**2 / 1e6 * rate
