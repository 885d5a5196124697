"""Tables: measured beside published numbers, as a tidy frame, Markdown and LaTeX."""

from __future__ import annotations

from collections.abc import Callable

import pandas as pd

from workflows.config.plan import Plan
from workflows.render import captions, escape
from workflows.render.blocks import Block
from workflows.render.numbers import ABSENT, heading, shown

PROTOCOLS = {
    "exact": "exact protocol",
    "as_published": "protocol as published",
    "samples": "samples against training images",
}
# Behind the paper's MNIST and CIFAR10 numbers, by its released code.
PUBLISHED_IMAGES = 10_000
# The datasets of which it is known.
PUBLISHED_LENGTH = ("mnist", "cifar10")
BOLD_MARKDOWN, BOLD_LATEX = ("**", "**"), (r"\textbf{", "}")
BOLD = "bold: better than every other measured row beyond the interval of their difference"
# Columns of words, which come from names and messages; the others are numbers.
WORDS = ("row", "note")


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
            lines = lines.set_index("row")
            wide[metric] = lines["mean"]
            wide[f"{metric} low"] = lines["low"]
            wide[f"{metric} high"] = lines["high"]
            wide[f"{metric} images"] = lines["images"].astype("Int64")
            wide[f"{metric} published"] = lines["published"]
            wide[f"{metric} difference"] = lines["difference"]
        wide["note"] = wide.pop("note")
        wide["epochs"] = wide["epochs"].astype("Int64")
        wide = wide.reset_index()
        for place, column in enumerate(("table", "dataset", "protocol")):
            wide.insert(place, column, getattr(block, column))
        parts.append(wide)
    return pd.concat(parts, ignore_index=True)


def printed(block: Block, plan: Plan, bold: tuple[str, str] = ("", "")) -> pd.DataFrame:
    """The block as text: row, then per metric ours, published and difference where there are any.

    bold: what stands around the best value of a metric, if seeds support that there is one. A last
    column `note` says why a row has no numbers or rests on less than the others.
    """
    frame = pd.DataFrame({"row": block.rows["row"]})
    # Numbers of another dataset are printed under that dataset's name.
    other = block.published_dataset != block.dataset
    name = f"published ({plan.title_of(block.published_dataset)})" if other else "published"
    for key, lines in block.lines.groupby("metric", sort=False):
        metric = str(key)
        frame[heading(metric, block.images(metric))] = [
            mean(metric, line).join(bold if line["best"] else ("", ""))
            for line in lines.to_dict("records")
        ]
        if (lines["published"] != "").any():
            frame[f"{metric} {name}"] = [text or ABSENT for text in lines["published"]]
        if lines["difference"].notna().any():
            frame[f"{metric} difference"] = [
                shown(metric, value, sign=True) for value in lines["difference"]
            ]
    if (block.rows["note"] != "").any():
        frame["note"] = block.rows["note"]
    return frame


def caption(block: Block, plan: Plan) -> str:
    """Title, budget, dataset, protocol, epochs, seeds and networks behind a block, as one line."""
    record = plan.tables[block.table]
    parts = [
        f"{record.title}: {record.caption}",
        f"{plan.dataset_title(block.dataset, block.table)}, {PROTOCOLS[block.protocol]}",
        f"Budget {plan.title}",
        _extent(block, plan),
        *captions.networks(plan, block.table, block.dataset, _measured(block)),
        *captions.first_stages(plan, block.table, block.dataset, _measured(block)),
        *plan.too_small(block.table, block.dataset),
    ]
    if record.stage == 2 and _measured(block):
        parts.append(f"N samples against {captions.reference(plan, block.dataset)} training images")
    if (block.lines["published"] != "").any():
        parts += _comparison(block, plan)
        parts.append(f"Published: {'; '.join(block.evidence)}")
    wanted = block.features[block.features["metric"].isin(record.metrics)]
    for network, group in wanted.groupby("features", sort=False):
        parts.append(f"{', '.join(group['metric'])}: {network}")
    return ". ".join(parts) + "."


def _measured(block: Block) -> set[str]:
    return set(block.rows.loc[block.rows["epochs"].notna(), "row"])


def _extent(block: Block, plan: Plan) -> str:
    epochs = sorted(set(block.rows["epochs"].dropna().astype(int)))
    if not epochs:
        return "Nothing measured"
    seeds = int(block.rows["seeds"].max())
    sizes = captions.training_sizes(plan, block.table, block.dataset, _measured(block))
    text = captions.length(epochs, sizes) + ", "
    if seeds == 1:
        return text + "1 seed"
    return text + f"{seeds} seeds (mean ± half of its 95 % interval; {BOLD})"


def _comparison(block: Block, plan: Plan) -> list[str]:
    if block.rows["epochs"].isna().all():
        return []
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
        # Numbers stay the text they are: as numbers they would lose their trailing noughts.
        body = frame.to_markdown(index=False, disable_numparse=True, colalign=_align(frame))
        title = f"{plan.dataset_title(block.dataset, block.table)}, {PROTOCOLS[block.protocol]}"
        parts += [f"## {escape.markdown(title)}", escape.markdown(caption(block, plan)), body]
    return "\n\n".join(parts) + "\n"


def latex(blocks: list[Block], plan: Plan) -> str:
    """One table environment a block, for a document that loads booktabs."""
    parts = []
    for block in blocks:
        frame = _escaped(printed(block, plan, BOLD_LATEX), escape.latex, _latex_number)
        columns = "".join("r" if side == "right" else "l" for side in _align(frame))
        parts.append(
            frame.to_latex(
                index=False,
                escape=False,
                column_format=columns,
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


def _align(frame: pd.DataFrame) -> tuple[str, ...]:
    return tuple("left" if name in WORDS else "right" for name in frame.columns)


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
