"""Tables as files: one writer for Markdown and LaTeX, and the unrounded numbers as CSV."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

import pandas as pd

from workflows.config.plan import Plan
from workflows.render import captions, escape
from workflows.render.blocks import Block
from workflows.render.numbers import ENOUGH, PROTOCOLS

# The datasets of which it is known how long the paper trained.
PUBLISHED_LENGTH = ("mnist", "cifar10")
PREAMBLE = "% Needs the packages booktabs and siunitx.\n\\sisetup{separate-uncertainty = true}\n"


@dataclass(frozen=True)
class Format:
    """How a kind of document writes: escape makes text of it; the others frame what is escaped."""

    escape: Callable[[str], str]
    bold: str
    grey: str
    raised: str
    inset: str


MARKDOWN = Format(escape.markdown, "**{}**", "*{}*", "<sup>{}</sup>", "*{}*")
# Braces keep siunitx from reading what is more than a number.
LATEX = Format(
    escape.latex, r"{{\textbf{{{}}}}}", r"{{\textit{{{}}}}}", r"\textsuperscript{{{}}}", r"\quad {}"
)


def tidy(blocks: list[Block]) -> pd.DataFrame:
    """One line per dataset, protocol and row; unrounded, in the experiment's order.

    Per metric M: `M` (mean over seeds), `M low` and `M high` (its 95 % interval), `M images` and `M
    published` (text). Columns of metrics without any value are left out.
    """
    parts = {}
    for block in blocks:
        wide = block.rows.astype({"epochs": "Int64"}).set_index("row")
        for metric, lines in block.lines.groupby("metric", sort=False):
            lines = lines.set_index("row").astype({"images": "Int64"})
            wide[metric] = lines["mean"]
            for name in ("low", "high", "images", "published"):
                wide[f"{metric} {name}"] = lines[name]
        wide["note"] = wide.pop("note")
        parts[block.table, block.dataset, block.protocol] = wide
    whole = pd.concat(parts, names=["table", "dataset", "protocol"]).reset_index()
    known = whole.replace("", None).notna().any() | whole.columns.isin(["epochs", "note"])
    return whole.loc[:, known]


def printed(block: Block, form: Format) -> pd.DataFrame:
    """The block as text: a line for each row, and below it one of its published numbers, if any.

    Bold is what seeds support as best, grey a Fréchet distance over few images.
    """
    entries, lines = block.entries, []
    for row in block.rows["row"]:
        marks = block.marks(row)
        name = form.escape(row) + (form.raised.format(marks) if marks else "")
        ours = {"row": name}
        theirs = {"row": form.inset.format("published")}
        for metric, of_metric in entries.items():
            entry = of_metric[row]
            text = f"{entry['text']} ± {entry['half']}" if entry["half"] else entry["text"]
            frame = form.bold if entry["best"] else form.grey if block.few(metric) else "{}"
            title = form.escape(block.heading(metric))
            ours[title] = frame.format(text) if text else ""
            theirs[title] = form.escape(entry["beside"])
        lines.append(ours)
        if any(list(theirs.values())[1:]):
            lines.append(theirs)
    return pd.DataFrame(lines)


def name_of(block: Block, plan: Plan) -> str:
    """The heading of a block: its dataset and protocol."""
    return f"{plan.dataset_title(block.dataset, block.table)}, {PROTOCOLS[block.protocol]}"


def foot(blocks: list[Block], plan: Plan) -> list[str]:
    """What is to be said of a table as a whole, in sentences: lengths of training, seeds, networks,
    and how the published numbers are known.
    """
    table = plan.tables[blocks[0].table]
    measured = {block.dataset: block.measured for block in blocks if block.measured}
    trained = captions.training(plan, blocks[0].table, measured)
    said = [f"Budget {plan.title}.", trained or "Nothing measured."]
    seeds = int(max(block.rows["seeds"].max() for block in blocks))
    if seeds > 1:
        said.append(
            f"Means over up to {seeds} seeds, with half of the 95 % interval (Student's t); bold: "
            "better than every other row beyond the interval of their difference."
        )
    elif seeds:
        said.append("One seed, so no interval.")
    if any(block.few(metric) for block in blocks for metric in table.metrics):
        said.append(
            f"A Fréchet distance over fewer than {ENOUGH:,} images is biased upwards: it is grey, "
            "and no published number stands beside it."
        )
    for block in blocks:
        if (block.lines["published"] != "").any():
            said.append(_comparison(block, plan))
    said += [f"Published: {text}." for block in blocks for text in block.evidence]
    for dataset in measured:
        said += [f"{text}." for text in plan.too_small(blocks[0].table, dataset)]
        if table.stage == 2:
            against = captions.reference(plan, dataset)
            name = captions.short(plan, dataset)
            said.append(f"Samples of {name} are held against {against} training images.")
    networks = pd.concat([block.features for block in blocks]).drop_duplicates()
    for network, group in networks.groupby("features", sort=False):
        said.append(f"{', '.join(group['metric'])}: {network}.")
    return list(dict.fromkeys(said))


def _comparison(block: Block, plan: Plan) -> str:
    """How far the published numbers beside a block's are from comparable."""
    if block.published_dataset != block.dataset:
        real, ours = plan.title_of(block.published_dataset), captions.short(plan, block.dataset)
        return f"The published numbers beside {ours} are of {real}."
    if block.protocol == "exact":
        return "The published numbers follow another protocol."
    if block.protocol == "samples":
        return "The published numbers rest on 50,000 samples."
    if block.dataset in PUBLISHED_LENGTH:
        return "The published runs took 500 epochs at batch 1,024, tested on 10,000 images."
    return "How long the published runs took, and on how many images they rest, is not known."


def markdown(blocks: list[Block], plan: Plan) -> str:
    """A document: per block a heading, the table and its notes; then what is said of all."""
    parts = [f"# {escape.markdown(plan.tables[blocks[0].table].title)}"]
    parts.append(f"{escape.markdown(plan.tables[blocks[0].table].caption)}.")
    for block in blocks:
        frame = printed(block, MARKDOWN)
        sides = ["left", *["right"] * (len(frame.columns) - 1)]
        # Numbers stay the text they are: as numbers they would lose their trailing noughts.
        body = frame.to_markdown(index=False, disable_numparse=True, colalign=sides)
        parts += [f"## {escape.markdown(name_of(block, plan))}", body, *_notes(block, MARKDOWN)]
    parts.append(" ".join(escape.markdown(text) for text in foot(blocks, plan)))
    return "\n\n".join(parts) + "\n"


def latex(blocks: list[Block], plan: Plan) -> str:
    """One table environment a block, for a document that loads booktabs and siunitx."""
    parts = [PREAMBLE]
    title = plan.tables[blocks[0].table].title
    for block in blocks:
        frame = printed(block, LATEX)
        sides = "".join(_numbers(frame[name]) for name in frame.columns[1:])
        frame.columns = [f"{{{name}}}" for name in frame.columns]
        # siunitx reads +- in numbers, and nothing in braces.
        signs = {r"^(\{.*) ± ": r"\1 $\\pm$ ", " ± ": " +- "}
        whole = frame.replace(signs, regex=True).to_latex(
            index=False,
            escape=False,
            column_format=f"l{sides}",
            caption=escape.latex(f"{title}. {name_of(block, plan)}."),
            label=f"tab:{block.table}-{block.dataset}-{block.protocol}".replace("_", "-"),
        )
        notes = "".join(f"\\par {note}\n" for note in _notes(block, LATEX))
        parts.append(whole.replace("\\end{table}", f"{notes}\\end{{table}}"))
    said = " ".join(escape.latex(text) for text in foot(blocks, plan))
    return "\n".join([*parts, f"\\noindent {said}\n"])


def _notes(block: Block, form: Format) -> list[str]:
    """The footnotes of a block."""
    return [
        f"{form.raised.format(chr(ord('a') + n))} {form.escape(note)}"
        for n, note in enumerate(block.notes)
    ]


def _numbers(texts: pd.Series) -> str:
    """siunitx's column for these numbers, as wide as the widest before and after the point."""
    found = [re.fullmatch(r"(\d+)\.?(\d*)(?: ± (\d+)\.?(\d*))?", text) for text in texts]
    parts = [match.groups(default="") for match in found if match]
    if not parts:
        return "r"
    whole = max(len(part[0]) for part in parts)
    after = max(len(part[1]) for part in parts)
    errors = [len((part[2] + part[3]).lstrip("0")) or 1 for part in parts if part[2]]
    return f"S[table-format={whole}.{after}{f'({max(errors)})' if errors else ''}]"
