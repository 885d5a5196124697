"""Axes: whole numbers for what is counted, the tested values for what is varied, and room."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FixedLocator, MaxNLocator, NullLocator

STEPS = (1, 1.5, 2, 3, 4, 5, 7)  # ticks of a decade
CROSS = 0.1  # inches from the cross of a failed run to the next above it


def unit(longest_epochs: float) -> str:
    """The column that curves are drawn against: `epoch`, or `step` below two whole epochs."""
    return "epoch" if longest_epochs >= 2 else "step"


def counted(ax: Axes, longest: float) -> None:
    """From 0 to `longest`, with ticks at whole numbers."""
    locator = MaxNLocator(nbins=5, integer=True, steps=[1, 2, 5, 10])
    ax.set_xlim(0, longest)
    ax.xaxis.set_major_locator(
        FixedLocator([tick for tick in locator.tick_values(0, longest) if 0 <= tick <= longest])
    )
    ax.xaxis.set_major_formatter("{x:,.0f}")


def tested(ax: Axes, values: Sequence[int], room: float) -> None:
    """Logarithmic, with ticks at `values` only. room: inches left free at either end."""
    ax.set_xscale("log", base=2)
    low, high = np.log2(min(values)), np.log2(max(values))
    free = max(high - low, 1.0) * room / (inches(ax)[0] - 2 * room)
    ax.set_xlim(2 ** (low - free), 2 ** (high + free))
    ax.xaxis.set_major_locator(FixedLocator(list(values)))
    ax.xaxis.set_minor_locator(NullLocator())
    ax.xaxis.set_major_formatter("{x:.0f}")


def foot(crosses: Mapping[str, Iterable[float]]) -> float:
    """Inches at the foot of a panel for the crosses of failed runs. crosses: method -> their x."""
    stacks = Counter(x for some in crosses.values() for x in set(some))
    return CROSS * (max(stacks.values()) + 0.8) if stacks else 0.0


def roomy(ax: Axes, low: float, high: float, room: float, below: float) -> None:
    """Vertical limits that leave `room` inches free about the values, and `below` under that.

    Values that start at 0 get no axis below it, only the room.
    """
    inch = max(high - low, 0.02 * abs(high), 1e-9) / (inches(ax)[1] - 2 * room - below)
    bottom, top = low - room * inch, high + room * inch
    ax.set_ylim(bottom - below * inch, top)
    start = 0.0 if low == 0 else bottom
    ax.spines["left"].set_bounds(start, top)
    ticks = MaxNLocator(nbins=5, steps=[1, 2, 5, 10]).tick_values(start, top)
    ax.set_yticks([tick for tick in ticks if start <= tick <= top])


def distances(ax: Axes, low: float, high: float, room: float, below: float) -> None:
    """A logarithmic vertical axis of positive values, with `room` inches about them and `below`
    under that; ticks are plain numbers.
    """
    low, high = math.log10(low), math.log10(high)
    inch = max(high - low, 0.02) / (inches(ax)[1] - 2 * room - below)
    bottom, top = low - room * inch, high + room * inch
    ax.set_yscale("log")
    ax.set_ylim(10 ** (bottom - below * inch), 10**top)
    ax.spines["left"].set_bounds(10**bottom, 10**top)
    decades = range(math.floor(bottom), math.ceil(top) + 1)
    ticks = [step * 10.0**decade for decade in decades for step in STEPS]
    ax.set_yticks([tick for tick in ticks if bottom <= math.log10(tick) <= top])
    ax.yaxis.set_major_formatter("{x:,.0f}")
    ax.yaxis.set_minor_locator(NullLocator())


def frequencies(ax: Axes, lowest: float, below: float) -> None:
    """A logarithmic vertical axis from a decade's third below `lowest` to 1, and `below` inches."""
    lowest /= 3
    tall = inches(ax)[1]
    ax.set_yscale("log")
    ax.set_ylim(lowest ** (tall / (tall - below)), 1)
    ax.spines["left"].set_bounds(lowest, 1)
    ax.set_yticks([10.0**n for n in range(math.ceil(math.log10(lowest)), 1)])
    ax.yaxis.set_minor_locator(NullLocator())


def inches(ax: Axes) -> np.ndarray:
    """Width and height of a panel."""
    figure = ax.get_figure(root=True)
    assert figure is not None
    return np.multiply(ax.get_position().size, figure.get_size_inches())
