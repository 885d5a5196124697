"""How much room words take, and how they are broken to fit it. Sizes in points, room in inches."""

from __future__ import annotations

import re

from matplotlib.font_manager import FontProperties
from matplotlib.textpath import TextToPath

from workflows.render.style import SETTINGS

POINTS = 72  # an inch
LEADING = 1.2  # height of a line of text over its size
HINTED = 1.03  # screens round letters to pixels, at most to this width


def width(text: str, size: float) -> float:
    """The width of the longest line."""
    face = FontProperties(family=SETTINGS["font.sans-serif"], size=size)
    measure = TextToPath().get_text_width_height_descent
    return max(measure(line, face, False)[0] for line in text.split("\n")) * HINTED / POINTS


def height(lines: int, size: float) -> float:
    """The height of lines of text."""
    return lines * size * LEADING / POINTS


def wrap(text: str, size: float, room: float, lines: int = 99) -> str:
    """The text in lines no wider than `room`; what exceeds `lines` ends in an ellipsis.

    A word that is wider than a line, such as a path, is broken anywhere.
    """
    done, current = [], ""
    for word in re.findall(r"[^ \t\n]+", text):  # a no-break space is part of a word
        longer = f"{current} {word}".strip()
        if width(longer, size) <= room:
            current = longer
            continue
        done += [current] if current else []
        *pieces, current = _pieces(word, size, room)
        done += pieces
    done.append(current)
    if len(done) > lines:
        done = [*done[: lines - 1], _cut(done[lines - 1], size, room)]
    return "\n".join(done)


def _pieces(word: str, size: float, room: float) -> list[str]:
    """A word in pieces that fit."""
    found = [""]
    for letter in word:
        if found[-1] and width(found[-1] + letter, size) > room:
            found.append("")
        found[-1] += letter
    return found


def _cut(line: str, size: float, room: float) -> str:
    """A line with an ellipsis at its end, shortened until both fit."""
    while line and width(line + "…", size) > room:
        line = line[:-1]
    return line.rstrip(" ,;(") + "…"
