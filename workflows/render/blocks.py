"""One dataset and one protocol of a table: measured numbers joined with the published ones."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import pandas as pd

from workflows.config.names import METRICS
from workflows.config.plan import Plan
from workflows.records.intervals import Interval, interval
from workflows.render.numbers import ABSENT, PROTOCOLS, few, heading, shown

NAN = float("nan")
NOTHING = Interval(NAN, NAN, NAN, 0)


@dataclass(frozen=True)
class Block:
    """One dataset's rows by one protocol.

    lines: one line per (metric, row), columns `metric, row, mean, low, high, seeds, best, images,
    published`; low and high bound the mean's 95 % interval over seeds, published is text with the
    source's digits or empty. best: whether the row is better than each other one beyond the
    interval of their difference within seeds. rows: columns `row, status, seeds, epochs, note`.
    features: columns `metric, features`, the networks that the numbers rest on. evidence: how the
    published numbers are known.
    """

    table: str
    dataset: str
    protocol: str
    published_dataset: str
    lines: pd.DataFrame
    rows: pd.DataFrame
    features: pd.DataFrame
    evidence: tuple[str, ...]

    @cached_property
    def _images(self) -> dict[Hashable, set[int]]:
        of = self.lines.dropna(subset=["images"]).groupby("metric")["images"]
        return {metric: set(images.astype(int)) for metric, images in of}

    def images(self, metric: str) -> set[int]:
        """The different numbers of test images that a metric's values rest on."""
        return self._images.get(metric, set())

    def few(self, metric: str) -> bool:
        """Whether a metric's values rest on too few images to stand beside published ones."""
        return few(metric, self.images(metric))

    def heading(self, metric: str) -> str:
        """The metric with its unit and its number of images."""
        return heading(metric, self.images(metric))

    @cached_property
    def measured(self) -> set[str]:
        """The rows that have numbers."""
        return set(self.rows.loc[self.rows["epochs"].notna(), "row"])

    @cached_property
    def entries(self) -> dict[str, dict[str, dict[str, Any]]]:
        """Metric -> row -> a line of `lines`, and as text the number, half of its interval and the
        published number that may stand beside it. Metrics without any value are left out.
        """
        found: dict[str, dict[str, dict[str, Any]]] = {}
        for key, lines in self.lines.groupby("metric", sort=False):
            metric = str(key)
            of_metric: dict[str, dict[str, Any]] = {}
            for line in lines.to_dict("records"):
                text = shown(metric, line["mean"]).replace(ABSENT, "")
                half = shown(metric, (line["high"] - line["low"]) / 2).replace(ABSENT, "")
                beside = "" if text and self.few(metric) else line["published"]
                more = {"text": text, "half": half, "beside": beside}
                of_metric[line["row"]] = {str(name): line[name] for name in line} | more
            if any(entry["text"] or entry["beside"] for entry in of_metric.values()):
                found[metric] = of_metric
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
    the datasets that this budget has none for.

    measured, published: lines that are Measured and Published. Raises ConfigError for an unknown
    table.
    """
    found = []
    theirs = published[published["table"] == table]
    # Nothing measured still shows its rows, with the reason and the published numbers.
    unmeasured = "samples" if plan.tables[table].stage == 2 else "as_published"
    for dataset in plan.datasets_of(table):
        ours = measured[(measured["table"] == table) & (measured["dataset"] == dataset)]
        protocols = [p for p in PROTOCOLS if (ours["protocol"] == p).any()] or [unmeasured]
        real = plan.published_dataset(dataset, table)
        for protocol in protocols:
            # Published numbers stand beside ours of the same protocol, if that was measured.
            beside = theirs[(theirs["dataset"] == real) & (protocol == protocols[0])]
            good = ours[(ours["status"] == "ok") & (ours["protocol"] == protocol)]
            rows = [
                {"row": row, **_state(plan.rows_of(table, dataset).get(row), row, ours, good)}
                for row in plan.tables[table].order
                if row in plan.rows_of(table, dataset) or row in set(beside["row"])
            ]
            lines = _lines(plan.tables[table].metrics, rows, good, beside)
            about = (table, dataset, protocol, real)
            found.append(Block(*about, *lines, tuple(beside["evidence"].unique())))
    for entry in plan.absent:
        if entry.table == table:
            state = {"status": "not_at_this_budget", "seeds": 0, "epochs": None, "note": entry.note}
            rows = [{"row": row, **state} for row in entry.rows]
            beside = theirs[theirs["dataset"] == entry.dataset]
            lines = _lines(plan.tables[table].metrics, rows, measured.iloc[:0], beside)
            about = (table, entry.dataset, unmeasured, entry.dataset)
            found.append(Block(*about, *lines, tuple(beside["evidence"].unique())))
    return found


def _lines(
    metrics: list[str], rows: list[dict[str, Any]], good: pd.DataFrame, beside: pd.DataFrame
) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """The lines, rows and features of a block.

    good, beside: the lines of Measured and of Published that the block shows.
    """
    printed = beside.set_index(["row", "metric"])["value"]
    lines = []
    for metric in metrics:
        of_metric = good[good["metric"] == metric]
        best = best_row(of_metric)
        for row in (state["row"] for state in rows):
            of_row = of_metric[of_metric["row"] == row]
            found = interval(of_row["value"].to_numpy()) if len(of_row) else NOTHING
            lines.append(
                {"metric": metric, "row": row, "mean": found.mean, "low": found.low}
                | {"high": found.high, "seeds": found.seeds, "best": row == best}
                | {"images": of_row["images"].max(), "published": printed.get((row, metric), "")}
            )
    networks = good.loc[good["features"] != "", ["metric", "features"]]
    shows = networks[networks["metric"].isin(metrics)].drop_duplicates()
    return pd.DataFrame(lines), pd.DataFrame(rows), shows


def best_row(lines: pd.DataFrame) -> str | None:
    """The row that is better than every other in a metric, beyond what seeds explain, if one is.

    lines: of Measured, of that metric. Rows are compared within seeds. A difference that its
    interval does not support is none.
    """
    wide = lines.pivot_table(index="seed", columns="row", values="value")
    if wide.shape[1] < 2:
        return None
    gains = wide if METRICS[lines["metric"].iloc[0]] else -wide
    first = str(gains.mean().idxmax())
    for other in gains.columns.drop(first):
        gain = (gains[first] - gains[other]).dropna().to_numpy()
        if not len(gain) or not interval(gain).low > 0:
            return None
    return first


def _state(
    planned: list[str] | None, row: str, ours: pd.DataFrame, good: pd.DataFrame
) -> dict[str, Any]:
    """Whether a row has numbers, of how many seeds and epochs, and what to say about it.

    planned: its cells, None for a row of published numbers alone. ours: the dataset's lines of
    Measured. good: those with numbers by the block's protocol.
    """
    if planned is None:
        nothing = {"status": "published_only", "seeds": 0, "epochs": None}
        return nothing | {"note": "published number only"}
    numbers = good[good["row"] == row]
    bad = ours[(ours["row"] == row) & (ours["status"] != "ok")]
    seeds = numbers["cell"].nunique()
    status, note = "ok", ""
    if len(bad):
        status = bad["status"].iloc[0]
        note = f"{status.replace('_', ' ')}: {bad['note'].iloc[0]}"
        note = f"{bad['cell'].nunique()} of {len(planned)} seeds: {note}" if seeds else note
    elif seeds < len(planned):
        status = "not_measured"
        note = f"{seeds} of {len(planned)} seeds measured" if seeds else "not measured"
    return {
        "status": "ok" if seeds else status,
        "seeds": seeds,
        "epochs": int(numbers["epochs"].min()) if seeds else None,
        "note": note,
    }
