"""Codevectors among latents, drawn in a disc whose radius is a distance on a logarithmic scale.

In the course of a training latents outgrow the codebook's first values ten thousand times. Angles
are as they are; the centre, within the first codebook, is linear.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.patches import Circle

from workflows.render.films import Film, Frame
from workflows.render.style import NOTE

LATENT, UNUSED, RING = "#C4C4C4", "#5A5A5A", "#E4E4E4"
KEPT = 0.999  # of the latents of all frames: a few that are far away would shrink the rest


@dataclass(frozen=True)
class Scale:
    """unit: the distance from the origin up to which it is linear. far: that of the edge."""

    unit: float
    far: float

    @property
    def edge(self) -> float:
        """The radius of the disc."""
        return float(np.arcsinh(self.far / self.unit))

    @property
    def rings(self) -> list[float]:
        """The powers of ten between the centre and the edge."""
        low, high = np.log10(2 * self.unit), np.log10(self.far)
        return [10.0**power for power in range(int(np.ceil(low)), int(np.floor(high)) + 1)]

    def place(self, points: np.ndarray) -> np.ndarray:
        """Points (n, 2) in the disc; those outside of it or not finite are left out."""
        distance = np.hypot(*points.T)
        kept = distance <= self.far  # false for nan
        near = np.maximum(distance[kept], 1e-12)
        return points[kept] * (np.arcsinh(near / self.unit) / near)[:, None]


def scale(films: Iterable[Film]) -> Scale:
    """One for all frames of all films: sizes can be compared from frame to frame."""
    units, reaches = [1e-9], [1e-9]
    for film in films:
        units.append(1 / film.codes)  # codebooks start within this distance of 0
        distances = np.hypot(film.latents[..., 0], film.latents[..., 1])
        reaches.append(float(np.quantile(distances[np.isfinite(distances)], KEPT)))
        reaches.append(units[-1] * 10)
    return Scale(max(units), max(reaches))


def disc(ax: Axes, scale: Scale, labels: bool) -> None:
    """The empty disc; labels: with the distances that its rings stand for."""
    ax.set_axis_off()
    ax.set_aspect("equal")
    for limits in (ax.set_xlim, ax.set_ylim):
        limits(-1.02 * scale.edge, 1.02 * scale.edge)
    ax.add_patch(Circle((0, 0), scale.edge, fill=False, ec="#A0A0A0", lw=0.5))
    for distance in scale.rings:
        radius = float(np.arcsinh(distance / scale.unit))
        ax.add_patch(Circle((0, 0), radius, fill=False, ec=RING, lw=0.6, zorder=0))
        if labels:
            box = {"boxstyle": "square,pad=0.05", "fc": "white", "ec": "none"}
            text = ax.text(0, radius, f"{distance:g}", size=NOTE, color=UNUSED, bbox=box)
            text.set(ha="center", va="center", zorder=0.5)


def marks(colour: str, size: float) -> dict[str, Line2D]:
    """How latents and codevectors look. size: of a codevector in use, in points."""
    return {
        "latent": Line2D([], [], marker="o", color=LATENT, ms=size * 0.5, ls="", mew=0),
        "unused": Line2D([], [], marker="x", color=UNUSED, ms=size * 1.3, ls="", mew=size * 0.25),
        "used": Line2D([], [], marker="o", color=colour, ms=size, ls="", mew=0),
    }


def draw(ax: Axes, frame: Frame, scale: Scale, colour: str, size: float) -> int:
    """A frame in its disc; returns how many unused codevectors lie outside of it."""
    unused = scale.place(frame.codebook[~frame.used])
    points = {
        "latent": scale.place(frame.latents),
        "unused": unused,
        "used": scale.place(frame.codebook[frame.used]),
    }
    for order, (name, mark) in enumerate(marks(colour, size).items(), start=1):
        mark.set_data(*points[name].T)
        mark.set_zorder(order)
        # As vectors, fifteen hundred dots a panel make a file that viewers are slow to show.
        mark.set_rasterized(name != "used")
        ax.add_line(mark)
    return int((~frame.used).sum()) - len(unused)


def usage(frame: Frame, outside: int) -> str:
    """A frame in words."""
    text = f"{frame.used.sum()} of {len(frame.used)} used"
    return text + (f", {outside} outside" if outside else "")
