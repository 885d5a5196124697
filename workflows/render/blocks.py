"""One dataset and one protocol of a table: measured numbers joined with the published ones."""

from __future__ import annotations

import statistics
from dataclasses import dataclass

import pandas as pd

from workflows.config.names import METRICS
from workflows.config.plan import Absent, Plan
from workflows.records.intervals import Interval, interval
from workflows.records.published import as_number

NOTHING = Interval(float("nan"), float("nan"), float("nan"), 0)


@dataclass(frozen=True)
class Block:
    """One dataset's rows by one protocol.

    lines: one line per (row, metric), columns `row, metric, mean, low, high, seeds, best, images,
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
    evidence: tuple[str, ...] = ()

    def images(self, metric: str) -> set[int]:
        """The different numbers of test images that a metric's values rest on."""
        found = self.lines.loc[self.lines["metric"] == metric, "images"]
        return set(found.dropna().astype(int))


def blocks(plan: Plan, measured: pd.DataFrame, published: pd.DataFrame, table: str) -> list[Block]:
    """The blocks of a table: its datasets in order, for each the protocols that were measured.

    measured, published: lines that are Measured and Published. Raises ConfigError for an unknown
    table.
    """
    found = []
    for dataset in plan.datasets_of(table):
        ours = measured[(measured["table"] == table) & (measured["dataset"] == dataset)]
        known = ("exact", "as_published", "samples")
        protocols = [p for p in known if (ours["protocol"] == p).any()]
        # Nothing measured still shows its rows, with the reason and the published numbers.
        protocols = protocols or [unmeasured(plan, table)]
        # Published numbers stand beside ours of the same protocol, if that was measured.
        beside = protocols[-1]
        for protocol in protocols:
            theirs = published[published["table"] == table] if protocol == beside else None
            found.append(_block(plan, ours, theirs, table, dataset, protocol))
    absent = [entry for entry in plan.absent if entry.table == table]
    return found + [_absent(plan, entry, published) for entry in absent]


def unmeasured(plan: Plan, table: str) -> str:
    """The protocol of a table that nothing is measured of: that of the published numbers."""
    return "samples" if plan.tables[table].stage == 2 else "as_published"


def _absent(plan: Plan, entry: Absent, published: pd.DataFrame) -> Block:
    """The block of a dataset that this budget has none for: the rows, with what was published."""
    table, dataset = entry.table, entry.dataset
    printed = _printed(published[published["table"] == table], dataset)
    nothing = {key: float("nan") for key in ("mean", "low", "high", "images")}
    nothing |= {"seeds": 0, "best": False}
    lines = [
        {"row": row, "metric": metric, **nothing}
        | {"published": printed.get((row, metric), ""), "difference": float("nan")}
        for row in entry.rows
        for metric in plan.tables[table].metrics
    ]
    state = {"status": "not_at_this_budget", "seeds": 0, "epochs": None, "note": entry.note}
    return Block(
        table=table,
        dataset=dataset,
        protocol=unmeasured(plan, table),
        published_dataset=dataset,
        compared=False,
        lines=pd.DataFrame(lines),
        rows=pd.DataFrame([{"row": row, **state} for row in entry.rows]),
        features=pd.DataFrame(columns=["metric", "features"]),
        evidence=_evidence(published[published["table"] == table], dataset),
    )


def _evidence(theirs: pd.DataFrame, dataset: str) -> tuple[str, ...]:
    """How the published values on a dataset are known, each way once."""
    return tuple(theirs.loc[theirs["dataset"] == dataset, "evidence"].unique())


def _printed(theirs: pd.DataFrame, dataset: str) -> dict[tuple[str, str], str]:
    """(row, metric) -> the published value on a dataset, as its source prints it."""
    of_real = theirs[theirs["dataset"] == dataset]
    keys = zip(of_real["row"], of_real["metric"], strict=True)
    return dict(zip(keys, of_real["value"], strict=True))


def _block(
    plan: Plan,
    ours: pd.DataFrame,
    theirs: pd.DataFrame | None,
    table: str,
    dataset: str,
    protocol: str,
) -> Block:
    real = plan.published_dataset(dataset, table)
    compared = protocol in ("as_published", "samples") and real == dataset
    printed = _printed(theirs, real) if theirs is not None else {}
    lines, rows = [], []
    cells_of = plan.rows_of(table, dataset)
    longest = max(plan.knobs(cell).epochs for cells in cells_of.values() for cell in cells)
    batches = {row: plan.knobs(cells[0]).batch_size for row, cells in cells_of.items()}
    usual = statistics.mode(batches.values())
    # Rows of published numbers alone have no cells; they are shown where the source has them.
    said = {row for row, _ in printed}
    wanted = {
        row: cells_of.get(row, [])
        for row in plan.tables[table].order
        if row in cells_of or row in said
    }
    usable = ours[(ours["status"] == "ok") & (ours["protocol"] == protocol)]
    best = {metric: best_row(usable, metric) for metric in plan.tables[table].metrics}
    for row, cells in wanted.items():
        here = ours[ours["row"] == row]
        good = usable[usable["row"] == row]
        # The caption has them all; whose is which is the row's to say.
        batch = f"batch {batches[row]}" if batches.get(row, usual) != usual else ""
        rows.append({"row": row, **_state(here, good, cells, longest, batch)})
        for metric in plan.tables[table].metrics:
            of_metric = good[good["metric"] == metric]
            text = printed.get((row, metric), "")
            number = as_number(text) if compared and text else float("nan")
            found = interval(of_metric["value"].to_numpy()) if len(of_metric) else NOTHING
            lines.append(
                {
                    "row": row,
                    "metric": metric,
                    "mean": found.mean,
                    "low": found.low,
                    "high": found.high,
                    "seeds": found.seeds,
                    "best": row == best[metric],
                    "images": of_metric["images"].max(),
                    "published": text,
                    "difference": found.mean - number,
                }
            )
    networks = ours[(ours["protocol"] == protocol) & (ours["features"] != "")]
    return Block(
        table=table,
        dataset=dataset,
        protocol=protocol,
        published_dataset=real,
        compared=compared,
        lines=pd.DataFrame(lines),
        rows=pd.DataFrame(rows),
        features=networks[["metric", "features"]].drop_duplicates(),
        evidence=_evidence(theirs, real) if theirs is not None else (),
    )


def best_row(measured: pd.DataFrame, metric: str) -> str | None:
    """The row that is better than every other in `metric`, beyond what seeds explain, if one is.

    Rows are compared within seeds. A difference that its interval does not support is none.
    """
    lines = measured[measured["metric"] == metric]
    wide = lines.pivot_table(index="seed", columns="row", values="value")
    if wide.shape[1] < 2:
        return None
    gains = wide if METRICS[metric] else -wide
    first = str(gains.mean().idxmax())
    for other in gains.columns.drop(first):
        gain = (gains[first] - gains[other]).dropna().to_numpy()
        if not len(gain) or not interval(gain).low > 0:
            return None
    return first


def _state(
    here: pd.DataFrame, good: pd.DataFrame, cells: list[str], longest: int, batch: str
) -> dict:
    """Whether a row has numbers, of how many seeds and epochs, and what to say about it.

    batch: its batch size in words where it is not the other rows', else empty.
    """
    if not cells:
        state = {"status": "published_only", "seeds": 0, "epochs": None}
        return {**state, "note": "published number only"}
    seeds = good["cell"].nunique()
    bad = here[here["status"] != "ok"]
    notes = []
    if len(bad):
        status = bad["status"].iloc[0]
        note = bad["note"].iloc[0]
        note = f"{status.replace('_', ' ')}: {note}"
        notes.append(f"{bad['cell'].nunique()} of {len(cells)} seeds: {note}" if seeds else note)
    elif seeds < len(cells):
        status = "not_measured"
        notes.append(f"{seeds} of {len(cells)} seeds measured" if seeds else "not measured")
    else:
        status = "ok"
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
