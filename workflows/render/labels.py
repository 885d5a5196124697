"""Words and marks in a panel: a label at the end of every line, a cross where a run failed."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes

from workflows.render.lettering import POINTS, height, wrap
from workflows.render.scales import CROSS, inches
from workflows.render.seeds import Spread
from workflows.render.style import GREY, LABEL, LEADER, ink, style

WIDE, THIN = 1.2, 0.8  # points of a line: of many values, of a few marked ones
BAND = 0.18  # how opaque the range over seeds is


def line(
    ax: Axes, values: Spread, method: str, label: str, mark: bool = False, bars: bool = False
) -> None:
    """A method's mean over seeds, and their range as a band; nothing where there are no values.

    mark: with a marker at every value, as a single one has in any case. bars: instead of the band.
    """
    if len(values) == 0:
        return
    look = style(method)
    marker = look.marker if mark or len(values) == 1 else ""
    ax.plot(
        values.x,
        values.mean,
        color=look.colour,
        ls=look.dash,
        lw=THIN if bars else WIDE,
        marker=marker,
        ms=3.5,
        label=label,
    )
    if values.seeds > 1 and bars:
        ax.vlines(values.x, values.low, values.high, color=look.colour, lw=0.9, zorder=4)
    elif values.seeds > 1:
        ax.fill_between(values.x, values.low, values.high, color=look.colour, alpha=BAND, lw=0)


def failed(ax: Axes, x: Sequence[float], method: str, label: str = "") -> None:
    """A cross at the foot of the panel, above those of others, for each x that has no number.

    label: of the last one, for a method that has no line which could carry it.
    """
    tall = inches(ax)[1]
    for value in dict.fromkeys(x):
        crosses = [drawn for drawn in ax.lines if drawn.get_marker() == "x"]
        below = sum(np.asarray(cross.get_xdata())[0] == value for cross in crosses)
        (mark,) = ax.plot(
            [value],
            [CROSS * (below + 0.8) / tall],
            "x",
            ms=4.5,
            mew=1.2,
            transform=ax.get_xaxis_transform(),
            color=style(method).colour,
            clip_on=False,
            label="_",
            zorder=5,
        )
    if label and len(x):
        mark.set_label(label)


def empty(axes: np.ndarray, reason: str) -> None:
    """A dataset's panels without lines; the first says why."""
    for ax in axes:
        ax.set_axis_off()
    ax = axes[0]
    wide, tall = inches(ax)
    text = wrap(reason, LABEL, wide, lines=int(tall / height(1, LABEL)))
    ax.text(0, 1, text, transform=ax.transAxes, size=LABEL, color=GREY, va="top")


def spaced(wanted: Sequence[float], gap: float) -> list[float]:
    """Heights in [0, 1] as near the wanted ones (sorted) as a `gap` between them allows.

    Those that are too close gather about their mean. A gap too large for all is reduced.
    """
    gap = min(gap, 1 / max(len(wanted) - 1, 1))
    groups: list[list[float]] = []
    for index, one in enumerate(wanted):
        groups.append([one - index * gap])
        while len(groups) > 1 and np.mean(groups[-2]) >= np.mean(groups[-1]):
            last = groups.pop()
            groups[-1] += last
    starts = np.array([np.mean(group) for group in groups for _ in group])
    steps = gap * np.arange(len(wanted))
    return list(np.clip(starts, 0, max(0.0, 1 - gap * (len(wanted) - 1))) + steps)


def label_ends(ax: Axes) -> None:
    """Label every named line beside the panel, spread so that no two labels overlap.

    A line as faint as the grid, which no method has, leads from each end to its label.
    """
    ax.get_ylim()  # settles the limits, which until then are not those of the panel
    lines = [drawn for drawn in ax.lines if not str(drawn.get_label()).startswith("_")]
    ends = []
    for drawn in lines:
        points = np.asarray(drawn.get_xydata())
        point = drawn.get_transform().transform(points[np.isfinite(points).all(1)][-1])
        ends.append((*ax.transAxes.inverted().transform(point), drawn))
    ends.sort(key=lambda end: end[1])
    rows = max((str(drawn.get_label()).count("\n") + 1 for drawn in lines), default=1)
    places = spaced([end[1] for end in ends], (height(rows, LABEL) + 1 / POINTS) / inches(ax)[1])
    for place, (x, y, drawn) in zip(places, ends, strict=True):
        ax.annotate(
            str(drawn.get_label()),
            xy=(x, y),
            xytext=(1.06, place),
            xycoords="axes fraction",
            textcoords="axes fraction",
            size=LABEL,
            va="center",
            color=ink(drawn.get_color()),
            linespacing=1.1,
            annotation_clip=False,
            arrowprops={
                "arrowstyle": "-",
                "color": LEADER,
                "lw": 0.5,
                "shrinkA": 1,
                "shrinkB": 0,
                "relpos": (0, 0.5),
            },
        )
