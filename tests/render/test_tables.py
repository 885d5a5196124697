"""Tables from made-up measurements: joins, differences, failures and what is refused."""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from tests import plans
from workflows import registry
from workflows.config.datasets import read_datasets
from workflows.config.grid import load_grid
from workflows.config.lines import Measured, Published, read_csv
from workflows.config.plan import Absent, Plan, PlannedDataset
from workflows.config.planning import make_plan
from workflows.errors import ConfigError
from workflows.knobs import Training
from workflows.records.published import as_number, read_published
from workflows.registry import parse_knobs
from workflows.render import captions
from workflows.render.blocks import blocks
from workflows.render.numbers import shown
from workflows.render.tables import caption, latex, markdown, printed, tidy

PUBLISHED = Path(__file__).parents[2] / "results" / "published"
DATASETS = read_datasets()
ROWS = ["zeta, offline", "alpha, online"]
NETWORK = "inception (made up)"
VQGAN = {"network": "vqgan", "network_channels": 32, "downsampling": 4, "adversarial_start": 2}


@cache
def real_plan(budget: str) -> Plan:
    """What a budget of the project shows."""
    return make_plan(load_grid(budget, DATASETS), DATASETS, {})


def plan_of(
    dataset: str, seeds: int = 1, stand_in_for: str | None = None, stage: int = 1, **changes: Any
) -> Plan:
    names = {
        (row, seed): f"{dataset}/m/{row[:4]}/seed{seed}" for row in ROWS for seed in range(seeds)
    }
    cells = {
        name: plans.cell(dataset=dataset, seed=seed, epochs=8, batch_size=64)
        for (_, seed), name in names.items()
    }
    return plans.plan(
        cells,
        [("anchors", row, name) for (row, _), name in names.items()],
        **{
            "title": "made_up: 100% invented",
            "tables": {"anchors": plans.table(ROWS, title="Anchors", stage=stage)},
            "datasets": {
                dataset: PlannedDataset(
                    title=f"<{dataset}>", stand_in_for=stand_in_for, images=3600
                )
            },
            **changes,
        },
    )


def with_knobs(plan: Plan, names: Iterable[str], **knobs: Any) -> Plan:
    """The plan with other knobs of some of its cells."""
    changed = {
        name: plan.cells[name].model_copy(
            update={"knobs": parse_knobs(plans.knobs(**{**plan.knobs(name).model_dump(), **knobs}))}
        )
        for name in names
    }
    return plan.model_copy(update={"cells": {**plan.cells, **changed}})


def measured_of(
    plan: Plan, protocols: tuple[str, ...] = ("exact", "as_published"), **changes: dict[str, Any]
) -> pd.DataFrame:
    """rFID 2 + seed and usage 0.5 for every cell; changes: row's first word -> other columns."""
    lines = []
    for line in plan.rows:
        knobs = plan.knobs(line.cell)
        base = {
            **line.model_dump(),
            **knobs.model_dump(include={"dataset", "seed", "epochs"}),
            "status": "ok",
            "budget": "made_up",
            "features": "",
            "note": "",
            **changes.get(line.row.split(",")[0], {}),
        }
        if base["status"] != "ok":
            lines.append({**base, "protocol": "all", "metric": "all"})
            continue
        for protocol in protocols:
            fid = {"metric": "rFID", "value": 2.0 + knobs.seed, "features": NETWORK}
            lines.append({**base, "protocol": protocol, "images": 64, **fid})
            usage = {"metric": "usage", "value": 0.5}
            lines.append({**base, "protocol": protocol, "images": 1000, **usage})
    return pd.DataFrame(lines, columns=list(Measured.model_fields))


def published_of(dataset: str = "mnist") -> pd.DataFrame:
    line = {"table": "anchors", "row": ROWS[0], "dataset": dataset, "protocol": "as_published"}
    lines = [
        {**line, "metric": "rFID", "value": "2.50"},
        {**line, "metric": "usage", "value": "100.0%"},
    ]
    return pd.DataFrame(lines, columns=list(Published.model_fields)).astype(object).fillna("")


def render(plan: Plan, measured: pd.DataFrame) -> list:
    return blocks(plan, measured, published_of(), "anchors")


def test_difference_is_ours_minus_published_under_its_protocol_alone() -> None:
    plan = plan_of("mnist")
    # Rows keep the order of the experiment, whatever that of the measurements.
    found = render(plan, measured_of(plan).iloc[::-1])
    assert [block.protocol for block in found] == ["exact", "as_published"]
    assert list(tidy(found)["row"]) == ROWS * 2
    exact, as_published = (printed(block, plan) for block in found)
    assert list(exact.columns) == ["row", "rFID (N = 64)", "usage (%)"]
    assert as_published.to_dict("list") == {
        "row": ROWS,
        "rFID (N = 64)": ["2.00", "2.00"],
        "rFID published": ["2.50", "n/a"],
        "rFID difference": ["-0.50", "n/a"],
        "usage (%)": ["50.0", "50.0"],
        "usage published": ["100.0%", "n/a"],
        "usage difference": ["-50.0", "n/a"],
    }


@pytest.mark.parametrize(
    ("dataset", "real", "protocol", "name"),
    [
        ("mnist_5k", "mnist", "as_published", "rFID published (MNIST)"),
        ("mnist", "mnist", "exact", "rFID published"),
        # The same photographs at another size.
        ("ffhq_64", "ffhq", "as_published", "rFID published (FFHQ)"),
    ],
)
def test_no_difference_from_another_dataset_or_protocol(
    dataset: str, real: str, protocol: str, name: str
) -> None:
    plan = plan_of(dataset, stand_in_for="mnist" if dataset == "mnist_5k" else None)
    (block,) = blocks(plan, measured_of(plan, (protocol,)), published_of(real), "anchors")
    frame = printed(block, plan)
    assert not any("difference" in column for column in frame.columns)
    assert list(frame[name]) == ["2.50", "n/a"]
    assert "no difference is taken" in caption(block, plan)
    assert tidy([block])["rFID difference"].isna().all()


def test_a_row_without_numbers_stays_and_says_why() -> None:
    plan = plan_of("mnist")
    changes = {"status": "diverged", "note": "the loss became nan in epoch 3"}
    found = render(plan, measured_of(plan, zeta=changes))
    frame = printed(found[-1], plan)
    assert list(frame["rFID (N = 64)"]) == ["n/a", "2.00"]
    assert list(frame["note"]) == [f"diverged: {changes['note']}", ""]
    assert list(frame["rFID published"]) == ["2.50", "n/a"]
    assert list(tidy(found)["status"]) == ["diverged", "ok"] * 2
    measured = measured_of(plan)
    found = render(plan, measured[measured["row"] != ROWS[1]])
    assert list(printed(found[-1], plan)["note"]) == ["", "not measured"]
    gone = {"status": "dataset_missing", "note": "put it there"}
    (block,) = render(plan, measured_of(plan, zeta=gone, alpha=gone))
    assert list(printed(block, plan)["note"]) == ["dataset missing: put it there"] * 2
    assert "Nothing measured" in caption(block, plan)
    assert "put it there" in latex([block], plan)


def test_several_seeds_are_a_mean_with_an_interval() -> None:
    """Values 2, 3 and 4: half of the interval is 4.3027 / sqrt 3."""
    plan = plan_of("mnist", seeds=3)
    found = render(plan, measured_of(plan))
    assert list(printed(found[-1], plan)["rFID (N = 64)"]) == ["3.00 ± 2.48"] * 2
    assert "3 seeds (mean ± half of its 95 % interval" in caption(found[-1], plan)
    assert list(tidy(found)["rFID high"]) == pytest.approx([5.484] * 4, abs=1e-3)


@pytest.mark.parametrize(
    ("other", "best"),
    [([3.0, 4.1, 5.0], True), ([1.0, 4.0, 5.0], False), ([2.0, 3.0, 4.0], False)],
    ids=["supported", "within the interval", "tie"],
)
def test_only_a_supported_difference_is_bold(other: list[float], best: bool) -> None:
    plan = plan_of("mnist", seeds=3)
    measured = measured_of(plan)
    for seed, value in enumerate(other):
        one = (
            measured["row"].eq(ROWS[1]) & measured["seed"].eq(seed) & measured["metric"].eq("rFID")
        )
        measured.loc[one, "value"] = value
    found = render(plan, measured)
    assert ("**3.00 ± 2.48**" in markdown(found, plan)) == best
    assert (r"\textbf{3.00 ± 2.48}" in latex(found, plan)) == best
    assert "**50.0" not in markdown(found, plan)


@pytest.mark.parametrize(
    ("epochs", "note"), [(3, "3 of 8 epochs, batch 8"), (8, "batch 8")], ids=str
)
def test_a_row_of_another_batch_says_its_own(epochs: int, note: str) -> None:
    plan = with_knobs(plan_of("mnist"), ["mnist/m/alph/seed0"], batch_size=8)
    found = render(plan, measured_of(plan, alpha={"epochs": epochs}))
    assert list(printed(found[-1], plan)["note"]) == ["", note]
    assert "images at batch 8 or 64" in caption(found[-1], plan)


def test_markdown_keeps_trailing_noughts_and_latex_is_escaped() -> None:
    plan = plan_of("mnist")
    found = render(plan, measured_of(plan))
    text = markdown(found, plan)
    assert "| zeta, offline |            2.00 |             2.50 |             -0.50 |" in text
    assert f"rFID: {NETWORK}." in text
    assert "rFID over fewer images is biased upwards" in text
    tex = latex(found, plan)
    assert r"made\_up: 100\% invented" in tex
    assert r"zeta, offline & 2.00 & 2.50 & -0.50 & 50.0 & 100.0\% & -50.0 \\" in tex
    assert tex.count(r"\begin{table}") == tex.count(r"\bottomrule") == 2


def test_reading_and_printing_values() -> None:
    assert as_number("100.0%") == 1
    assert as_number("0.0282") == 0.0282
    assert shown("usage", 0.5) == "50.0"
    assert shown("rFID", -0.001, sign=True) == "0.00"
    assert shown("SSIM", float("nan")) == "n/a"


def test_published_numbers_are_complete_and_of_known_rows() -> None:
    counts = {
        "anchors": 16,
        "generation_ffhq_imagenet": 10,
        "generation_lsun": 14,
        "methods": 19,
        "reference_generation_and_first_stage": 45,
        "reference_third_party_online_vq": 95,
        "reinitialisation": 21,
    }
    files = {file.stem: len(read_csv(file, Published)) for file in PUBLISHED.glob("[!.]*.csv")}
    assert files == counts
    used = read_published(PUBLISHED, real_plan("lite"))
    assert len(used) == 16 + 10 + 14 + 19 + 21
    anchors = used[used["table"] == "anchors"].set_index(["dataset", "row"])["value"]
    assert anchors["mnist", "closest, online"] == "2.59"
    assert anchors["cifar10", "random, offline"] == "34.49"
    assert anchors["mnist", "random, offline"] == "3.20"


NUMBER = {
    "table": "code_dimension", "row": "CVQ-VAE, D = 8", "dataset": "mnist",
    "protocol": "as_published", "metric": "rFID", "value": "1.80", "source": "made up",
    "evidence": "none", "note": "",
}  # fmt: skip


def test_a_published_row_that_the_budget_leaves_out_is_kept(tmp_path: Path) -> None:
    pd.DataFrame([NUMBER]).to_csv(tmp_path / "one.csv", index=False)
    # What a file manager leaves beside the file is no number.
    (tmp_path / "._one.csv").write_bytes(b"\x00\x05\x16\x07Mac OS X")
    (tmp_path / ".DS_Store").write_bytes(b"\x00\x00\x00\x01Bud1")
    plan = real_plan("smoke")
    assert NUMBER["row"] not in plan.tables["code_dimension"].order
    assert len(read_published(tmp_path, plan)) == 1


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("table", "code_dimensions", "did you mean code_dimension, .*allowed: anchors, "),
        ("row", "CVQ-VAE, D = 9", "did you mean CVQ-VAE, D = 8; .*allowed: VQ-VAE, D = 4; "),
        ("dataset", "mnits", "did you mean mnist"),
        ("metric", "FID", "did you mean rFID.*allowed: SSIM, LPIPS, rFID, usage, perplexity"),
    ],
)
def test_a_published_number_without_a_place_is_refused_by_name(
    tmp_path: Path, key: str, value: str, message: str
) -> None:
    """It would be missing from tables, verdicts and site, without a word."""
    file = tmp_path / "one.csv"
    lines = pd.DataFrame([NUMBER | {"row": "CVQ-VAE, D = 4"}, NUMBER | {key: value}])
    lines.to_csv(file, index=False)
    where = f"{re.escape(str(file))}: line 3: .*{key} '{value}' is unknown; "
    with pytest.raises(ConfigError, match=where + message):
        read_published(tmp_path, real_plan("smoke"))
    # What other papers report is context and has no place in a table.
    file.rename(tmp_path / "reference_one.csv")
    pd.DataFrame([NUMBER]).to_csv(file, index=False)
    assert len(read_published(tmp_path, real_plan("smoke"))) == 1


def test_two_values_for_one_place_are_refused(tmp_path: Path) -> None:
    text = (PUBLISHED / "anchors.csv").read_text()
    (tmp_path / "one.csv").write_text(text)
    (tmp_path / "two.csv").write_text(text)
    with pytest.raises(ConfigError, match="two values for anchors, random, offline, mnist, rFID"):
        read_published(tmp_path, real_plan("lite"))


def test_rows_of_a_dataset_that_the_budget_lacks_are_printed() -> None:
    gone = Absent(table="anchors", dataset="cifar10", rows=[ROWS[0]], note="not here")
    plan = plan_of("mnist", absent=[gone])
    published = published_of("cifar10").assign(evidence="poster text")
    found = blocks(plan, measured_of(plan), published, "anchors")
    assert [block.dataset for block in found] == ["mnist", "mnist", "cifar10"]
    (_, last) = markdown(found, plan).split("## CIFAR10")
    line = next(line for line in last.splitlines() if "zeta" in line)
    cells = [cell.strip() for cell in line.split("|")[1:-1]]
    assert cells == [ROWS[0], "n/a", "2.50", "n/a", "100.0%", "not here"]
    assert "Nothing measured" in last
    assert "Published: poster text." in last
    assert "2.50" in latex(found, plan)
    assert tidy(found).iloc[-1]["status"] == "not_at_this_budget"


def test_a_caption_says_of_published_numbers_what_is_known() -> None:
    known = "which is 500 epochs and 10,000 test images"
    unknown = "whose length and number of images are not known"
    for dataset, words in (("mnist", known), ("ffhq", unknown)):
        plan = plan_of(dataset)
        published = published_of(dataset).assign(evidence=["seen", "quoted by others"])
        *before, last = blocks(plan, measured_of(plan), published, "anchors")
        assert f"Difference: ours minus published, {words}." in caption(last, plan)
        assert "Published: seen; quoted by others." in caption(last, plan)
        # No published number stands there.
        assert all("Published" not in caption(block, plan) for block in before)


@pytest.mark.parametrize(
    ("wanted", "words"),
    [(2000, "the first 2,000 of 3,600"), (5000, "all 3,600"), (None, "all 3,600")],
)
def test_a_caption_says_how_many_training_images_samples_are_held_against(
    wanted: int | None, words: str
) -> None:
    plan = plan_of("mnist", stage=2, reference_images=wanted)
    (block,) = blocks(plan, measured_of(plan, ("samples",)), published_of(), "anchors")
    assert f"N samples against {words} training images." in caption(block, plan)
    nothing = measured_of(plan, ("samples",)).iloc[:0]
    (block,) = blocks(plan, nothing, published_of(), "anchors")
    assert "N samples" not in caption(block, plan)


def test_networks_that_budgets_make_smaller_are_described() -> None:
    unet = {"unet_channels": 48, "unet_multipliers": [1, 2, 2], "sampling_steps": 50}
    asked = "U-Net of 48 channels times 1, 2, 2, 50 sampling steps"
    guided = {"conditional": True, "label_dropout": 0.1, "guidance": 2.0}
    for more, words in (({"guidance": 1.0}, asked), (guided, f"{asked}, guidance 2")):
        assert captions.described(plans.cell(method="ddpm", **unet, **more).knobs) == words
    vqgan = plans.cell(**VQGAN, perceptual_network="alex").knobs
    assert captions.described(vqgan) == (
        "VQGAN of 32 channels, f = 4, with AlexNet's LPIPS and a critic from step 2"
    )
    assert captions.described(plans.cell().knobs) == ""


@pytest.mark.parametrize(
    ("codes", "words"),
    [(16, "16 codes of 4 dimensions"), (None, "no codebook, latents of 4 dimensions")],
)
def test_a_codebook_that_is_no_setting_is_described(
    codes: int | None, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    method = registry.Method(
        lambda knobs, steps: None, Training, codes=lambda _: codes, dim=lambda _: 4
    )
    monkeypatch.setitem(registry.METHODS, "toy", method)
    knobs = {"dataset": "own", "method": "toy", "seed": 0, "epochs": 1, "batch_size": 8}
    knobs |= {"learning_rate": 0.1, "precision": "fp32", "train_images": None}
    assert captions.described(Training.model_validate(knobs)) == words


def test_captions_say_how_long_and_on_how_much() -> None:
    plan = real_plan("lite")
    assert plan.datasets_of("reinitialisation") == ["mnist", "cifar10", "ffhq_subset_64"]
    trained = captions.trained(plan, plan.cells_of("methods", "mnist"))
    assert trained == "16 epochs over 58,000 images at batch 16"
    asked = plan, "generation_ffhq_imagenet", "cifar10"
    trained = captions.trained(plan, plan.cells_of(*asked[1:]))
    assert trained == "6 to 20 epochs over 24,000 images at batch 8 or 64"
    latents = captions.trained(plan, plan.cells_of(*asked[1:], ["RQ-VAE-LDM"]))
    assert latents == "20 epochs over 24,000 images at batch 64"
    # A row whose first stage was trained for less than the others' says so, with its networks.
    rows = ["DDPM (trained here)", "RQ-VAE-LDM", "MoVQ-LDM"]
    longer, shorter = captions.first_stages(*asked, rows)
    assert longer == "RQ-VAE-LDM: first stage of 8 epochs over 48,000 images at batch 16"
    start = "MoVQ-LDM: first stage of 3 epochs over 48,000 images at batch 16, VQGAN of "
    assert shorter.startswith(start)
    alone = captions.first_stages(*asked, ["RQ-VAE-LDM"])
    assert alone == ["First stage of 8 epochs over 48,000 images at batch 16"]
    assert captions.first_stages(*asked, ["DDPM (trained here)"]) == []
    assert captions.length([1], [(900, 8)]) == "1 epoch over 900 images at batch 8"
    sizes = [(400, 16), (900, 8), (900, 64)]
    over = "400 images at batch 16 or 900 images at batch 8 or 64"
    assert captions.length([2, 4], sizes) == f"2 to 4 epochs over {over}"


def test_a_caption_says_which_of_the_measured_rows_have_another_network() -> None:
    plan = plan_of("mnist")
    block = render(plan, measured_of(plan))[0]
    assert "VQGAN" not in caption(block, plan)
    first, second = plan.rows_of("anchors", "mnist").values()
    plan = with_knobs(plan, second, **VQGAN)
    assert f" {ROWS[1]}: VQGAN of 32 channels" in caption(block, plan)
    unmeasured = measured_of(plan).query("row != @ROWS[1]")
    assert "VQGAN" not in caption(render(plan, unmeasured)[0], plan)
    plan = with_knobs(plan, first, **VQGAN)
    assert ". VQGAN of 32 channels" in caption(block, plan)
