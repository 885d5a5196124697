"""From data to numbers by the steps' command lines, and what they refuse."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

from tests.knobs import LARGE
from tests.steps.conftest import Chain, Command, Refused, evaluation_of, spec_of
from workflows.config.names import METRICS
from workflows.config.plan import PlannedCell
from workflows.data.weight_sources import SOURCES
from workflows.evaluation.reconstructions import COLUMNS
from workflows.files import digest, hold_lock, write_json
from workflows.records.collect import measurements
from workflows.records.state import State
from workflows.training.stage1 import LOG_COLUMNS
from workflows.training.tensor_files import open_rows, read_tensors, save_tensors, write_rows


def test_the_larger_network_trains_with_the_distance_it_names(
    chain: Chain, tmp_path: Path, command: Command
) -> None:
    small = {"train_images": 8, "batch_size": 4, "epochs": 1, "adversarial_start": 1}
    spec = spec_of("vq_vae", **{**LARGE, **small})
    options = ["--spec", spec, "--data", chain.data, "--out", tmp_path, "--threads", 1]
    command("train", *options)
    record = json.loads((tmp_path / "train.json").read_text())
    network = SOURCES["lpips_vgg"]
    assert record["features"] == {network.features: network.sha256}
    log = pd.read_csv(tmp_path / "log.csv")
    assert len(log) == 2
    assert (log["loss"] != log["reconstruction"]).all()


def test_training_leaves_a_model_a_log_and_a_record(chain: Chain) -> None:
    record = json.loads((chain.cell / "train.json").read_text())
    assert record["status"] == "finished"
    assert (record["epochs"], record["steps"], record["images"]) == (2, 4, 64)
    spec = json.loads(spec_of())
    for key in ("budget", "cell", "knobs", "versions"):
        assert record[key] == spec[key], key
    log = pd.read_csv(chain.cell / "log.csv")
    assert list(log.columns) == LOG_COLUMNS
    assert list(log["step"]) == [1, 2, 3, 4]
    assert np.isfinite(log).all(axis=None)
    # The console shows both: the loss may rise while reconstructions get better.
    said = [line for line in chain.said.splitlines() if "reconstruction" in line]
    assert len(said) == len(log)
    for line, record in zip(said, log.itertuples(), strict=True):
        assert f"loss {record.loss:.4g}  reconstruction {record.reconstruction:.4g}  " in line


def test_evaluation_leaves_numbers_codes_and_a_picture(chain: Chain) -> None:
    metrics = pd.read_csv(chain.cell / "metrics.csv", keep_default_na=False)
    assert list(metrics.columns) == COLUMNS
    assert set(metrics["protocol"]) == {"exact"}
    assert set(metrics["metric"]) <= set(METRICS)
    assert np.isfinite(metrics["value"]).all()
    by_metric = metrics.set_index("metric")
    assert list(by_metric["images"].loc[["l1", "LPIPS", "rFID", "usage"]]) == [1000, 8, 8, 1000]
    for metric, network in (("LPIPS", "lpips_vgg"), ("rFID", "inception"), ("KID", "inception")):
        assert by_metric["features"][metric] == SOURCES[network].features
    assert list(by_metric["features"].loc[["l1", "PSNR", "SSIM", "usage"]]) == [""] * 4

    codes = pd.read_csv(chain.cell / "codes.csv")
    assert list(codes.columns) == ["code", "count"]
    assert list(codes["code"]) == list(range(32))
    assert codes["count"].sum() == 1000 * 7 * 7
    assert (codes["count"] > 0).mean() == by_metric["value"]["usage"]
    assert Image.open(chain.cell / "reconstructions.png").size == (8 * 28, 2 * 28)


def cut(file: Path, copy: Path) -> Path:
    """The file without its last bytes."""
    content = file.read_bytes()
    copy.write_bytes(content[: len(content) - len(content) // 3])
    return copy


def test_a_model_of_values_that_are_not_finite_is_a_result(
    chain: Chain, tmp_path: Path, command: Command
) -> None:
    """It is measured, collected and shown as a training that diverged is."""
    cell = tmp_path / "cell"
    shutil.copytree(chain.cell, cell)
    tensors, about = read_tensors(cell / "model.safetensors")
    name = next(name for name in tensors if name.startswith("decoder"))
    save_tensors(cell / "model.safetensors", {**tensors, name: tensors[name] * np.nan}, about)
    record = json.loads((cell / "train.json").read_text())
    record["model_sha256"] = digest(cell / "model.safetensors")
    write_json(cell / "train.json", record)
    command("evaluate", *chain.evaluate("--cell", cell))
    found = json.loads((cell / "evaluation.json").read_text())
    message = "the model's images hold values that are not finite (78400 of 78400)"
    assert (found["status"], found["message"]) == ("diverged", message)
    assert (cell / "metrics.csv").read_text() == ",".join(COLUMNS) + "\n"
    assert pd.read_csv(cell / "codes.csv")["count"].sum() == 1000 * 7 * 7
    assert Image.open(cell / "reconstructions.png").size == (8 * 28, 2 * 28)

    wanted = json.loads(evaluation_of())
    planned = {"folder": str(cell), "knobs": record["knobs"], "missing": None, "defaults": {}}
    planned |= {"versions": {}, "images": 64, "filmed": False, "evaluation": wanted}
    (line,) = measurements(
        record["cell"], PlannedCell.model_validate(planned), "smoke", State(recorded=True)
    )
    assert (line["status"], line["note"]) == ("diverged", f"evaluation: {message}")
    assert line["value"] is None


def test_reference_features_of_others_are_refused(
    chain: Chain, tmp_path: Path, refused: Refused
) -> None:
    features, metadata = open_rows(chain.reference, "features")
    wanted = metadata["sha256"]
    file = tmp_path / "reference.safetensors"
    options = chain.evaluate("--reference", file)

    def fill(rows: np.ndarray) -> dict[str, str]:
        rows[:] = features
        return {**metadata, "sha256": "0" * 64}

    write_rows(file, "features", features.shape, fill)
    message = f"evaluate: {file}: sha256 is {'0' * 64}, must be {wanted}"
    assert message in refused("evaluate", *options)
    cut(chain.reference, file)
    assert f"evaluate: {file}: damaged" in refused("evaluate", *options)
    options = chain.evaluate("--evaluation", evaluation_of(protocols=["as_published"]))
    message = f"{chain.reference}: protocol is exact, must be as_published"
    assert message in refused("evaluate", *options)


def test_a_truncated_test_split_is_refused(chain: Chain, tmp_path: Path, refused: Refused) -> None:
    shutil.copy(chain.data / "dataset.json", tmp_path)
    file = cut(chain.data / "test.npy", tmp_path / "test.npy")
    places = ["--data", tmp_path, "--out", tmp_path / "features"]
    assert f"reference: {file}: " in refused("reference", *places, "--protocol", "exact")
    assert f"evaluate: {file}: " in refused("evaluate", *chain.evaluate("--data", tmp_path))


def test_an_unknown_protocol_is_refused(chain: Chain, tmp_path: Path, refused: Refused) -> None:
    message = "protocol 'exakt' is unknown; did you mean exact? allowed: as_published, exact"
    places = ["--data", chain.data, "--out", tmp_path / "features"]
    assert message in refused("reference", *places, "--protocol", "exakt")
    assert message in refused(
        "evaluate", *chain.evaluate("--evaluation", evaluation_of(protocols=["exakt"]))
    )


def test_a_locked_cell_is_not_trained_twice(chain: Chain, tmp_path: Path, refused: Refused) -> None:
    options = ["--spec", spec_of(), "--data", chain.data, "--out", tmp_path, "--threads", 1]
    lock = tmp_path / "state" / "lock"
    with hold_lock(lock):
        assert f"train: {lock}: held by process {os.getpid()}" in refused("train", *options)


def test_training_refuses_damaged_data_and_state(
    chain: Chain, tmp_path: Path, refused: Refused
) -> None:
    options = ["--spec", spec_of(), "--data", chain.data, "--out", tmp_path]
    (tmp_path / "state").mkdir()
    state = cut(chain.cell / "model.safetensors", tmp_path / "state" / "last.safetensors")
    assert f"{state}: damaged" in refused("train", *options)
    shutil.copy(chain.data / "dataset.json", tmp_path)
    file = cut(chain.data / "train.npy", tmp_path / "train.npy")
    assert f"train: {file}: " in refused("train", *options, "--data", tmp_path)
    assert "train: " in refused("train", *options, "--spec", "{")
