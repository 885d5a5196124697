"""Which claims of the paper hold in what was measured, by how much, and with what confidence.

A claim (workflows/claims/*.yaml) speaks of rows of one table and of metrics; every dataset and
metric of it gets a verdict. What is judged is an effect per seed, in the metric's unit and positive
where the claim is right, so that rows are compared within seeds: those share the order of the data
and the initial encoder.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from workflows.grid import Grid
from workflows.intervals import Interval, interval
from workflows.reading import load_yaml
from workflows.render.numbers import HIGHER_IS_BETTER, parse
from workflows.render.verdicts import STANDINGS
from workflows.schema import ConfigError

ROOM = Path(__file__).parent / "claims"
COLUMNS = [
    "claim",
    "standing",
    "dataset",
    "protocol",
    "metric",
    "verdict",
    "effect",
    "low",
    "high",
    "seeds",
    "diverged",
    "published",
]
REPRODUCED, CONTRADICTED = "reproduced", "contradicted"
UNDECIDED, UNTESTED = "undecided", "not tested at this budget"
# The paper's own protocol, where the budget has it.
PROTOCOLS = ("as_published", "samples", "exact")
Claim = Mapping[str, Any]
# Row -> seed -> value.
Values = Mapping[str, Mapping[int, float]]


def load_claims(grid: Grid, room: Path = ROOM) -> list[dict[str, Any]]:
    """Every claim, headlines first and what the paper does not say last, with its `table` and `of`
    and `than` as rows of this budget.

    Raises ConfigError for a claim twice, an unknown table, row, role or metric of it.
    """
    claims: list[dict[str, Any]] = []
    for path in sorted(room.glob("*.yaml")):
        content = load_yaml(path, "claims")
        table = content["table"]
        if table not in grid.tables:
            raise ConfigError(
                f"{path}: table: unknown table '{table}'; allowed: {', '.join(grid.tables)}"
            )
        every = grid.labels(table, every=True)
        for claim in content["claims"]:
            where = f"{path}: claim '{claim['id']}'"
            if claim["id"] in {known["id"] for known in claims}:
                raise ConfigError(f"{where}: there are two of that id")
            for key in ("roles", "metrics"):
                _refuse(claim[key], grid.tables[table][key], f"{where}: {key}")
            rows = {
                key: _rows(claim[key], grid.labels(table), every, f"{where}: {key}")
                for key in ("of", "than")
                if key in claim
            }
            _refuse_count(claim["kind"], claim, rows, where)
            claims.append({**claim, "table": table, **rows})
    said = list(STANDINGS)
    return sorted(
        claims, key=lambda claim: (not claim.get("headline"), said.index(claim["standing"]))
    )


def _refuse(wanted: Sequence[str], allowed: Sequence[str], where: str) -> None:
    for name in wanted:
        if name not in allowed:
            raise ConfigError(f"{where}: unknown '{name}'; allowed: {', '.join(allowed)}")


def _refuse_count(kind: str, claim: Claim, rows: Mapping[str, Sequence[str]], where: str) -> None:
    """A sweep named by its row has many, of which a comparison would silently take the first."""
    for key, found in rows.items():
        if kind in ("better", "at_least", "at_most") and len(found) > 1:
            raise ConfigError(
                f"{where}: {key}: '{claim[key][0]}' is {len(found)} rows, of which {kind} needs one"
            )
        if kind in ("rises", "does_not_rise") and found == claim[key]:
            raise ConfigError(
                f"{where}: {key}: '{found[0]}' is no row of a sweep; {kind} needs one"
            )


def _rows(
    names: Sequence[str], labels: Sequence[str], every: Sequence[str], where: str
) -> list[str]:
    found = []
    for name in names:
        # "CVQ-VAE" stands for "CVQ-VAE, K = 32" and its like.
        series = [row for row in labels if row.startswith(f"{name}, ")]
        # A row that this budget leaves out stays: the claim is then not tested.
        rows = [name] if name in (*labels, *every) else series
        if not rows:
            raise ConfigError(f"{where}: unknown row '{name}'; allowed: {', '.join(every)}")
        found += rows
    return found


def verdicts(
    claims: Sequence[Claim],
    datasets: Mapping[str, str],
    measured: pd.DataFrame,
    published: pd.DataFrame,
    paper: Callable[[str, str], str],
) -> pd.DataFrame:
    """A line per claim, dataset and metric, COLUMNS; `effect` and its interval are NaN if unknown.

    datasets: role -> dataset of this budget, or the paper's if it has none. measured, published: of
    the schemas of those names. paper: (dataset, table) -> the dataset whose published numbers it is
    compared with. `published` is the effect that the published numbers have, where all of them are
    known.
    """
    lines = []
    for claim in claims:
        for role in claim["roles"]:
            dataset = datasets[role]
            there = measured[
                (measured["table"] == claim["table"]) & (measured["dataset"] == dataset)
            ]
            ours = there[there["status"] == "ok"]
            rows = [*claim["of"], *claim.get("than", [])]
            failed = there[(there["status"] == "diverged") & there["row"].isin(rows)]
            theirs = published[
                (published["table"] == claim["table"])
                & (published["dataset"] == paper(dataset, claim["table"]))
            ]
            protocol = next((p for p in PROTOCOLS if (ours["protocol"] == p).any()), "")
            for metric in claim["metrics"]:
                kept = ours[(ours["protocol"] == protocol) & (ours["metric"] == metric)]
                found = _range(list(effects(claim, metric, _by_seed(kept))))
                said = list(effects(claim, metric, _printed(theirs, metric)))
                lines.append(
                    {
                        "claim": claim["id"],
                        "standing": claim["standing"],
                        "dataset": dataset,
                        "protocol": protocol,
                        "metric": metric,
                        "verdict": judge(found),
                        "effect": found.mean if found else np.nan,
                        "low": found.low if found else np.nan,
                        "high": found.high if found else np.nan,
                        "seeds": found.seeds if found else 0,
                        "diverged": failed["seed"].nunique(),
                        "published": said[0] if said else np.nan,
                    }
                )
    return pd.DataFrame(lines, columns=COLUMNS)


def judge(found: Interval | None) -> str:
    """What an effect's interval says of the claim; one seed decides nothing."""
    if found is None:
        return UNTESTED
    if found.low > 0:
        return REPRODUCED
    return CONTRADICTED if found.high < 0 else UNDECIDED


def effects(claim: Claim, metric: str, values: Values) -> Iterator[float]:
    """The effect of every seed that all rows of the claim have; positive where the claim is right.

    better: by how much `of` is better. at_least, at_most: the distance from `value` on the right
    side. steadier: the range over the rows `than` less the range over the rows `of`. rises,
    does_not_rise: the mean gain, or loss, from one value of a sweep to the next (least squares over
    their ranks); none where the budget has one value of it.
    """
    if claim["kind"] in ("rises", "does_not_rise") and len(claim["of"]) < 2:
        return
    sign = 1 if metric in HIGHER_IS_BETTER else -1
    rows = [*claim["of"], *claim.get("than", [])]
    shared = set.intersection(*(set(values.get(row, {})) for row in rows))
    for seed in sorted(shared):
        of, than = (
            np.array([values[row][seed] for row in claim.get(key, [])]) for key in ("of", "than")
        )
        yield float(_effect(claim, sign, of, than))


def _effect(claim: Claim, sign: int, of: np.ndarray, than: np.ndarray) -> float:
    match claim["kind"]:
        case "better":
            return sign * (of[0] - than[0])
        case "at_least":
            return of[0] - claim["value"]
        case "at_most":
            return claim["value"] - of[0]
        case "steadier":
            return np.ptp(than) - np.ptp(of)
        case "rises":
            return sign * stats.linregress(np.arange(len(of)), of).slope
        case "does_not_rise":
            return -sign * stats.linregress(np.arange(len(of)), of).slope
    raise ValueError(f"unknown kind '{claim['kind']}'")


def _range(found: list[float]) -> Interval | None:
    return interval(found) if found else None


def _by_seed(measured: pd.DataFrame) -> Values:
    return {
        str(row): dict(zip(lines["seed"], lines["value"], strict=True))
        for row, lines in measured.groupby("row")
    }


def _printed(published: pd.DataFrame, metric: str) -> Values:
    lines = published[published["metric"] == metric]
    return {row: {0: parse(value)} for row, value in zip(lines["row"], lines["value"], strict=True)}
