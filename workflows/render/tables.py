"""Write tables as Markdown, as LaTeX, and as CSV with unrounded numbers."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

import pandas as pd

from workflows.config.plan import Plan
from workflows.render import captions, escape
from workflows.render.blocks import Block
from workflows.render.numbers import ENOUGH, PROTOCOLS

# The datasets for which the paper says how long its runs were trained.
PUBLISHED_LENGTH = ("mnist", "cifar10")
PREAMBLE = "% Needs the packages booktabs and siunitx.\n\\sisetup{separate-uncertainty = true}\n"


@dataclass(frozen=True)
class Format:
    """How a kind of document escapes text, and its templates for marking an escaped text."""

    escape: Callable[[str], str]
    bold: str
    grey: str
    raised: str
    inset: str


MARKDOWN = Format(escape.markdown, "**{}**", "*{}*", "<sup>{}</sup>", "*{}*")
# siunitx would fail on a number with marks; the outer braces keep siunitx from reading the cell.
LATEX = Format(
    escape.latex, r"{{\textbf{{{}}}}}", r"{{\textit{{{}}}}}", r"\textsuperscript{{{}}}", r"\quad {}"
)


def tidy(blocks: list[Block]) -> pd.DataFrame:
    """Return one line per dataset, protocol and row, with unrounded numbers.

    A metric M has the columns `M` (mean over seeds), `M low` and `M high` (95 % interval), `M
    images` and `M published` (text). Columns without any value are left out.
    """
    parts = {}
    for block in blocks:
        part = block.rows.astype({"epochs": "Int64"}).set_index("row")
        for metric, lines in block.lines.groupby("metric", sort=False):
            lines = lines.set_index("row").astype({"images": "Int64"})
            part[metric] = lines["mean"]
            for name in ("low", "high", "images", "published"):
                part[f"{metric} {name}"] = lines[name]
        part["note"] = part.pop("note")
        parts[block.table, block.dataset, block.protocol] = part
    whole = pd.concat(parts, names=["table", "dataset", "protocol"]).reset_index()
    filled = whole.replace("", None).notna().any() | whole.columns.isin(["epochs", "note"])
    return whole.loc[:, filled]


def printed(block: Block, form: Format) -> pd.DataFrame:
    """Return a block as text: a line for each row, and below it a line of its published numbers.

    A number is bold if seeds support that its row is the best, and grey if it is a Fréchet distance
    over few images.
    """
    lines = []
    for row in block.rows["row"]:
        mark = block.mark(row)
        ours = {"row": form.escape(row) + (form.raised.format(mark) if mark else "")}
        theirs = {"row": form.inset.format("published")}
        for metric, entries in block.entries.items():
            entry = entries[row]
            text = f"{entry['text']} ± {entry['half']}" if entry["half"] else entry["text"]
            grey = form.grey if block.too_few_images(metric) else "{}"
            heading = form.escape(block.heading(metric))
            ours[heading] = (form.bold if entry["best"] else grey).format(text) if text else ""
            theirs[heading] = form.escape(entry["comparable"])
        lines.append(ours)
        if any(list(theirs.values())[1:]):
            lines.append(theirs)
    return pd.DataFrame(lines)


def foot(blocks: list[Block], plan: Plan) -> list[str]:
    """Return the sentences below a table.

    They say how long the rows were trained, what the seeds support, which networks measured, and
    how the published numbers are known.
    """
    table = blocks[0].table
    measured = {block.dataset: block.measured for block in blocks if block.measured}
    training = captions.training_sentences(plan, table, measured)
    sentences = [f"Budget {plan.title}.", training or "Nothing is measured."]
    seeds = int(max(block.rows["seeds"].max() for block in blocks))
    if seeds > 1:
        sentences.append(
            f"Numbers are means over up to {seeds} seeds, with half of the 95 % interval "
            "(Student's t). A bold number is better than every other row's, beyond the interval of "
            "their difference."
        )
    elif seeds:
        sentences.append("One seed is measured, so there is no interval.")
    if any(block.too_few_images(metric) for block in blocks for metric in block.images):
        sentences.append(
            f"A Fréchet distance over fewer than {ENOUGH:,} images is biased upwards: it is grey, "
            "and no published number stands beside ours."
        )
    for block in blocks:
        if (block.lines["published"] != "").any():
            sentences.append(_comparison(block, plan))
    sentences += [f"Published: {text}." for block in blocks for text in block.evidence]
    for dataset in measured:
        name, fewest_pixels = captions.short(plan, dataset), plan.datasets[dataset].too_small_for
        sentences += [
            f"{name} is too small for {metric}, which needs {fewest_pixels[metric]} pixels a side."
            for metric in plan.tables[table].metrics
            if metric in fewest_pixels
        ]
        if plan.tables[table].stage == 2:
            images = captions.reference_images(plan, dataset)
            sentences.append(f"Samples of {name} are compared with {images} training images.")
    features = pd.concat([block.features for block in blocks]).drop_duplicates()
    for network, lines in features.groupby("features", sort=False):
        sentences.append(f"{', '.join(lines['metric'])}: {network}.")
    return list(dict.fromkeys(sentences))


def _comparison(block: Block, plan: Plan) -> str:
    """Return a sentence on how well the published numbers compare with those of a block."""
    if block.published_dataset != block.dataset:
        theirs = plan.title_of(block.published_dataset)
        ours = captions.short(plan, block.dataset)
        return f"The published numbers beside {ours} are of {theirs}."
    if block.protocol == "exact":
        return "The published numbers follow another protocol."
    if block.protocol == "samples":
        return "The published numbers rest on 50,000 samples."
    if block.dataset in PUBLISHED_LENGTH:
        return "The published runs took 500 epochs at batch 1,024 and were tested on 10,000 images."
    return "It is not known how long the published runs took, or on how many images they rest."


def markdown(blocks: list[Block], plan: Plan) -> str:
    """Return a document with a heading, a table and notes for each block, and the table's foot."""
    table = plan.tables[blocks[0].table]
    parts = [f"# {escape.markdown(table.title)}", f"{escape.markdown(table.caption)}."]
    for block in blocks:
        frame = printed(block, MARKDOWN)
        alignment = ["left", *["right"] * (len(frame.columns) - 1)]
        # Parsed as numbers, the texts would lose their trailing noughts.
        body = frame.to_markdown(index=False, disable_numparse=True, colalign=alignment)
        heading = escape.markdown(_heading(block, plan))
        parts += [f"## {heading}", body, *_notes(block, MARKDOWN)]
    parts.append(" ".join(escape.markdown(sentence) for sentence in foot(blocks, plan)))
    return "\n\n".join(parts) + "\n"


def latex(blocks: list[Block], plan: Plan) -> str:
    """Return a table environment for each block. The document must load booktabs and siunitx."""
    parts = [PREAMBLE]
    title = plan.tables[blocks[0].table].title
    for block in blocks:
        frame = printed(block, LATEX)
        columns = "".join(_number_column(frame[name]) for name in frame.columns[1:])
        frame.columns = [f"{{{name}}}" for name in frame.columns]
        # siunitx reads "+-" in a number. It reads nothing in braces, where "±" needs a command.
        signs = {r"^(\{.*) ± ": r"\1 $\\pm$ ", " ± ": " +- "}
        environment = frame.replace(signs, regex=True).to_latex(
            index=False,
            escape=False,
            column_format=f"l{columns}",
            caption=escape.latex(f"{title}. {_heading(block, plan)}."),
            label=f"tab:{block.table}-{block.dataset}-{block.protocol}".replace("_", "-"),
        )
        notes = "".join(f"\\par {note}\n" for note in _notes(block, LATEX))
        parts.append(environment.replace("\\end{table}", f"{notes}\\end{{table}}"))
    sentences = " ".join(escape.latex(sentence) for sentence in foot(blocks, plan))
    return "\n".join([*parts, f"\\noindent {sentences}\n"])


def _heading(block: Block, plan: Plan) -> str:
    return f"{plan.dataset_title(block.dataset, block.table)}, {PROTOCOLS[block.protocol]}"


def _notes(block: Block, form: Format) -> list[str]:
    return [
        f"{form.raised.format(chr(ord('a') + n))} {form.escape(note)}"
        for n, note in enumerate(block.notes)
    ]


def _number_column(texts: pd.Series) -> str:
    """Return siunitx's column type for numbers of these widths; `r` if there are no numbers."""
    matches = [re.fullmatch(r"(\d+)\.?(\d*)(?: ± (\d+)\.?(\d*))?", text) for text in texts]
    numbers = [match.groups(default="") for match in matches if match]
    if not numbers:
        return "r"
    integers = max(len(number[0]) for number in numbers)
    decimals = max(len(number[1]) for number in numbers)
    # siunitx counts the digits of an uncertainty without leading noughts.
    errors = [len((number[2] + number[3]).lstrip("0")) or 1 for number in numbers if number[2]]
    return f"S[table-format={integers}.{decimals}{f'({max(errors)})' if errors else ''}]"
