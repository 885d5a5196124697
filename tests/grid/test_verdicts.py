"""Verdicts from made-up measurements, one for each outcome, and claims that are refused."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml

from workflows.data import describe, names
from workflows.grid import Grid, load_grid
from workflows.render.plan import Plan
from workflows.render.verdicts import STANDINGS, markdown, printed, seeds, summary
from workflows.schema import ConfigError
from workflows.verdicts import load_claims, verdicts

KEYS = ("of", "than")
NONE = pd.DataFrame(columns=["table", "row", "dataset", "metric", "value"])


def claim(kind: str = "better", metrics: tuple[str, ...] = ("rFID",), **others: Any) -> dict:
    rows = {"of": ["a"], **({"than": ["b"]} if kind in ("better", "steadier") else {})}
    text = {"claim": "So it is said.", "standing": "stated", "source": "nobody"}
    return {
        "id": "made_up",
        "table": "t",
        "roles": ["digits"],
        "metrics": list(metrics),
        "kind": kind,
        **text,
        **rows,
        **others,
    }


def measured(metric: str = "rFID", protocol: str = "as_published", **rows: list[float]):
    return pd.DataFrame(
        [
            {"table": "t", "row": row, "dataset": "d", "protocol": protocol, "status": "ok"}
            | {"metric": metric, "seed": seed, "value": value}
            for row, values in rows.items()
            for seed, value in enumerate(values)
        ],
        columns=["table", "row", "dataset", "protocol", "status", "metric", "seed", "value"],
    )


def verdict(made: dict, numbers: pd.DataFrame, published: pd.DataFrame = NONE) -> dict[str, Any]:
    found = verdicts([made], {"digits": "d"}, numbers, published, lambda *_: "mnist")
    assert len(found) == 1
    return found.iloc[0].to_dict()


def test_reproduced_where_the_interval_is_on_the_claimed_side() -> None:
    """Lower rFID is better: by 2, 3 and 4, so 3 +- 4.3027 / sqrt 3."""
    found = verdict(claim(), measured(a=[1.0, 2.0, 3.0], b=[3.0, 5.0, 7.0]))
    assert found["verdict"] == "reproduced"
    assert (found["effect"], found["seeds"]) == (3.0, 3)
    assert found["low"] == pytest.approx(3 - 4.302653 / math.sqrt(3))
    assert found["high"] == pytest.approx(3 + 4.302653 / math.sqrt(3))


def test_seeds_are_paired() -> None:
    """The rows overlap widely; within every seed one is better by nearly the same."""
    found = verdict(claim(), measured(a=[10.0, 50.0, 90.0], b=[11.0, 51.1, 91.0]))
    assert found["verdict"] == "reproduced"


def test_contradicted() -> None:
    better_ssim = measured("SSIM", a=[0.5, 0.6], b=[0.7, 0.81])
    assert verdict(claim(metrics=("SSIM",)), better_ssim)["verdict"] == "contradicted"


def test_undecided_where_the_interval_crosses_nothing_at_all() -> None:
    found = verdict(claim(), measured(a=[1.0, 5.0], b=[3.0, 4.0]))
    assert found["verdict"] == "undecided"
    assert found["low"] < 0 < found["high"]


def test_one_seed_decides_nothing_but_shows_its_effect() -> None:
    found = verdict(claim(), measured(a=[1.0], b=[3.0]))
    assert (found["verdict"], found["effect"], found["seeds"]) == ("undecided", 2.0, 1)
    assert math.isnan(found["low"])


@pytest.mark.parametrize(
    "numbers",
    [
        measured(a=[1.0, 2.0]),
        measured("SSIM", a=[1.0], b=[2.0]),
        measured(a=[1.0], b=[2.0]).assign(status="diverged"),
        measured(a=[1.0], b=[2.0]).assign(dataset="other"),
    ],
    ids=["no row b", "other metric", "diverged", "other dataset"],
)
def test_not_tested(numbers: pd.DataFrame) -> None:
    found = verdict(claim(), numbers)
    assert (found["verdict"], found["seeds"]) == ("not tested at this budget", 0)
    assert math.isnan(found["effect"])


def test_seeds_that_diverged_are_counted_beside_those_that_are_judged() -> None:
    numbers = measured(a=[1.0, 2.0, 3.0], b=[3.0, 5.0, 7.0], c=[1.0, 1.0, 1.0])
    numbers.loc[(numbers["row"] == "b") & (numbers["seed"] == 2), "status"] = "diverged"
    # A row that the claim does not speak of.
    numbers.loc[(numbers["row"] == "c") & (numbers["seed"] == 1), "status"] = "diverged"
    found = verdict(claim(), numbers)
    assert (found["seeds"], found["diverged"]) == (2, 1)
    assert seeds(found) == "2 (1 diverged)"
    assert seeds({**found, "diverged": 0}) == "2"


def test_only_shared_seeds_are_compared() -> None:
    numbers = measured(a=[1.0, 2.0, 3.0], b=[3.0, 4.5])
    assert verdict(claim(), numbers)["effect"] == pytest.approx(2.25)


@pytest.mark.parametrize(
    ("kind", "values", "expected"),
    [
        ("at_least", [0.97, 0.99], "reproduced"),
        ("at_least", [0.10, 0.11], "contradicted"),
        ("at_most", [0.10, 0.11], "reproduced"),
        ("at_most", [0.97, 0.99], "contradicted"),
    ],
)
def test_bounds(kind: str, values: list[float], expected: str) -> None:
    made = claim(kind, ("usage",), value=0.5)
    assert verdict(made, measured("usage", a=values))["verdict"] == expected


def test_steadier_compares_ranges_over_rows() -> None:
    made = claim("steadier", of=["a", "b"], than=["c", "d"])
    numbers = measured(a=[1.0, 1.0], b=[2.0, 2.1], c=[1.0, 1.0], d=[5.0, 5.5])
    found = verdict(made, numbers)
    assert found["verdict"] == "reproduced"
    assert found["effect"] == pytest.approx((3 + 3.4) / 2)


@pytest.mark.parametrize(
    ("kind", "expected"), [("rises", "reproduced"), ("does_not_rise", "contradicted")]
)
def test_a_sweep_that_gets_better_with_every_value(kind: str, expected: str) -> None:
    made = claim(kind, of=["a", "b", "c"])
    found = verdict(made, measured(a=[9.0, 9.2], b=[8.0, 8.0], c=[7.0, 7.1]))
    assert found["verdict"] == expected
    assert abs(found["effect"]) == pytest.approx((1 + 1.05) / 2)


def test_published_effect_stands_beside() -> None:
    published = pd.DataFrame(
        [
            {"table": "t", "row": row, "dataset": "mnist", "metric": "rFID", "value": value}
            for row, value in (("a", "1.80"), ("b", "3.43"))
        ]
    )
    found = verdict(claim(), measured(a=[2.0], b=[2.5]), published)
    assert found["published"] == pytest.approx(1.63)
    assert math.isnan(verdict(claim(), measured(a=[2.0], b=[2.5]), published.head(1))["published"])


def test_the_papers_protocol_comes_first() -> None:
    both = pd.concat(
        [measured(a=[1.0], b=[3.0], protocol="exact"), measured(a=[1.0], b=[9.0])],
        ignore_index=True,
    )
    found = verdict(claim(), both)
    assert (found["protocol"], found["effect"]) == ("as_published", 8.0)


# The claims that come with the project, against its grids.


def grid_of(budget: str) -> Grid:
    return load_grid(budget, {name: describe(name) for name in names()})


@pytest.mark.parametrize("budget", ["smoke", "embedded", "lite", "paper"])
def test_claims_fit_every_budget(budget: str) -> None:
    claims = load_claims(grid_of(budget))
    by_id = {made["id"]: made for made in claims}
    assert len(by_id) == len(claims)
    assert len(by_id["larger_codebooks_help_cvq"]["of"]) >= 2
    assert by_id["half_used_at_8192"]["of"] == ["CVQ-VAE, K = 8192"]
    for made in claims:
        assert not set(made["of"]) & set(made.get("than", []))


def room(tmp_path: Path, **changes: Any) -> Path:
    made = {
        "id": "one",
        "claim": "So.",
        "standing": "stated",
        "source": "nobody",
        "roles": ["digits"],
        "metrics": ["rFID"],
        "kind": "better",
        "of": ["random, online"],
        "than": ["random, offline"],
        **changes,
    }
    made = {key: value for key, value in made.items() if value is not None}
    content = {"title": "T", "table": "anchors", "claims": [made]}
    (tmp_path / "anchors.yaml").write_text(yaml.safe_dump(content))
    return tmp_path


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"of": ["randon, online"]}, "of: unknown row 'randon, online'; allowed: random, offline"),
        ({"metrics": ["PSNR"]}, "metrics: unknown 'PSNR'; allowed: SSIM"),
        ({"kind": "best"}, "kind"),
        ({"than": None}, "missing key 'than'"),
        ({"standing": "rumour"}, "claims.0.standing: 'rumour' is not allowed; allowed: stated, "),
        ({"value": 0.5}, "claims.0.value: does not go with the other keys"),
    ],
)
def test_bad_claims_are_refused_by_name(tmp_path: Path, changes: dict, message: str) -> None:
    with pytest.raises(ConfigError) as error:
        load_claims(grid_of("smoke"), room(tmp_path, **changes))
    assert "anchors.yaml" in str(error.value)
    assert message in str(error.value)


def test_an_id_twice_is_refused(tmp_path: Path) -> None:
    folder = room(tmp_path)
    (folder / "again.yaml").write_text((folder / "anchors.yaml").read_text())
    with pytest.raises(ConfigError, match="two of that id"):
        load_claims(grid_of("smoke"), folder)


def plan_with(claims: list[dict]) -> Plan:
    datasets = {"d": {"title": "D", "stand_in_for": "mnist", "images": 1}}
    knobs = {"dataset": "d", "seed": 0, "epochs": 4, "batch_size": 8, "train_images": 1200}
    content = {
        "budget": "b",
        "title": "b: made up",
        "cells": {"c": {"folder": "c", "missing": None, "knobs": knobs}},
        "rows": [{"table": "t", "row": "a", "cell": "c"}],
        "tables": {"t": {}},
    }
    return Plan.of(content | {"datasets": datasets, "claims": claims, "roles": {"digits": "d"}})


def test_what_the_paper_does_not_say_is_counted_apart() -> None:
    lines = [("stated", "reproduced"), ("others", "undecided"), ("control", "reproduced")]
    found = pd.DataFrame(lines * 2, columns=["standing", "verdict"])
    counts = summary(found)
    # The paper's first, whatever the order of the claims.
    assert list(counts.index) == ["stated", "control", "others"]
    assert counts["reproduced"].tolist() == [2, 2, 0]
    assert counts["undecided"].tolist() == [0, 0, 2]
    real = load_claims(grid_of("lite"))
    standings = [made["standing"] for made in real if not made.get("headline")]
    assert standings == sorted(standings, key=list(STANDINGS).index)
    assert {made["standing"] for made in real if made.get("headline")} == {"stated"}


def test_no_comparison_is_judged_under_two_names() -> None:
    """Rows of two tables may show the same cells."""
    grid = grid_of("lite")
    shown: dict[tuple[str, str], list[str]] = {}
    for row in grid.rows:
        shown.setdefault((row.table, row.row), []).append(row.cell)
    judged = [
        (made["kind"], str([[shown[made["table"], row] for row in made[key]] for key in KEYS]))
        for made in load_claims(grid)
        if all(key in made for key in KEYS)
        and all((made["table"], row) in shown for key in KEYS for row in made[key])
    ]
    assert judged
    assert len(set(judged)) == len(judged)


def test_document_counts_and_shows_intervals() -> None:
    made = claim(metrics=("rFID", "SSIM"), caveat="But not at night.")
    plan = plan_with([made])
    numbers = measured(a=[1.0, 2.0, 3.0], b=[3.0, 5.0, 7.0])
    found = verdicts(plan.claims, plan.roles, numbers, NONE, plan.published_dataset)
    assert list(found["verdict"]) == ["reproduced", "not tested at this budget"]
    text = markdown(found, plan)
    assert "+3.00 [+0.52, +5.48]" in text
    assert "D (stand-in for MNIST)" in text
    assert "n/a" in text
    assert "So it is said. (nobody) But not at night." in text
    assert "Trained: 4 epochs over 1,200 images at batch 8." in text
    counts = summary(found).loc["stated"]
    assert counts["reproduced"] == counts["not tested at this budget"] == 1
    assert counts["contradicted"] == counts["undecided"] == 0
    assert list(printed(found, plan, made["table"])["seeds"]) == ["3", "0"]
