"""One dataset and one protocol of a table: measured numbers joined with the published ones."""

from __future__ import annotations

import statistics
from dataclasses import dataclass
from typing import Any

import pandas as pd

from workflows.config.names import METRICS
from workflows.config.plan import Plan
from workflows.records.intervals import Interval, interval
from workflows.records.published import as_number

NAN = float("nan")
NOTHING = Interval(NAN, NAN, NAN, 0)


@dataclass(frozen=True)
class Block:
    """One dataset's rows by one protocol.

    lines: one line per (metric, row), columns `metric, row, mean, low, high, seeds, best, images,
    published, difference`; low and high bound the mean's 95 % interval over seeds, published is
    text with the source's digits or empty, difference a number or NaN. best: whether the row is
    better than each other one beyond the interval of their difference within seeds.
    rows: row -> {status, seeds, epochs, note}. compared: whether differences are meant.
    features: columns `metric, features`, the networks that the numbers rest on. evidence: how the
    published numbers are known.
    """

    table: str
    dataset: str
    protocol: str
    published_dataset: str
    compared: bool
    lines: pd.DataFrame
    rows: pd.DataFrame
    features: pd.DataFrame
    evidence: tuple[str, ...]

    def images(self, metric: str) -> set[int]:
        """The different numbers of test images that a metric's values rest on."""
        found = self.lines.loc[self.lines["metric"] == metric, "images"]
        return set(found.dropna().astype(int))

    @property
    def measured(self) -> set[str]:
        """The rows that have numbers."""
        return set(self.rows.loc[self.rows["epochs"].notna(), "row"])


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
        known = ("exact", "as_published", "samples")
        protocols = [p for p in known if (ours["protocol"] == p).any()] or [unmeasured]
        real = plan.published_dataset(dataset, table)
        for protocol in protocols:
            # Published numbers stand beside ours of the same protocol, if that was measured.
            beside = theirs[(theirs["dataset"] == real) & (protocol == protocols[-1])]
            good = ours[(ours["status"] == "ok") & (ours["protocol"] == protocol)]
            rows = _rows(plan, table, dataset, ours, good, set(beside["row"]))
            found.append(_block(plan, table, (dataset, real), protocol, rows, good, beside))
    for entry in plan.absent:
        if entry.table == table:
            state = {"status": "not_at_this_budget", "seeds": 0, "epochs": None, "note": entry.note}
            rows = [{"row": row, **state} for row in entry.rows]
            beside = theirs[theirs["dataset"] == entry.dataset]
            names = (entry.dataset, entry.dataset)
            found.append(_block(plan, table, names, unmeasured, rows, measured.iloc[:0], beside))
    return found


def _block(
    plan: Plan,
    table: str,
    names: tuple[str, str],
    protocol: str,
    rows: list[dict[str, Any]],
    good: pd.DataFrame,
    beside: pd.DataFrame,
) -> Block:
    """names: of the dataset and of that of the published numbers. good, beside: the lines of
    Measured and of Published that the block shows.
    """
    dataset, real = names
    compared = protocol in ("as_published", "samples") and real == dataset
    keys = zip(beside["row"], beside["metric"], strict=True)
    printed = dict(zip(keys, beside["value"], strict=True))
    lines = []
    for metric in plan.tables[table].metrics:
        of_metric = good[good["metric"] == metric]
        best = best_row(of_metric)
        for row in (state["row"] for state in rows):
            of_row = of_metric[of_metric["row"] == row]
            found = interval(of_row["value"].to_numpy()) if len(of_row) else NOTHING
            text = printed.get((row, metric), "")
            number = as_number(text) if compared and text else NAN
            lines.append(
                {"metric": metric, "row": row, "mean": found.mean, "low": found.low}
                | {"high": found.high, "seeds": found.seeds, "best": row == best}
                | {"images": of_row["images"].max(), "published": text}
                | {"difference": found.mean - number}
            )
    networks = good.loc[good["features"] != "", ["metric", "features"]]
    return Block(
        table=table,
        dataset=dataset,
        protocol=protocol,
        published_dataset=real,
        compared=compared,
        lines=pd.DataFrame(lines),
        rows=pd.DataFrame(rows),
        features=networks.drop_duplicates(),
        evidence=tuple(beside["evidence"].unique()),
    )


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


def _rows(
    plan: Plan,
    table: str,
    dataset: str,
    ours: pd.DataFrame,
    good: pd.DataFrame,
    published_rows: set[str],
) -> list[dict[str, Any]]:
    """For each row whether it has numbers, of how many seeds and epochs, and what to say about it.

    ours: the dataset's lines of Measured. good: those with numbers by the block's protocol.
    """
    cells_of = plan.rows_of(table, dataset)
    longest = max(plan.knobs(cell).epochs for cells in cells_of.values() for cell in cells)
    batches = {row: plan.knobs(cells[0]).batch_size for row, cells in cells_of.items()}
    usual = statistics.mode(batches.values())
    found = []
    for row in plan.tables[table].order:
        if row in cells_of:
            # The caption has all batch sizes; whose is which is the row's to say.
            batch = f"batch {batches[row]}" if batches[row] != usual else ""
            here, numbers = ours[ours["row"] == row], good[good["row"] == row]
            found.append({"row": row, **_state(here, numbers, len(cells_of[row]), longest, batch)})
        elif row in published_rows:
            state = {"status": "published_only", "seeds": 0, "epochs": None}
            found.append({"row": row, **state, "note": "published number only"})
    return found


def _state(
    here: pd.DataFrame, good: pd.DataFrame, planned: int, longest: int, batch: str
) -> dict[str, Any]:
    """A row's state. batch: its batch size in words where it is not the other rows', else empty."""
    seeds = good["cell"].nunique()
    bad = here[here["status"] != "ok"]
    status, notes = "ok", []
    if len(bad):
        status = bad["status"].iloc[0]
        note = f"{status.replace('_', ' ')}: {bad['note'].iloc[0]}"
        notes.append(f"{bad['cell'].nunique()} of {planned} seeds: {note}" if seeds else note)
    elif seeds < planned:
        status = "not_measured"
        notes.append(f"{seeds} of {planned} seeds measured" if seeds else "not measured")
    epochs = good["epochs"].dropna()
    if len(epochs):
        less = f"{int(epochs.min())} of {longest} epochs" if epochs.min() < longest else ""
        notes.append(", ".join(filter(None, (less, batch))))
    return {
        "status": "ok" if seeds else status,
        "seeds": seeds,
        "epochs": int(epochs.min()) if len(epochs) else None,
        "note": "; ".join(filter(None, notes)),
    }
