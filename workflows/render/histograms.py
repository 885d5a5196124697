"""How evenly a codebook is used: the frequency of its codes by rank."""

from __future__ import annotations

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from workflows.render import seeds
from workflows.render.collected import Collected, Runs
from workflows.render.labels import empty, failed, label_ends, line
from workflows.render.notes import budget, failures, means, seeds_planned, short
from workflows.render.panels import across, panels
from workflows.render.scales import foot, frequencies, tested
from workflows.render.style import GREY

TABLE = "methods"
TALL, ROOM = 1.9, 0.05  # inches
Lines = dict[str, seeds.Spread]  # row


def code_histograms(data: Collected) -> Figure:
    """How often each code is hit on the test split, most frequent first, out of all K."""
    datasets = data.datasets(TABLE)
    sizes = {dataset: _size(data, dataset) for dataset in datasets}
    lines = {
        dataset: {
            runs.row: seeds.of_codes(data.codes, runs.finished, sizes[dataset])
            for runs in data.runs(TABLE, dataset)
        }
        for dataset in datasets
    }
    seen = [name for name, some in lines.items() if any(map(len, some.values()))]
    behind = {
        f"{row} on {short(data.plan, dataset)}": drawn.seeds
        for dataset, some in lines.items()
        for row, drawn in some.items()
    }
    notes = [
        f"{budget(data, TABLE, datasets)} Codes of the test images; a line ends at the last "
        "code in use. " + means(behind, seeds_planned(data, TABLE), "bands"),
        *failures(data, TABLE, seen),
    ]
    labels = [
        _label(data, runs, sizes[name]) for name in datasets for runs in data.runs(TABLE, name)
    ]
    figure, axes = panels(data.plan, datasets, labels, notes, [TALL])
    for column, dataset in enumerate(datasets):
        if dataset not in seen:
            empty(axes[:, column], data.reason(TABLE, dataset))
            continue
        _draw(axes[0, column], data, dataset, sizes[dataset], lines[dataset])
        across(axes[:, column], "code, most frequent first")
    return figure


def ranks(size: int) -> list[int]:
    """Ticks: the size divided by 8 as often as it can be, and 1."""
    return sorted({1} | {size // 8**n for n in range(size.bit_length() // 3 + 1) if size // 8**n})


def _size(data: Collected, dataset: str) -> int:
    """The largest codebook of a dataset's rows."""
    cells = [cell for runs in data.runs(TABLE, dataset) for cell in runs.cells]
    return max(data.knobs(cell)["codebook_size"] for cell in cells)


def _label(data: Collected, runs: Runs, size: int) -> str:
    """A row and how many of its codes are hit at all, from the fewest to the most."""
    counts = [data.codes.loc[data.codes["cell"] == cell, "count"] for cell in runs.finished]
    used = sorted({int((count > 0).sum()) for count in counts if len(count)})
    if not used:
        return runs.label
    reach = f"{used[0]}" if len(used) == 1 else f"{used[0]} to {used[-1]}"
    return f"{runs.row}\n{reach} of {size} used"


def _draw(ax: Axes, data: Collected, dataset: str, size: int, lines: Lines) -> None:
    crosses = {runs.row: [float(size)] for runs in data.runs(TABLE, dataset) if runs.failed}
    rarest = [drawn.where_positive().mean[-1] for drawn in lines.values() if len(drawn)]
    tested(ax, ranks(size), ROOM)
    frequencies(ax, min([1 / size, *rarest]), foot(crosses))
    (even,) = ax.plot(ax.get_xlim(), [1 / size] * 2, color=GREY, ls=(0, (6, 3)), lw=0.7)
    even.set_label(f"uniform: 1/{size}")
    for runs in data.runs(TABLE, dataset):
        drawn = lines[runs.row].where_positive()
        label = _label(data, runs, size)
        line(ax, drawn, runs.row, label)
        failed(ax, crosses.get(runs.row, []), runs.row, "" if len(drawn) else label)
    ax.set_ylabel("frequency")
    label_ends(ax)
