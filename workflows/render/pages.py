"""Our Markdown documents as HTML pages, for viewers that do not show Markdown."""

from __future__ import annotations

import re
from html import escape
from textwrap import shorten

STYLE = """\
body { font: 15px/1.5 system-ui, sans-serif; color: #1a1a1a; background: #fff; margin: 1.5rem; }
h1 { font-size: 1.5rem; margin: 0 0 1rem; }
h2 { font-size: 1.1rem; margin: 2rem 0 .5rem; }
p, ul { max-width: 52rem; margin: .5rem 0; }
.wide { overflow-x: auto; margin: .75rem 0; }
table { border-collapse: collapse; font-size: .875rem; font-variant-numeric: tabular-nums; }
th, td { padding: .25rem .6rem; border-bottom: 1px solid #ddd; text-align: left; }
th { vertical-align: bottom; border-bottom: 2px solid #555; }
td { white-space: nowrap; }
td.long { white-space: normal; min-width: 24rem; }
summary { cursor: pointer; }
.right { text-align: right; }
th:first-child, td:first-child { position: sticky; left: 0; background: #fff; }
"""
# A cell with more characters than this is prose: it wraps, and shows its beginning until it is
# asked for the rest, or one long note would pull the rows of numbers apart.
LONG = 60


def page(document: str) -> str:
    """One HTML file that needs no other.

    document: what `markdown` of a table or of the verdicts gives: blocks with an empty line
    between them, each a heading, a list, a table or a paragraph, with **bold** inside a line.
    """
    blocks = document.strip().split("\n\n")
    title = escape(blocks[0].lstrip("# "))
    body = "\n".join(_block(block) for block in blocks)
    return (
        f'<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f"<title>{title}</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n{body}\n"
        "</body>\n</html>\n"
    )


def _block(block: str) -> str:
    if heading := re.fullmatch(r"(#+) (.*)", block):
        level = len(heading[1])
        return f"<h{level}>{_inline(heading[2])}</h{level}>"
    lines = block.splitlines()
    if block.startswith("|"):
        return _table(lines)
    if block.startswith("- "):
        items = "\n".join(f"<li>{_inline(line.removeprefix('- '))}</li>" for line in lines)
        return f"<ul>\n{items}\n</ul>"
    return f"<p>{_inline(block)}</p>"


def _table(lines: list[str]) -> str:
    head, rule, *rows = ([cell.strip() for cell in line.strip("|").split("|")] for line in lines)
    sides = ["right" if mark.endswith(":") else "" for mark in rule]
    parts = ["<thead>", _row("th", head, sides), "</thead>", "<tbody>"]
    parts += [_row("td", row, sides) for row in rows]
    return "\n".join(['<div class="wide"><table>', *parts, "</tbody>", "</table></div>"])


def _row(tag: str, cells: list[str], sides: list[str]) -> str:
    texts = []
    for cell, side in zip(cells, sides, strict=True):
        name = "long" if len(cell) > LONG else side
        texts.append(f'<{tag} class="{name}">' if name else f"<{tag}>")
        texts.append((_folded(cell) if len(cell) > LONG else _inline(cell)) + f"</{tag}>")
    return f"<tr>{''.join(texts)}</tr>"


def _folded(text: str) -> str:
    start = shorten(text, LONG, placeholder=" …")
    return f"<details><summary>{_inline(start)}</summary>{_inline(text)}</details>"


def _inline(text: str) -> str:
    return re.sub(r"\*\*(.+?)\*\*", r"<b>\1</b>", escape(text, quote=False))
