"""The blocks of a table, which join measured numbers with published ones."""

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
from workflows.render.numbers import ABSENT, PROTOCOLS, formatted, heading, too_few_images


@dataclass(frozen=True)
class Block:
    """The rows of a table on one dataset, measured by one protocol.

    lines: a line for each metric and row. `mean, low, high, seeds` are the interval over seeds, and
    `best` says whether the row is the best beyond that. `shade` ranks the mean within its column,
    from 0 (worst, or without rank) to 100 (best). `images` counts test images. `text` and `half`
    are the mean and half of its interval as text. `published` has the digits of the source, and
    `comparable` is the same text, or empty if that number must not stand beside ours.
    rows: columns `row, status, seeds, epochs, note`.
    features: columns `metric, features`, the networks behind the numbers.
    images: metric -> the numbers of test images of its values.
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

    @property
    def place(self) -> str:
        """The name of the block's place on the page of its table."""
        return f"{self.dataset}-{self.protocol}"

    def too_few_images(self, metric: str) -> bool:
        """Return whether a metric rests on too few images to stand beside published numbers."""
        return too_few_images(metric, self.images.get(metric, ()))

    def heading(self, metric: str) -> str:
        """Return the metric with its unit and its number of images."""
        return heading(metric, self.images.get(metric, ()))

    @cached_property
    def measured(self) -> set[str]:
        """The rows that have numbers."""
        return set(self.rows.loc[self.rows["seeds"] > 0, "row"])

    @cached_property
    def entries(self) -> dict[str, dict[str, dict[Any, Any]]]:
        """Metric -> row -> its line of `lines`. Metrics without any number are left out."""
        return {
            str(metric): {line["row"]: line for line in lines.to_dict("records")}
            for metric, lines in self.lines.groupby("metric", sort=False)
            if (lines["text"] + lines["comparable"]).any()
        }

    @cached_property
    def notes(self) -> list[str]:
        """The different notes of the rows, in order."""
        return [note for note in self.rows["note"].unique() if note]

    def mark(self, row: str) -> str:
        """Return the letter of a row's note, which counts from a; empty without a note."""
        note = self.rows.set_index("row")["note"][row]
        return chr(ord("a") + self.notes.index(note)) if note else ""


def blocks(plan: Plan, measured: pd.DataFrame, published: pd.DataFrame, table: str) -> list[Block]:
    """Return the blocks of a table: each dataset in order, and for each its measured protocols.

    Datasets that this budget lacks come last, with published numbers alone. Raises ConfigError for
    an unknown table.
    """
    table_blocks = []
    published = published[published["table"] == table]
    # A dataset without measurements still shows its rows with the reason and published numbers.
    unmeasured = plan.main_protocol(table)
    for dataset in plan.datasets_of(table):
        lines = measured[(measured["table"] == table) & (measured["dataset"] == dataset)]
        planned = plan.rows_of(table, dataset)
        protocols = [p for p in PROTOCOLS if (lines["protocol"] == p).any()] or [unmeasured]
        published_dataset = plan.published_dataset(dataset, table)
        for protocol in protocols:
            # Published numbers stand in the first block of a dataset alone.
            first = protocol == protocols[0]
            theirs = published[(published["dataset"] == published_dataset) & first]
            ours = lines[(lines["status"] == "ok") & (lines["protocol"] == protocol)]
            rows = [
                {"row": row, **_row_state(row, planned.get(row), lines, ours)}
                for row in plan.tables[table].order
                if row in planned or row in set(theirs["row"])
            ]
            key = (table, dataset, protocol, published_dataset)
            table_blocks.append(_block(plan, key, rows, ours, theirs))
    for absent in plan.absent:
        if absent.table == table:
            state = {"status": "not_at_this_budget", "seeds": 0, "epochs": None}
            rows = [{"row": row, **state, "note": absent.note} for row in absent.rows]
            theirs = published[published["dataset"] == absent.dataset]
            key = (table, absent.dataset, unmeasured, absent.dataset)
            table_blocks.append(_block(plan, key, rows, measured.iloc[:0], theirs))
    return table_blocks


def _block(
    plan: Plan,
    key: tuple[str, str, str, str],
    rows: list[dict[str, Any]],
    ours: pd.DataFrame,
    theirs: pd.DataFrame,
) -> Block:
    """Return the block of the rows. key: the first four fields of the block.

    ours, theirs: the measured and the published numbers that the block shows.
    """
    metrics = plan.tables[key[0]].metrics
    ours = ours[ours["metric"].isin(metrics)]
    counted = ours.dropna(subset=["images"]).astype({"images": int})
    images = {str(metric): set(lines["images"]) for metric, lines in counted.groupby("metric")}
    published_texts = theirs.set_index(["row", "metric"])["value"]
    lines: list[dict[str, Any]] = []
    for metric in metrics:
        of_metric = ours[ours["metric"] == metric]
        of_rows = {state["row"]: of_metric[of_metric["row"] == state["row"]] for state in rows}
        intervals = {row: interval(of_row["value"]) for row, of_row in of_rows.items()}
        shades = _shades(metric, pd.Series({row: over.mean for row, over in intervals.items()}))
        best = None if metric in UNRANKED else best_row(of_metric)
        for row, over in intervals.items():
            text = formatted(metric, over.mean).replace(ABSENT, "")
            published = published_texts.get((row, metric), "")
            hidden = text and too_few_images(metric, images.get(metric, ()))
            line = {"metric": metric, "row": row, **over._asdict(), "best": row == best}
            line |= {
                "shade": shades[row],
                "images": of_rows[row]["images"].max(),
                "text": text,
                "half": formatted(metric, (over.high - over.low) / 2).replace(ABSENT, ""),
                "published": published,
                "comparable": "" if hidden else published,
            }
            lines.append(line)
    features = ours.loc[ours["features"] != "", ["metric", "features"]].drop_duplicates()
    frames = pd.DataFrame(lines), pd.DataFrame(rows), features
    return Block(*key, *frames, images, tuple(theirs["evidence"].unique()))


def _shades(metric: str, means: pd.Series) -> dict[str, int]:
    """Return row -> how good its mean is, as Block.lines describes `shade`."""
    if metric in UNRANKED:
        return dict.fromkeys(means.index, 0)
    finite = means[np.isfinite(means)]
    gains = finite - finite.min() if METRICS[metric] else finite.max() - finite
    # Equal means are all in the middle.
    shades = (100 * gains / gains.max()).fillna(50).round()
    return shades.reindex(means.index, fill_value=0).astype(int).to_dict()


def best_row(lines: pd.DataFrame) -> str | None:
    """Return the row that is better than every other row, or None if seeds support no such row.

    Rows are compared within seeds: the interval of each difference must lie above 0. lines: the
    measured lines of one metric.
    """
    values = lines.pivot_table(index="seed", columns="row", values="value")
    if values.shape[1] < 2:
        return None
    gains = values if METRICS[lines["metric"].iloc[0]] else -values
    best = str(gains.mean().idxmax())
    differences = (gains[best] - gains[other] for other in gains.columns.drop(best))
    return best if all(interval(gain.dropna()).low > 0 for gain in differences) else None


def _row_state(
    row: str, planned: list[str] | None, lines: pd.DataFrame, ours: pd.DataFrame
) -> dict[str, Any]:
    """Return the `status, seeds, epochs, note` of a row.

    planned: the row's cells, None for a row of published numbers alone. lines: all measured lines
    of the dataset. ours: those of them that have numbers by the block's protocol.
    """
    if planned is None:
        state = {"status": "published_only", "seeds": 0, "epochs": None}
        return {**state, "note": "published number only"}
    numbers = ours[ours["row"] == row]
    failures = lines[(lines["row"] == row) & (lines["status"] != "ok")]
    seeds = numbers["cell"].nunique()
    count = f"{seeds} of {len(planned)} seeds measured"
    status, note = "ok", ""
    if len(failures):
        status = failures["status"].iloc[0]
        note = f"{status.replace('_', ' ')}: {failures['note'].iloc[0]}"
        if seeds:
            # Why other runs are outdated would mislead about the number that is shown.
            reason = status if status == "outdated" else note
            note = f"{count}, {failures['cell'].nunique()} {reason}"
    elif seeds < len(planned):
        status = "not_measured"
        note = count if seeds else "not measured"
    status, epochs = ("ok", int(numbers["epochs"].min())) if seeds else (status, None)
    return {"status": status, "seeds": seeds, "epochs": epochs, "note": note}
