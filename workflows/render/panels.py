"""What every figure shares: a panel for each dataset, direct labels, and what names a figure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np

from workflows.render.style import SETTINGS, colour


def panels(plan: Mapping[str, Any], datasets: Sequence[str], lines: int, tall: float = 2.4) -> Any:
    """A figure that names its budget, and its axes: a column for each dataset."""
    mpl.rcParams.update(SETTINGS)
    columns = max(len(datasets), 1)
    figure, axes = plt.subplots(
        lines, columns, figsize=(4.2 * columns, tall * lines + 0.5), squeeze=False
    )
    figure.suptitle(plan["title"], size=8)
    return figure, axes


def title(plan: Mapping[str, Any], dataset: str) -> str:
    """A dataset's title, with what it stands in for."""
    about = plan["datasets"][dataset]
    instead = about["stand_in_for"]
    return about["title"] + (f"\n(stand-in for {instead})" if instead else "")


def head(ax: plt.Axes, text: str, x: str, y: str) -> None:
    """Title and axis labels."""
    ax.set(title=text, xlabel=x, ylabel=y)


def line(ax: plt.Axes, x: Any, y: Any, method: str, marker: str | None = None) -> None:
    """A method's line; nothing where there are no values."""
    if len(x) > 0:
        marker = marker or ("o" if len(x) == 1 else None)
        ax.plot(x, y, color=colour(method), label=method, marker=marker, markersize=4, lw=1.2)


def finish(ax: plt.Axes) -> None:
    """Label every line at its right end, spread so that no two labels overlap."""
    if not ax.lines:
        ax.text(0.5, 0.5, "no measurements", transform=ax.transAxes, ha="center", size=8)
        return
    ends = []
    for drawn in ax.lines:
        point = np.asarray(drawn.get_xydata())[-1]
        ends.append((ax.transAxes.inverted().transform(ax.transData.transform(point))[1], drawn))
    low = -1.0
    for height, drawn in sorted(ends, key=lambda end: end[0]):
        low = max(height, low + 0.08)
        ax.annotate(
            str(drawn.get_label()),
            (1.02, low),
            xycoords="axes fraction",
            size=7,
            va="center",
            color=drawn.get_color(),
        )
