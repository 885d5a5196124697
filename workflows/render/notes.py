"""The small print below a figure: which budget, how many seeds, what failed and why."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence

from workflows.config.plan import Plan
from workflows.render import captions
from workflows.render.collected import Collected

SHOWN = 4  # of a list; the tables have the rest
NOTHING = "Nothing is measured."


def short(plan: Plan, dataset: str) -> str:
    """A dataset in a few words, for a sentence."""
    words = plan.title_of(dataset).split(",")[0].split()
    return " ".join(words[:4]) + ("…" if len(words) > 4 else "")


def lengths(plan: Plan, table: str, rows: Mapping[str, Collection[str]]) -> str:
    """How long and on how much a table's runs are trained, by dataset if that differs.

    rows: dataset -> the rows that are meant, none for all of them.
    """
    return _by_dataset(
        plan, {name: captions.trained(plan, table, name, rows[name]) for name in rows}
    )


def training(plan: Plan, table: str, rows: Mapping[str, Collection[str]]) -> str:
    """Sentences: the `lengths` of a table's runs, their networks, where budgets make those smaller
    than the published, and their first stages; by dataset where they differ.

    rows: dataset -> the rows that are meant.
    """
    texts = [lengths(plan, table, rows)] + [
        _by_dataset(
            plan, {name: "; ".join(told(plan, table, name, rows[name])) for name in rows}, ". "
        )
        for told in (captions.networks, captions.first_stages)
    ]
    return " ".join(f"{text}." for text in texts if text)


def _by_dataset(plan: Plan, texts: Mapping[str, str], between: str = "; ") -> str:
    found: dict[str, list[str]] = {}
    for dataset, text in texts.items():
        found.setdefault(text, []).append(short(plan, dataset))
    if len(found) == 1:
        return next(iter(found))
    return between.join(f"{text} ({', '.join(names)})" for text, names in found.items() if text)


def budget(data: Collected, table: str, datasets: Iterable[str]) -> str:
    """A sentence: the budget, and how long the runs of a table's measured rows were trained; and
    one of their first stages, where there are some. Where nothing is measured, the budget alone.
    """
    plan = data.plan
    measured = {name: data.rows_measured(table, name) for name in datasets}
    done = {name: rows for name, rows in measured.items() if rows}
    if not done:
        return f"Budget {plan.title}."
    said = f"Budget {plan.title}: {lengths(plan, table, done)}."
    below = {name: captions.trained_below(plan, table, name, done[name]) for name in done}
    return f"{said} First stages: {_by_dataset(plan, below)}." if any(below.values()) else said


def seeds_planned(data: Collected, table: str) -> list[int]:
    """The seeds of a table's runs."""
    lines = data.plan.lines_of(table)
    return sorted({data.knobs(line.cell).seed for line in lines})


def means(drawn: Mapping[str, int], planned: Sequence[int], marks: str) -> str:
    """A sentence on how many runs stand behind the lines, and behind which another number.

    drawn: a line's name in a sentence -> its runs. marks: what shows the lowest and the highest.
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
    shown = f"; {marks}: lowest to highest" if counts != {1} else ""
    said = "One run each" if usual == 1 else f"Mean over {usual} runs"
    return f"{said}{but}, {which}{shown}."


def failures(data: Collected, table: str, drawn: Iterable[str]) -> list[str]:
    """A sentence for each reason why runs failed, on datasets of which something is drawn."""
    several = len(seeds_planned(data, table)) > 1
    found: dict[str, dict[str, list[int]]] = {}
    for dataset in drawn:
        for runs in data.runs(table, dataset):
            for cell, reason in runs.failed.items():
                name = f"{runs.row} on {short(data.plan, dataset)}"
                names = found.setdefault(reason.rstrip("."), {})
                names.setdefault(name, []).append(data.knobs(cell).seed)
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
