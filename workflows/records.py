"""What finished cells leave, held against what would be made today.

A record is train.json and evaluation.json, of a diffusion model sampling.json too. It fits if it
says today's settings, versions and images; a cell whose record fits counts as finished, wherever
and by whatever code of those versions it was made.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from workflows.files import digest

# What sampling a diffusion model reads.
MODELS = ("model.safetensors", "progress.safetensors")
# Stage -> the pictures that an evaluation leaves.
PICTURES = {1: ("reconstructions.png",), 2: ("samples.png", "neighbours.png")}
# A cell of the plan, as `planning.plan` has it.
Planned = Mapping[str, Any]


@dataclass(frozen=True)
class Today:
    """datasets: name -> split, or "labels" -> SHA-256 of its array. networks: SHA-256 of the metric
    networks' weights. Both are of what is prepared here; what is not counts as the same.
    """

    datasets: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    networks: frozenset[str] = frozenset()

    @classmethod
    def look(cls, cache: Path) -> Today:
        """What the prepared files below `cache` say; a damaged file says nothing."""
        datasets = {}
        for file in cache.glob("datasets/*/dataset.json"):
            about = _read(file) or {}
            parts = {part: about.get(part) for part in ("train", "test", "labels")}
            datasets[file.parent.name] = {
                part: found["sha256"]
                for part, found in parts.items()
                if isinstance(found, dict) and "sha256" in found
            }
        networks = [_read(file) or {} for file in cache.glob("weights/*.json")]
        return cls(datasets, frozenset(one["sha256"] for one in networks if "sha256" in one))


@dataclass(frozen=True)
class State:
    """untrained, unmeasured: in words, why the training and the evaluation do not count; empty if
    they do. commit: of the evaluation, empty where there is none.
    """

    untrained: tuple[str, ...] = ()
    unmeasured: tuple[str, ...] = ()
    recorded: bool = False
    commit: str = ""

    @property
    def finished(self) -> bool:
        """Whether the cell's numbers are those of today's settings, versions and images."""
        return not self.untrained and not self.unmeasured

    @property
    def outdated(self) -> str:
        """Why the numbers that a cell has are not today's; empty if they are, or it has none."""
        return "; ".join((*self.untrained, *self.unmeasured)) if self.recorded else ""


def state(planned: Planned, today: Today) -> State:
    """How far a cell is. A record that cannot be read counts as none."""
    folder = Path(planned["folder"])
    train = _read(folder / "train.json")
    evaluation = _read(folder / "evaluation.json")
    recorded = (folder / "metrics.csv").is_file()
    if train is None:
        return State(("not trained",), ("not measured",))
    if not train.get("versions"):
        return State(("made before there were versions",), (), recorded)
    try:
        untrained = tuple(_training(planned, train, today))
        # A step that is run again deletes its files first, and leaves what later steps made.
        if evaluation is None or not _whole(folder, evaluation, planned["stage"]):
            return State(untrained, ("not measured",))
        unmeasured = tuple(_evaluation(planned, folder, evaluation, today))
    except (KeyError, TypeError, AttributeError, OSError) as error:
        return State((f"its record cannot be read ({error})",), (), recorded)
    return State(untrained, unmeasured, True, evaluation.get("commit", ""))


def states(cells: Mapping[str, Planned], today: Today) -> dict[str, State]:
    """The state of every cell. What a diffusion model learned from a first stage that is outdated,
    or was trained again to another model, is outdated with it.
    """
    found = {name: state(planned, today) for name, planned in cells.items()}
    for name, planned in cells.items():
        first_stage = planned["knobs"].get("first_stage")
        if first_stage not in found:
            continue
        because = [f"first stage: {why}" for why in found[first_stage].untrained]
        own, below = (
            _read(Path(cells[one]["folder"], "train.json")) for one in (name, first_stage)
        )
        if not because and own and below and own.get("first_stage") != below.get("model_sha256"):
            because = ["trained on another first stage"]
        found[name] = replace(found[name], untrained=(*found[name].untrained, *because))
    return found


def _whole(folder: Path, evaluation: Mapping[str, Any], stage: int) -> bool:
    names = ("log.csv", *PICTURES[stage], *evaluation["files"])
    return all((folder / name).is_file() for name in names)


def filled(planned: Planned, knobs: Mapping[str, Any]) -> dict[str, Any]:
    """Recorded settings; one that did not exist when they were recorded had its default."""
    return {**{k: v for k, v in planned["defaults"].items() if k in planned["knobs"]}, **knobs}


def _training(planned: Planned, train: Mapping[str, Any], today: Today) -> Iterator[str]:
    # A folder that was copied or renamed holds the record of another cell, or of another budget.
    for key in ("cell", "budget"):
        if train[key] != planned[key]:
            yield f"{key} was {train[key]}, is {planned[key]}"
    sampled = planned["evaluation"].get("sampling", {})
    wanted = {k: v for k, v in planned["knobs"].items() if k not in sampled}
    yield from _differences(wanted, filled(planned, train["knobs"]), sampled)
    yield from _versions(planned["versions"], train)
    images = today.datasets.get(planned["knobs"]["dataset"], {})
    if train["images"] != planned["images"]:
        # Which of the array's images are for validation is the dataset's description to say.
        yield f"trained on {train['images']} images, is {planned['images']}"
    if images.get("train", train["dataset_sha256"]) != train["dataset_sha256"]:
        yield "trained on other images"
    labels = images.get("labels") if planned["knobs"].get("conditional") else None
    if labels is not None and train.get("labels_sha256") != labels:
        yield "trained with other labels"
    if train.get("progress_samples") != planned["evaluation"].get("progress_samples"):
        yield f"looked at {train.get('progress_samples')} samples along the training"
    yield from _networks(train, today, "trained")
    if planned.get("filmed") and not Path(planned["folder"], "film.safetensors").is_file():
        yield "its film is missing"


def _evaluation(
    planned: Planned, folder: Path, found: Mapping[str, Any], today: Today
) -> Iterator[str]:
    wanted, knobs = planned["evaluation"], planned["knobs"]
    for file in ("train.json", "sampling.json"):
        if file in found["files"] and digest(folder / file) != found["files"][file]:
            yield f"measured before the present {file} was made"
    sampled = _read(folder / "sampling.json") or {}
    # A model that diverged while it was trained has not been sampled, and its record says nothing
    # of sampling.
    if wanted.get("sampling") and (sampled.get("status") == "finished" or "versions" in sampled):
        yield from _differences(wanted["sampling"], filled(planned, sampled), ())
        yield from _versions(wanted["sampling_versions"], sampled)
    yield from _versions(wanted["versions"], found)
    missing = set(wanted["protocols"]) - set(found.get("protocols", ()))
    if missing:
        yield f"not measured {', '.join(sorted(missing))}"
    for key in ("fid_images", "lpips_images", "reference_images"):
        if key in wanted and found.get(key, wanted[key]) != wanted[key]:
            yield f"{key} was {found[key]}, is {wanted[key]}"
    split = "test" if planned["stage"] == 1 else "train"
    images = today.datasets.get(knobs["dataset"], {})
    known = found.get("dataset_sha256")
    if known is not None and images.get(split, known) != known:
        yield f"compared with other {split} images"
    yield from _networks(found, today, "measured")


def _differences(
    wanted: Mapping[str, Any], found: Mapping[str, Any], besides: Collection[str]
) -> Iterator[str]:
    """Settings that differ. besides: those that may be in `found` and do not count."""
    for key in sorted({*wanted, *found} - set(besides)):
        if key in wanted and wanted[key] != found.get(key):
            yield f"{key} was {found.get(key)}, is {wanted[key]}"


def _versions(wanted: Mapping[str, int], found: Mapping[str, Any]) -> Iterator[str]:
    versions = found.get("versions", {})
    for part, version in sorted(wanted.items()):
        if versions.get(part) != version:
            yield f"version of {part} was {versions.get(part)}, is {version}"


def _networks(found: Mapping[str, Any], today: Today, did: str) -> Iterator[str]:
    used = set(found.get("features", {}).values())
    if today.networks and not used <= today.networks:
        yield f"{did} with other metric networks"


def _read(file: Path) -> Mapping[str, Any] | None:
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


@dataclass(frozen=True)
class ToMake:
    """train, evaluate: ids of the cells that are to be trained, and measured. first_stages: of
    those whose latents are to be made.
    """

    train: frozenset[str]
    evaluate: frozenset[str]
    first_stages: frozenset[str]

    def __or__(self, other: ToMake) -> ToMake:
        """What either has."""
        return ToMake(
            self.train | other.train,
            self.evaluate | other.evaluate,
            self.first_stages | other.first_stages,
        )


def to_make(
    cells: Mapping[str, Planned],
    states: Mapping[str, State],
    again: Callable[[str], bool] = lambda _: False,
) -> ToMake:
    """What a run has to make so that every cell is finished whose dataset is here.

    again: whether a cell is asked to be trained again although it is finished. A first stage that
    a diffusion model needs is trained again where its model is not here, and with it the diffusion
    model, which was trained on the latents of the model that is gone.
    """
    here = [name for name in cells if not cells[name]["missing"]]
    train = {name for name in here if again(name) or states[name].untrained}
    evaluate = train | {name for name in here if not states[name].finished}
    train |= {name for name in evaluate if not _has_model(cells[name])}
    first_stages = set()
    for name in here:
        below = cells[name]["knobs"].get("first_stage")
        if below is None or not {name, below} & evaluate:
            continue
        if below in train or (name in evaluate and not _has_model(cells[below])):
            train |= {below, name}
            evaluate |= {below, name}
        if name in evaluate:
            first_stages.add(below)
    return ToMake(frozenset(train), frozenset(evaluate), frozenset(first_stages))


def _has_model(planned: Planned) -> bool:
    names = ("model.safetensors",) if planned["stage"] == 1 else MODELS
    return all(Path(planned["folder"], name).is_file() for name in names)
