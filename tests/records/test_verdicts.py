"""Verdicts from made-up measurements, one for each outcome, and the project's own claims."""

from __future__ import annotations

import math
from typing import Any

import pandas as pd
import pytest

from tests import plans
from workflows.config.experiments import Claim
from workflows.config.plan import Plan, PlannedClaim, PlannedDataset
from workflows.records.verdicts import at_lengths, verdicts
from workflows.render.verdicts import (
    STANDINGS,
    at_other_lengths,
    markdown,
    printed,
    seeds,
    summary,
)

NONE = pd.DataFrame(columns=["table", "row", "dataset", "metric", "value"])


def claim(
    kind: str = "better",
    metrics: tuple[str, ...] = ("rFID",),
    sweep: tuple[str, ...] = (),
    **others: Any,
) -> PlannedClaim:
    """sweep: the rows that the claim's row "a" stands for."""
    rows = {"of": ["a"], **({"than": ["b"]} if kind in ("better", "steadier") else {})}
    text = {"id": "made_up", "claim": "So it is said.", "standing": "stated", "source": "nobody"}
    about = Claim(
        **{**text, "roles": ["digits"], "metrics": [*metrics], "kind": kind, **rows, **others}
    )
    return PlannedClaim(about=about, table="t", of=[*sweep] or about.of, than=about.than)


def plan_with(claims: list[PlannedClaim]) -> Plan:
    """A plan of one cell, on a dataset that stands in for MNIST."""
    return plans.plan(
        {"c": plans.cell(dataset="d", epochs=4, batch_size=8, images=1200)},
        [("t", "a", "c")],
        title="b: made up",
        datasets={"d": PlannedDataset(title="D", stand_in_for="mnist", images=1)},
        claims=claims,
        roles={"digits": "d"},
    )


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


def verdict(
    made: PlannedClaim, numbers: pd.DataFrame, published: pd.DataFrame = NONE
) -> dict[str, Any]:
    found = verdicts(plan_with([made]), numbers, published)
    assert len(found) == 1
    return found.iloc[0].to_dict()


AT_LEAST, AT_MOST = (claim(kind, ("usage",), value=0.5) for kind in ("at_least", "at_most"))
# A distance that falls from one value of a sweep to the next.
FALLING = measured(a=[9.0, 9.2], b=[8.0, 8.0], c=[7.0, 7.1])


def test_reproduced_where_the_interval_is_on_the_claimed_side() -> None:
    """Lower rFID is better: by 2, 3 and 4, so 3 +- 4.3027 / sqrt 3."""
    found = verdict(claim(), measured(a=[1.0, 2.0, 3.0], b=[3.0, 5.0, 7.0]))
    assert found["verdict"] == "reproduced"
    assert (found["effect"], found["seeds"]) == (3.0, 3)
    assert found["low"] == pytest.approx(3 - 4.302653 / math.sqrt(3))
    assert found["high"] == pytest.approx(3 + 4.302653 / math.sqrt(3))


@pytest.mark.parametrize(
    ("made", "numbers", "expected", "effect"),
    [
        # The rows overlap widely; within every seed one is better by nearly the same.
        (claim(), measured(a=[10.0, 50.0, 90.0], b=[11.0, 51.1, 91.0]), "reproduced", 3.1 / 3),
        (
            claim(metrics=("SSIM",)),
            measured("SSIM", a=[0.5, 0.6], b=[0.7, 0.81]),
            "contradicted",
            -0.205,
        ),
        (claim(), measured(a=[1.0, 5.0], b=[3.0, 4.0]), "undecided", 0.5),
        # One seed decides nothing but shows its effect.
        (claim(), measured(a=[1.0], b=[3.0]), "undecided", 2.0),
        # Only the seeds that both rows have are compared.
        (claim(), measured(a=[1.0, 2.0, 3.0], b=[3.0, 4.5]), "undecided", 2.25),
        (AT_LEAST, measured("usage", a=[0.97, 0.99]), "reproduced", 0.48),
        (AT_LEAST, measured("usage", a=[0.10, 0.11]), "contradicted", -0.395),
        (AT_MOST, measured("usage", a=[0.10, 0.11]), "reproduced", 0.395),
        (AT_MOST, measured("usage", a=[0.97, 0.99]), "contradicted", -0.48),
        (
            claim("steadier", of=["a", "b"], than=["c", "d"]),
            measured(a=[1.0, 1.0], b=[2.0, 2.1], c=[1.0, 1.0], d=[5.0, 5.5]),
            "reproduced",
            (3 + 3.4) / 2,
        ),
        (claim("rises", sweep=("a", "b", "c")), FALLING, "reproduced", (1 + 1.05) / 2),
        (claim("does_not_rise", sweep=("a", "b", "c")), FALLING, "contradicted", -(1 + 1.05) / 2),
    ],
)
def test_each_kind_of_claim(
    made: PlannedClaim, numbers: pd.DataFrame, expected: str, effect: float
) -> None:
    found = verdict(made, numbers)
    assert found["verdict"] == expected
    assert found["effect"] == pytest.approx(effect)


@pytest.mark.parametrize(
    "numbers", [measured(a=[1.0, 2.0]), measured(a=[1.0], b=[2.0]).assign(status="diverged")]
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


def test_a_claim_says_at_which_lengths_it_held() -> None:
    about = plan_with([claim(metrics=("PSNR",))])
    rows = [f"{row}, length = {length}" for row in "ab" for length in ("1/4", "1")]
    plan = about.model_copy(update={"tables": {**about.tables, "lengths": plans.table(rows)}})
    values = {"a, length = 1/4": [20.0], "b, length = 1/4": [21.0]}
    values |= {"a, length = 1": [24.5], "b, length = 1": [24.0], "a": [9.0], "b": [1.0]}
    numbers = measured("PSNR", **values).assign(table="lengths")
    found = at_lengths(plan.claims[0], plan, numbers)
    assert found[["length", "effect"]].values.tolist() == [["1/4", -1.0], ["1", 0.5]]
    assert at_other_lengths(found, plan, "t") == [
        "MNIST stand-in, PSNR, by length of training (1 is this budget's; one seed): "
        "1/4: -1.00, did not hold; 1: +0.50, held."
    ]
    # A single length says no more than the verdict itself.
    assert at_other_lengths(found[found["length"] == "1"], plan, "t") == []
    assert at_lengths(plan.claims[0], about, numbers).empty


@pytest.mark.parametrize("budget", ["smoke", "embedded", "lite", "paper"])
def test_the_projects_claims_fit_every_budget(budget: str) -> None:
    by_id = {made.about.id: made for made in plans.real(budget).claims}
    assert len(by_id["larger_codebooks_help_cvq"].of) >= 2
    assert by_id["half_used_at_8192"].of == ["CVQ-VAE, K = 8192"]
    assert not any(set(made.of) & set(made.than) for made in by_id.values())


def test_what_the_paper_does_not_say_is_counted_apart() -> None:
    lines = [("stated", "reproduced"), ("others", "undecided"), ("control", "reproduced")]
    found = pd.DataFrame(lines * 2, columns=["standing", "verdict"])
    counts = summary(found)
    # The paper's first, whatever the order of the claims.
    assert list(counts.index) == ["stated", "control", "others"]
    assert counts["reproduced"].tolist() == [2, 2, 0]
    assert counts["undecided"].tolist() == [0, 0, 2]
    real = [made.about for made in plans.real("lite").claims]
    standings = [made.standing for made in real if not made.headline]
    assert standings == sorted(standings, key=list(STANDINGS).index)
    assert {made.standing for made in real if made.headline} == {"stated"}


def test_document_counts_and_shows_intervals() -> None:
    made = claim(metrics=("rFID", "SSIM"), caveat="But not at night.")
    plan = plan_with([made])
    numbers = measured(a=[1.0, 2.0, 3.0], b=[3.0, 5.0, 7.0])
    found = verdicts(plan, numbers, NONE)
    assert list(found["verdict"]) == ["reproduced", "not tested at this budget"]
    text = markdown(found, plan)
    assert "+3.00 [+0.52, +5.48]" in text
    assert "D (stand-in for MNIST)" in text
    assert "## So it is said\n\nSource: nobody. But not at night." in text
    assert "effect, positive where the claim is right" in text
    assert "Trained: MNIST stand-in: 4 epochs over 1,200 images at batch 8." in text
    counts = summary(found).loc["stated"]
    assert counts["reproduced"] == counts["not tested at this budget"] == 1
    assert list(printed(found, plan, made.table)["seeds"]) == ["3", "0"]
