"""Tables: measured beside published numbers, as a tidy frame, Markdown and LaTeX."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pandas as pd

from workflows.config.plan import Plan
from workflows.records.published import as_number
from workflows.render import captions, escape
from workflows.render.blocks import NAN, Block
from workflows.render.numbers import ABSENT, PROTOCOLS, heading, shown

# Behind the paper's MNIST and CIFAR10 numbers, by its released code.
PUBLISHED_IMAGES = 10_000
# The datasets of which it is known.
PUBLISHED_LENGTH = ("mnist", "cifar10")
BOLD_MARKDOWN, BOLD_LATEX = ("**", "**"), (r"\textbf{", "}")
BOLD = "bold: better than every other measured row beyond the interval of their difference"
# Columns of words, which come from names and messages; the others are numbers.
WORDS = ("row", "note")
OURS = "ours"


@dataclass(frozen=True)
class Column:
    """Numbers by one metric, one for each row of a block.

    title: `ours`, `published` with the dataset if that is another, or `difference`. texts: as
    printed. values: the numbers, NaN where there is none.
    """

    metric: str
    title: str
    texts: list[str]
    values: list[float]


def columns(block: Block, plan: Plan) -> Iterator[Column]:
    """The columns of a block: for each metric ours, published and difference if there are any."""
    # Numbers of another dataset are printed under that dataset's name.
    other = block.published_dataset != block.dataset
    name = f"published ({plan.title_of(block.published_dataset)})" if other else "published"
    for key, lines in block.lines.groupby("metric", sort=False):
        metric = str(key)
        texts = [mean(metric, line) for line in lines.to_dict("records")]
        yield Column(metric, OURS, texts, lines["mean"].to_list())
        said = lines["published"]
        if (said != "").any():
            values = [as_number(text) if text else NAN for text in said]
            yield Column(metric, name, [text or ABSENT for text in said], values)
        if lines["difference"].notna().any():
            texts = [shown(metric, value, sign=True) for value in lines["difference"]]
            yield Column(metric, "difference", texts, lines["difference"].to_list())


def tidy(blocks: list[Block]) -> pd.DataFrame:
    """One line per dataset, protocol and row; unrounded, in the experiment's order.

    Columns: `table, dataset, protocol, row, status, seeds, epochs`, then per metric M `M` (mean
    over seeds), `M low` and `M high` (its 95 % interval), `M images`, `M published` (text),
    `M difference`, and last `note`.
    """
    parts = []
    for block in blocks:
        wide = block.rows.set_index("row")
        for metric, lines in block.lines.groupby("metric", sort=False):
            lines = lines.set_index("row").astype({"images": "Int64"})
            wide[metric] = lines["mean"]
            for name in ("low", "high", "images", "published", "difference"):
                wide[f"{metric} {name}"] = lines[name]
        wide["note"] = wide.pop("note")
        wide["epochs"] = wide["epochs"].astype("Int64")
        wide = wide.reset_index()
        for place, column in enumerate(("table", "dataset", "protocol")):
            wide.insert(place, column, getattr(block, column))
        parts.append(wide)
    return pd.concat(parts, ignore_index=True)


def printed(block: Block, plan: Plan, bold: tuple[str, str] = ("", "")) -> pd.DataFrame:
    """The block as text: row, then its columns.

    bold: what stands around the best value of a metric, if seeds support that there is one. A last
    column `note` says why a row has no numbers or rests on less than the others.
    """
    frame = pd.DataFrame({"row": block.rows["row"]})
    for column in columns(block, plan):
        metric = column.metric
        if column.title == OURS:
            best = block.lines.loc[block.lines["metric"] == metric, "best"]
            frame[heading(metric, block.images(metric))] = [
                text.join(bold) if is_best else text
                for text, is_best in zip(column.texts, best, strict=True)
            ]
        else:
            frame[f"{metric} {column.title}"] = column.texts
    if (block.rows["note"] != "").any():
        frame["note"] = block.rows["note"]
    return frame


def name_of(block: Block, plan: Plan) -> str:
    """The heading of a block: its dataset and protocol."""
    return f"{plan.dataset_title(block.dataset, block.table)}, {PROTOCOLS[block.protocol]}"


def caption(block: Block, plan: Plan) -> str:
    """Title, budget, dataset, protocol, epochs, seeds and networks behind a block, as one line."""
    record = plan.tables[block.table]
    about = (plan, block.table, block.dataset, block.measured)
    parts = [
        f"{record.title}: {record.caption}",
        name_of(block, plan),
        f"Budget {plan.title}",
        _extent(block, plan),
        *captions.networks(*about),
        *captions.first_stages(*about),
        *plan.too_small(block.table, block.dataset),
    ]
    if record.stage == 2 and block.measured:
        parts.append(f"N samples against {captions.reference(plan, block.dataset)} training images")
    if (block.lines["published"] != "").any():
        parts += _comparison(block, plan) if block.measured else []
        parts.append(f"Published: {'; '.join(block.evidence)}")
    wanted = block.features[block.features["metric"].isin(record.metrics)]
    for network, group in wanted.groupby("features", sort=False):
        parts.append(f"{', '.join(group['metric'])}: {network}")
    return ". ".join(parts) + "."


def _extent(block: Block, plan: Plan) -> str:
    if not block.measured:
        return "Nothing measured"
    cells = plan.cells_of(block.table, block.dataset, block.measured)
    epochs = block.rows["epochs"].dropna().astype(int)
    text = captions.length(set(epochs), {plan.size(cell) for cell in cells})
    seeds = int(block.rows["seeds"].max())
    if seeds == 1:
        return f"{text}, 1 seed"
    return f"{text}, {seeds} seeds (mean ± half of its 95 % interval; {BOLD})"


def _comparison(block: Block, plan: Plan) -> list[str]:
    """What the difference between ours and published numbers means, or why there is none."""
    if block.published_dataset != block.dataset:
        real = plan.title_of(block.published_dataset)
        return [f"Published numbers are of {real}, so no difference is taken"]
    if not block.compared:
        return ["Published numbers follow another protocol, so no difference is taken"]
    if plan.tables[block.table].stage == 2:
        return ["Difference: ours minus published, which is 50,000 samples"]
    if block.published_dataset not in PUBLISHED_LENGTH:
        return ["Difference: ours minus published, whose length and number of images are not known"]
    parts = ["Difference: ours minus published, which is 500 epochs and 10,000 test images"]
    compared = block.lines[(block.lines["metric"] == "rFID") & block.lines["difference"].notna()]
    if (compared["images"] < PUBLISHED_IMAGES).any():
        parts.append("rFID over fewer images is biased upwards")
    return parts


def markdown(blocks: list[Block], plan: Plan) -> str:
    """A document: per block a heading, its caption and the table."""
    parts = [f"# {escape.markdown(plan.tables[blocks[0].table].title)}"]
    for block in blocks:
        frame = _escaped(printed(block, plan, BOLD_MARKDOWN), escape.markdown, str)
        sides = ["left" if name in WORDS else "right" for name in frame.columns]
        # Numbers stay the text they are: as numbers they would lose their trailing noughts.
        body = frame.to_markdown(index=False, disable_numparse=True, colalign=sides)
        title = escape.markdown(name_of(block, plan))
        parts += [f"## {title}", escape.markdown(caption(block, plan)), body]
    return "\n\n".join(parts) + "\n"


def latex(blocks: list[Block], plan: Plan) -> str:
    """One table environment a block, for a document that loads booktabs."""
    parts = []
    for block in blocks:
        frame = _escaped(printed(block, plan, BOLD_LATEX), escape.latex, _latex_number)
        parts.append(
            frame.to_latex(
                index=False,
                escape=False,
                column_format="".join("l" if name in WORDS else "r" for name in frame.columns),
                caption=escape.latex(caption(block, plan)),
                label=f"tab:{block.table}-{block.dataset}-{block.protocol}".replace("_", "-"),
            )
        )
    return "\n".join(parts)


def mean(metric: str, line: dict) -> str:
    """A mean as text, with half of its interval if it has one. line: of `Block.lines`."""
    text = shown(metric, line["mean"])
    half = (line["high"] - line["low"]) / 2
    return f"{text} ± {shown(metric, half)}" if line["seeds"] > 1 else text


def _escaped(
    frame: pd.DataFrame, words: Callable[[str], str], numbers: Callable[[str], str]
) -> pd.DataFrame:
    """words: escapes names and messages. numbers: those, which may be bold."""
    cells = {name: frame[name].map(words if name in WORDS else numbers) for name in frame}
    return pd.DataFrame(cells).rename(columns=words)


def _latex_number(text: str) -> str:
    start, end = BOLD_LATEX
    if text.startswith(start):
        return start + escape.latex(text.removeprefix(start).removesuffix(end)) + end
    return escape.latex(text)
