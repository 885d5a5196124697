"""Published numbers: which there are, and files of them that are refused."""

from __future__ import annotations

import re
from pathlib import Path

import pandas as pd
import pytest

from tests import plans
from workflows.errors import ConfigError
from workflows.records.published import as_number, read_others, read_published

PUBLISHED = Path(__file__).parents[2] / "results" / "published"


def test_a_value_keeps_its_digits_and_per_cent_are_a_share() -> None:
    assert as_number("100.0%") == 1
    assert as_number("0.0282") == 0.0282


def test_what_others_report_is_complete() -> None:
    assert read_others(PUBLISHED).groupby("table").size().to_dict() == {
        "reference_generation_and_first_stage": 45,
        "reference_others": 56,
        "reference_third_party_online_vq": 95,
    }


def test_published_numbers_are_complete_and_of_known_rows() -> None:
    used = read_published(PUBLISHED, plans.real("lite"))
    assert used.groupby("table").size().to_dict() == {
        "anchors": 16,
        "generation_ffhq_imagenet": 10,
        "generation_lsun": 14,
        "methods": 25,
        "reinitialisation": 21,
    }
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
    plan = plans.real("smoke")
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
        read_published(tmp_path, plans.real("smoke"))
    # What other papers report is context and has no place in a table.
    file.rename(tmp_path / "reference_one.csv")
    pd.DataFrame([NUMBER]).to_csv(file, index=False)
    assert len(read_published(tmp_path, plans.real("smoke"))) == 1


def test_two_values_for_one_place_are_refused(tmp_path: Path) -> None:
    text = (PUBLISHED / "anchors.csv").read_text()
    (tmp_path / "one.csv").write_text(text)
    (tmp_path / "two.csv").write_text(text)
    with pytest.raises(ConfigError, match="two values for anchors, random, offline, mnist, rFID"):
        read_published(tmp_path, plans.real("lite"))
