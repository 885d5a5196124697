"""What every figure shares: a panel for each dataset, direct labels, and what names a figure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from textwrap import fill
from typing import Any

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np

from workflows.render.style import SETTINGS, colour

LABEL_GAP = 0.08  # of a panel's height, between the centres of two labels


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


def failed(ax: plt.Axes, x: Any, method: str) -> None:
    """A cross at the foot of the panel for each value of x that has no number, with the reason."""
    for value in x:
        foot = ax.get_xaxis_transform()
        ax.plot(
            [value], [0.03], "x", transform=foot, color=colour(method), clip_on=False, label="_"
        )


def finish(ax: plt.Axes, reason: str = "no measurements") -> None:
    """Label every line at its right end, spread so that no two labels overlap.

    reason: what a panel without lines says.
    """
    lines = [drawn for drawn in ax.lines if not str(drawn.get_label()).startswith("_")]
    if not lines:
        text = fill(reason, 40)
        ax.text(0.5, 0.5, text, transform=ax.transAxes, ha="center", va="center", size=8)
        return
    # Limits are settled lazily; until then data coordinates are not yet those of the panel.
    ax.autoscale_view()
    ends = []
    for drawn in lines:
        point = np.asarray(drawn.get_xydata())[-1]
        ends.append((ax.transAxes.inverted().transform(ax.transData.transform(point))[1], drawn))
    ends.sort(key=lambda end: end[0])
    low, places = -1.0, []
    for height, _ in ends:
        low = max(height, low + LABEL_GAP)
        places.append(low)
    # Pushed back down where the topmost labels would leave the panel.
    high = 1.0 + LABEL_GAP
    for index in reversed(range(len(places))):
        high = places[index] = min(places[index], high - LABEL_GAP)
    for place, (_, drawn) in zip(places, ends, strict=True):
        ax.annotate(
            str(drawn.get_label()),
            (1.04, place),
            xycoords="axes fraction",
            size=7,
            va="center",
            color=drawn.get_color(),
        )
