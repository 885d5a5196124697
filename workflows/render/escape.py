"""Escape text for Markdown and LaTeX, so that a name or caption is shown and never interpreted."""

from __future__ import annotations

import re

# Marks that Markdown would interpret where they stand: backslashes, code, emphasis, table edges,
# HTML, links, pictures, entities and strike-through. Other marks stay bare, for readability.
INLINE = re.compile(r"[\\`*|<]|\](?=[(\[:])|!(?=\[)|&(?=#?\w+;)|~(?=~)|(?<![^\W_])_|_(?![^\W_])")
# Marks that make a heading, quote or list at the start of a line; `number` is a list item's number.
BLOCK = re.compile(r"^(?:(?P<number>\d{1,9})(?=[.)](\s|$))|(?=[#>+=~-]))")
# Marks that LaTeX interprets, or prints as another mark.
LATEX = {mark: f"\\{mark}" for mark in "&%$#_{}"} | {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
}


def markdown(text: str) -> str:
    """Return one line of Markdown that shows `text`. White space and line breaks become blanks."""
    line = INLINE.sub(r"\\\g<0>", " ".join(text.split()))
    # The backslash goes behind the number of a list item, and before any other mark.
    return BLOCK.sub(lambda match: f"{match['number'] or ''}\\", line)


def latex(text: str) -> str:
    """Return one line of LaTeX that shows `text`, also at the start of a table's row."""
    line = "".join(LATEX.get(mark, mark) for mark in " ".join(text.split()))
    # The end of a table's row takes "[" as its argument and "*" as a part of its command.
    return f"{{{line[0]}}}{line[1:]}" if line.startswith(("[", "*")) else line
