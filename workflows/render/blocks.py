"""One dataset and one protocol of a table: measured numbers joined with the published ones."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd

from workflows.config.names import METRICS, UNRANKED
from workflows.config.plan import Plan
from workflows.records.intervals import interval
from workflows.render.numbers import ABSENT, PROTOCOLS, few, heading, shown


@dataclass(frozen=True)
class Block:
    """One dataset's rows by one protocol.

    lines: one line per (metric, row): mean, low, high and seeds of its interval; best: better than
    each other row beyond the interval of their difference; images; published, with the digits of
    the source. As they are printed: text, half (of the interval), beside (the published number, if
    it may stand beside ours). rows: columns `row, status, seeds, epochs, note`. features: `metric,
    features`, the networks behind the numbers. images: metric -> its numbers of test images.
    evidence: how the published numbers are known.
    """

    table: str
    dataset: str
    protocol: str
    published_dataset: str
    lines: pd.DataFrame
    rows: pd.DataFrame
    features: pd.DataFrame
    images: Mapping[str, set[int]]
    evidence: tuple[str, ...]

    def few(self, metric: str) -> bool:
        """Whether a metric's values rest on too few images to stand beside published ones."""
        return few(metric, self.images.get(metric, ()))

    def heading(self, metric: str) -> str:
        """The metric with its unit and its number of images."""
        return heading(metric, self.images.get(metric, ()))

    @cached_property
    def measured(self) -> set[str]:
        """The rows that have numbers."""
        return set(self.rows.loc[self.rows["epochs"].notna(), "row"])

    @cached_property
    def entries(self) -> dict[str, dict[str, dict[Any, Any]]]:
        """Metric -> row -> a line of `lines`. Metrics without any value are left out."""
        return {
            str(metric): {line["row"]: line for line in lines.to_dict("records")}
            for metric, lines in self.lines.groupby("metric", sort=False)
            if (lines["text"] + lines["beside"]).any()
        }

    @cached_property
    def shades(self) -> dict[str, dict[str, int]]:
        """Metric -> row -> how good its number is in the column: 100 for the best, 0 for the worst
        and for none. What says nothing about quality has no shade.
        """
        found = {}
        for metric, entries in self.entries.items():
            means = pd.Series({row: entry["mean"] for row, entry in entries.items()})
            finite = means[np.isfinite(means)]
            gains = finite - finite.min() if METRICS[metric] else finite.max() - finite
            shades = (100 * gains / gains.max()).fillna(50).round()
            if metric in UNRANKED:
                shades[:] = 0
            found[metric] = shades.reindex(means.index, fill_value=0).astype(int).to_dict()
        return found

    @cached_property
    def notes(self) -> dict[str, list[str]]:
        """What is to be said of single rows -> those rows."""
        noted = self.rows[self.rows["note"] != ""]
        return {str(note): list(of["row"]) for note, of in noted.groupby("note", sort=False)}

    def marks(self, row: str) -> str:
        """The letters of a row's notes, which count from a."""
        return "".join(chr(ord("a") + n) for n, of in enumerate(self.notes.values()) if row in of)


def blocks(plan: Plan, measured: pd.DataFrame, published: pd.DataFrame, table: str) -> list[Block]:
    """The blocks of a table: its datasets in order, for each the protocols that were measured, then
    the datasets that this budget has none for. Raises ConfigError for an unknown table.
    """
    found = []
    theirs = published[published["table"] == table]
    # Nothing measured still shows its rows, with the reason and the published numbers.
    unmeasured = "samples" if plan.tables[table].stage == 2 else "as_published"
    for dataset in plan.datasets_of(table):
        ours = measured[(measured["table"] == table) & (measured["dataset"] == dataset)]
        planned = plan.rows_of(table, dataset)
        protocols = [p for p in PROTOCOLS if (ours["protocol"] == p).any()] or [unmeasured]
        real = plan.published_dataset(dataset, table)
        for protocol in protocols:
            # Published numbers stand beside ours of the same protocol, if that was measured.
            beside = theirs[(theirs["dataset"] == real) & (protocol == protocols[0])]
            good = ours[(ours["status"] == "ok") & (ours["protocol"] == protocol)]
            rows = [
                {"row": row, **_state(planned.get(row), row, ours, good)}
                for row in plan.tables[table].order
                if row in planned or row in set(beside["row"])
            ]
            found.append(_block(plan, (table, dataset, protocol, real), rows, good, beside))
    for entry in plan.absent:
        if entry.table == table:
            state = {"status": "not_at_this_budget", "seeds": 0, "epochs": None, "note": entry.note}
            rows = [{"row": row, **state} for row in entry.rows]
            beside = theirs[theirs["dataset"] == entry.dataset]
            about = (table, entry.dataset, unmeasured, entry.dataset)
            found.append(_block(plan, about, rows, measured.iloc[:0], beside))
    return found


def _block(
    plan: Plan,
    about: tuple[str, str, str, str],
    rows: list[dict[str, Any]],
    good: pd.DataFrame,
    beside: pd.DataFrame,
) -> Block:
    """A block of these rows. about: its table, dataset, protocol and dataset of published numbers.

    good, beside: the lines of Measured and of Published that the block shows.
    """
    metrics = plan.tables[about[0]].metrics
    good = good[good["metric"].isin(metrics)]
    counted = good.dropna(subset=["images"]).astype({"images": int})
    images = {str(metric): set(of["images"]) for metric, of in counted.groupby("metric")}
    printed = beside.set_index(["row", "metric"])["value"]
    lines: list[dict[str, Any]] = []
    for metric in metrics:
        of_metric = good[good["metric"] == metric]
        best = None if metric in UNRANKED else best_row(of_metric)
        for row in (state["row"] for state in rows):
            of_row = of_metric[of_metric["row"] == row]
            over = interval(of_row["value"])
            text, half = (
                shown(metric, value).replace(ABSENT, "")
                for value in (over.mean, (over.high - over.low) / 2)
            )
            theirs = printed.get((row, metric), "")
            lines.append(
                {"metric": metric, "row": row, **over._asdict(), "best": row == best}
                | {"images": of_row["images"].max(), "published": theirs, "text": text}
                | {
                    "half": half,
                    "beside": "" if text and few(metric, images.get(metric, ())) else theirs,
                }
            )
    networks = good.loc[good["features"] != "", ["metric", "features"]].drop_duplicates()
    frames = pd.DataFrame(lines), pd.DataFrame(rows), networks
    return Block(*about, *frames, images, tuple(beside["evidence"].unique()))


def best_row(lines: pd.DataFrame) -> str | None:
    """The row that is better than every other in a metric, beyond what seeds explain, if one is.

    lines: of Measured, of that metric. Rows are compared within seeds.
    """
    wide = lines.pivot_table(index="seed", columns="row", values="value")
    if wide.shape[1] < 2:
        return None
    gains = wide if METRICS[lines["metric"].iloc[0]] else -wide
    first = str(gains.mean().idxmax())
    others = (gains[first] - gains[other] for other in gains.columns.drop(first))
    return first if all(interval(gain.dropna()).low > 0 for gain in others) else None


def _state(
    planned: list[str] | None, row: str, ours: pd.DataFrame, good: pd.DataFrame
) -> dict[str, Any]:
    """Whether a row has numbers, of how many seeds and epochs, and what to say about it.

    planned: its cells, None for a row of published numbers alone. ours: the dataset's lines of
    Measured. good: those with numbers by the block's protocol.
    """
    nothing = {"seeds": 0, "epochs": None}
    if planned is None:
        return {"status": "published_only", **nothing, "note": "published number only"}
    numbers = good[good["row"] == row]
    bad = ours[(ours["row"] == row) & (ours["status"] != "ok")]
    seeds = numbers["cell"].nunique()
    status, note = "ok", ""
    if len(bad):
        status = bad["status"].iloc[0]
        note = f"{status.replace('_', ' ')}: {bad['note'].iloc[0]}"
        if seeds:
            # Outdated runs do not touch the number, so their reasons would only mislead.
            why = status if status == "outdated" else note
            note = f"{seeds} of {len(planned)} seeds measured, {bad['cell'].nunique()} {why}"
    elif seeds < len(planned):
        status = "not_measured"
        note = f"{seeds} of {len(planned)} seeds measured" if seeds else "not measured"
    if not seeds:
        return {"status": status, **nothing, "note": note}
    return {"status": "ok", "seeds": seeds, "epochs": int(numbers["epochs"].min()), "note": note}
