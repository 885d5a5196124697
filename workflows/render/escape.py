"""Names and captions as text of a format, whatever marks they hold: shown, and never obeyed."""

from __future__ import annotations

import re

# What Markdown takes for an instruction, where it does: HTML, code, emphasis, links and pictures,
# entities, a table's edge; at the start also headings, quotes and lists. Elsewhere a mark stays as
# it is, so that the documents read well as they stand.
INLINE = re.compile(r"[\\`*|<]|\](?=[(\[:])|!(?=\[)|&(?=#?\w+;)|~(?=~)|(?<![^\W_])_|_(?![^\W_])")
BLOCK = re.compile(r"^([#>+=~-]|\d{1,9}(?=[.)](\s|$)))")
# What LaTeX takes for an instruction, or prints as another mark.
LATEX = {mark: f"\\{mark}" for mark in "&%$#_{}"} | {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
}


def markdown(text: str) -> str:
    """One line of Markdown that shows `text`; white space, also line breaks, become blanks."""
    line = INLINE.sub(lambda mark: f"\\{mark.group()}", " ".join(text.split()))
    start = BLOCK.match(line)
    if start is None:
        return line
    # A number is made an item by the point behind it.
    place = 0 if start.group(2) is None and not line[0].isdigit() else len(start.group(1))
    return f"{line[:place]}\\{line[place:]}"


def latex(text: str) -> str:
    """One line of LaTeX that shows `text`, also at the start of a table's row."""
    line = "".join(LATEX.get(mark, mark) for mark in " ".join(text.split()))
    # Behind the end of the row before, these would be its optional argument and its star.
    return f"{{{line[0]}}}{line[1:]}" if line.startswith(("[", "*")) else line
