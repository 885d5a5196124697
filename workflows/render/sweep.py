"""A metric against a knob: one line a method, a panel for each dataset and metric."""

from __future__ import annotations

import matplotlib.pyplot as plt
import pandas as pd

from workflows.render.collected import Collected
from workflows.render.numbers import heading
from workflows.render.panels import failed, finish, head, line, panels, title
from workflows.render.style import MARKERS, colour
from workflows.render.tables import PROTOCOLS


def sweep(
    data: Collected, table: str, knob: str, label: str, metrics: list[str], blobs: bool
) -> plt.Figure:
    """Means over seeds against `knob`, whose axis is called `label`; crosses where a run failed.

    blobs: whether a mark's area grows with the knob. Shows the protocol that is compared with the
    publication if it was measured, and says which.
    """
    datasets = data.datasets(table)
    figure, axes = panels(data.plan, datasets, len(metrics))
    values = data.measured[(data.measured["table"] == table) & (data.measured["status"] == "ok")]
    protocol = "as_published" if (values["protocol"] == "as_published").any() else "exact"
    values = values[values["protocol"] == protocol]
    figure.suptitle(f"{data.plan['title']}; {PROTOCOLS[protocol]}", size=8)
    for column, dataset in enumerate(datasets):
        bad = data.failed(table, dataset)
        bad = bad.assign(
            x=[data.knobs(cell)[knob] for cell in bad["cell"]], method=_method(bad["row"])
        )
        for at_line, metric in enumerate(metrics):
            ax = axes[at_line, column]
            at = values[(values["dataset"] == dataset) & (values["metric"] == metric)]
            images = set(at["images"].dropna().astype(int))
            head(ax, title(data.plan, dataset), label, heading(metric, images))
            x = [data.knobs(cell)[knob] for cell in at["cell"]]
            at = at.assign(x=x, method=_method(at["row"]))
            for key, some in at.groupby("method", sort=False):
                method = str(key)
                mean = some.groupby("x")["value"].mean() * (100 if metric == "usage" else 1)
                line(ax, mean.index, mean, method, marker=None if blobs else MARKERS.get(method))
                if blobs:
                    area = 2.5 * mean.index
                    ax.scatter(mean.index, mean, area, color=colour(method), alpha=0.6, lw=0)
            if ax.lines:
                ax.margins(0.09, 0.12)
                ax.set_xscale("log", base=2)
                ax.xaxis.set_major_formatter("{x:.0f}")
                for key, some in bad.groupby("method", sort=False):
                    failed(ax, some["x"], str(key))
            finish(ax, data.reason(table, dataset))
    return figure


def _method(rows: pd.Series) -> pd.Series:
    """The method in a sweep's row, such as VQ-VAE of `VQ-VAE, D = 4`."""
    return rows.str.split(",").str[0]
