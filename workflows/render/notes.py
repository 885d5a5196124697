"""The small print below a figure: which budget, how many seeds, what failed and why."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from workflows.render import captions
from workflows.render.collected import Collected

SHOWN = 4  # of a list; the tables have the rest
NOTHING = "Nothing is measured."


def budget(data: Collected, table: str, datasets: Iterable[str]) -> str:
    """A sentence: the budget, and how long the runs of a table's measured rows were trained; and
    one of their first stages, where there are some. Where nothing is measured, the budget alone.
    """
    plan = data.plan
    lengths, below = {}, {}
    for name in datasets:
        if rows := data.rows_measured(table, name):
            cells = plan.cells_of(table, name, rows)
            first_stages = [first for cell in cells if (first := plan.cells[cell].first_stage)]
            lengths[name] = captions.trained(plan, cells)
            below[name] = captions.trained(plan, first_stages)
    if not lengths:
        return f"Budget {plan.title}."
    said = f"Budget {plan.title}: {captions.by_dataset(plan, lengths)}."
    if any(below.values()):
        said += f" First stages: {captions.by_dataset(plan, below)}."
    return said


def seeds_planned(data: Collected, table: str) -> list[int]:
    """The seeds of a table's runs."""
    return sorted({data.plan.knobs(line.cell).seed for line in data.plan.lines_of(table)})


def first_seed(data: Collected, table: str) -> str:
    """Of which seed the runs are that a figure shows as pictures: the first of a table's."""
    planned = seeds_planned(data, table)
    first = f" (the first of {len(planned)})" if len(planned) > 1 else ""
    return f"of {numbered(planned[:1])}{first}"


def means(drawn: Mapping[str, int], planned: Sequence[int]) -> str:
    """A sentence on how many runs stand behind the lines, and behind which another number.

    drawn: a line's name in a sentence -> its runs.
    """
    counts = {count for count in drawn.values() if count}
    if not counts:
        return NOTHING
    numbers = [count for count in drawn.values() if count]
    usual = max(counts, key=lambda count: (numbers.count(count), count))
    # Nobody shall read three seeds where one has run.
    of = "of the planned " if usual < len(planned) else "of " if len(planned) > 1 else ""
    which = of + numbered(planned)
    odd = [f"{name}: {count}" for name, count in drawn.items() if count not in (0, usual)]
    but = f" ({_few(odd)})" if odd else ""
    shown = "; bands: lowest to highest" if counts != {1} else ""
    said = "One run each" if usual == 1 else f"Mean over {usual} runs"
    return f"{said}{but}, {which}{shown}."


def failures(data: Collected, table: str, drawn: Iterable[str]) -> list[str]:
    """A sentence for each reason why runs failed, on datasets of which something is drawn."""
    several = len(seeds_planned(data, table)) > 1
    found: dict[str, dict[str, list[int]]] = {}
    for dataset in drawn:
        for runs in data.runs(table, dataset):
            for cell, reason in runs.failed.items():
                name = f"{runs.row} on {captions.short(data.plan, dataset)}"
                names = found.setdefault(reason.rstrip("."), {})
                names.setdefault(name, []).append(data.plan.knobs(cell).seed)
    said = [
        f"× {_few([name + (f', {numbered(of)}' if several else '') for name, of in names.items()])}"
        f" ({reason})."
        for reason, names in found.items()
    ]
    rest = len(said) - SHOWN
    return said[:SHOWN] + ([f"× {rest} more reasons are in the table."] if rest > 0 else [])


def _few(items: Sequence[str]) -> str:
    more = len(items) - SHOWN
    return "; ".join(items[:SHOWN]) + (f"; {more} more" if more > 0 else "")


def numbered(seeds: Sequence[int]) -> str:
    """Seeds in a sentence, not to be broken before the number."""
    name = "seeds" if len(seeds) > 1 else "seed"
    return f"{name}\N{NO-BREAK SPACE}{', '.join(map(str, seeds))}"
