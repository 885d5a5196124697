"""Tables from made-up measurements: joins, failures and what is said."""

from __future__ import annotations

import re
import shutil
import subprocess
from itertools import pairwise
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from markdown_it import MarkdownIt

from tests import plans
from tests.plans import PAYLOAD
from workflows import registry
from workflows.config.lines import Published
from workflows.config.plan import Absent, Plan, PlannedDataset, PlannedRow
from workflows.knobs import Training
from workflows.render import captions, escape
from workflows.render.blocks import Block, blocks
from workflows.render.numbers import ENOUGH, formatted
from workflows.render.tables import MARKDOWN, foot, latex, markdown, printed, tidy

ROWS = ["zeta, offline", "alpha, online"]
NETWORK = "inception (made up)"
VQGAN = {"network": "vqgan", "network_channels": 32, "downsampling": 4, "adversarial_start": 2}


def plan_of(
    dataset: str, seeds: int = 1, stand_in_for: str | None = None, stage: int = 1, **changes: Any
) -> Plan:
    names = {
        (row, seed): f"{dataset}/m/{row[:4]}/seed{seed}" for row in ROWS for seed in range(seeds)
    }
    about = {"title": f"<{dataset}>", "stand_in_for": stand_in_for, "images": 3600}
    return plans.plan(
        {
            name: plans.cell(dataset=dataset, seed=seed, epochs=8, batch_size=64, images=3600)
            for (_, seed), name in names.items()
        },
        [("anchors", row, name) for (row, _), name in names.items()],
        **{
            "title": "made_up: 100% invented",
            "tables": {"anchors": plans.table(ROWS, title="Anchors", stage=stage)},
            "datasets": {dataset: PlannedDataset(**about)},
            **changes,
        },
    )


def measured_of(
    plan: Plan,
    protocols: tuple[str, ...] = ("exact", "as_published", "samples"),
    images: int = 64,
    **reasons: str,
) -> pd.DataFrame:
    """rFID 2 + seed and usage 0.5 of every cell; reasons: a row's first word -> why it has none."""

    def values(line: PlannedRow) -> dict[str, float] | str:
        numbers = {"rFID": 2.0 + plan.knobs(line.cell).seed, "usage": 0.5}
        return reasons.get(line.row.split(",")[0], numbers)

    measured = plans.measured(plan, values, images=images)
    measured.loc[measured["metric"] == "rFID", "features"] = NETWORK
    measured.loc[measured["metric"] == "usage", "images"] = 1000
    return measured[measured["protocol"].isin([*protocols, "all"])]


def published_of(dataset: str = "mnist") -> pd.DataFrame:
    line = {"table": "anchors", "row": ROWS[0], "dataset": dataset, "protocol": "as_published"}
    lines = [
        {**line, "metric": "rFID", "value": "2.50"},
        {**line, "metric": "usage", "value": "100.0%"},
    ]
    return pd.DataFrame(lines, columns=list(Published.model_fields)).astype(object).fillna("")


def render(plan: Plan, measured: pd.DataFrame) -> list:
    return blocks(plan, measured, published_of(), "anchors")


def words(block: Block) -> dict[str, list[str]]:
    return printed(block, MARKDOWN).to_dict("list")


def test_published_numbers_stand_below_ours_of_their_protocol() -> None:
    plan = plan_of("mnist")
    # Rows keep the order of the experiment, whatever that of the measurements.
    found = render(plan, measured_of(plan, images=5000).iloc[::-1])
    assert [block.protocol for block in found] == ["as_published", "exact"]
    assert list(tidy(found)["row"]) == ROWS * 2
    as_published, exact = (words(block) for block in found)
    assert as_published == {
        "row": [ROWS[0], "*published*", ROWS[1]],
        "rFID (N = 5,000)": ["2.00", "2.50", "2.00"],
        "usage (%)": ["50.0", "100.0%", "50.0"],
    }
    assert exact["row"] == ROWS
    assert list(tidy(found)["rFID published"]) == ["2.50", "", "", ""]


def test_what_a_training_takes_rests_on_no_images_and_is_no_quality() -> None:
    """Other work on the machine lengthens a step, so none is the best."""
    shows = plans.table(ROWS, title="Anchors", metrics=["rFID", "step"])
    plan = plan_of("mnist", seeds=3, tables={"anchors": shows})
    measured = measured_of(plan, images=5000)
    taken = measured[measured["metric"] == "usage"].assign(metric="step", images=float("nan"))
    taken["value"] = 59.4 + taken["seed"] + 100 * (taken["row"] == ROWS[0])
    found = render(plan, pd.concat([measured, taken]))
    assert tidy(found)["step"].tolist() == pytest.approx([160.4, 60.4] * 2)
    assert not found[0].lines.query("metric == 'step'")["best"].any()
    assert [found[0].entries["step"][row]["shade"] for row in ROWS] == [0, 0]
    assert words(found[0])["step (ms)"] == ["160 ± 2", "", "60 ± 2"]


def test_a_frechet_distance_of_few_images_is_grey_and_beside_no_published_one() -> None:
    plan = plan_of("mnist")
    block = render(plan, measured_of(plan))[0]
    assert words(block) == {
        "row": [ROWS[0], "*published*", ROWS[1]],
        "rFID (N = 64)": ["*2.00*", "", "*2.00*"],
        "usage (%)": ["50.0", "100.0%", "50.0"],
    }
    assert "over fewer than 2,048 images is biased upwards" in " ".join(foot([block], plan))
    # Where ours is missing, the published number stands alone.
    alone = render(plan, measured_of(plan).query("row != @ROWS[0]"))[0]
    assert words(alone)["rFID (N = 64)"] == ["", "2.50", "*2.00*"]
    enough = render(plan, measured_of(plan, images=ENOUGH))
    assert "biased" not in " ".join(foot(enough, plan))


@pytest.mark.parametrize(
    ("dataset", "real", "protocol", "said"),
    [
        ("mnist_5k", "mnist", "as_published", "beside MNIST stand-in are of MNIST."),
        ("mnist", "mnist", "exact", "follow another protocol."),
        # The same photographs at another size.
        ("ffhq_64", "ffhq", "as_published", "beside <ffhq_64> are of FFHQ, 256 x 256."),
        ("mnist", "mnist", "as_published", "took 500 epochs at batch 1,024"),
        ("ffhq", "ffhq", "as_published", "not known how long the published runs took"),
    ],
)
def test_the_foot_says_how_far_published_numbers_are_from_ours(
    dataset: str, real: str, protocol: str, said: str
) -> None:
    plan = plan_of(dataset, stand_in_for="mnist" if dataset == "mnist_5k" else None)
    published = published_of(real).assign(evidence=["seen", "quoted by others"])
    (block,) = blocks(plan, measured_of(plan, (protocol,), images=5000), published, "anchors")
    assert words(block)["rFID (N = 5,000)"] == ["2.00", "2.50", "2.00"]
    text = " ".join(foot([block], plan))
    assert said in text
    assert "Published: seen. Published: quoted by others." in text


def test_a_row_without_numbers_stays_and_says_why() -> None:
    plan = plan_of("mnist")
    reason = "diverged: the loss became nan in epoch 3"
    found = render(plan, measured_of(plan, images=5000, zeta=reason))
    frame = words(found[0])
    assert frame["row"] == [f"{ROWS[0]}<sup>a</sup>", "*published*", ROWS[1]]
    assert frame["rFID (N = 5,000)"] == ["", "2.50", "2.00"]
    assert f"<sup>a</sup> {reason}" in markdown(found, plan)
    assert list(tidy(found)["status"]) == ["diverged", "ok"] * 2
    found = render(plan, measured_of(plan).query("row != @ROWS[1]"))
    assert [found[0].mark(row) for row in ROWS] == ["", "a"]
    assert found[0].notes == ["not measured"]
    gone = "dataset missing: put it there"
    (block,) = render(plan, measured_of(plan, zeta=gone, alpha=gone))
    assert block.notes == [gone]
    assert [block.mark(row) for row in ROWS] == ["a", "a"]
    assert "Nothing is measured." in foot([block], plan)
    assert "put it there" in latex([block], plan)


def test_metrics_without_any_value_are_left_out() -> None:
    plan = plan_of("mnist")
    measured = measured_of(plan).query("metric != 'usage'")
    found = blocks(plan, measured, published_of().iloc[:1], "anchors")
    assert list(words(found[0])) == ["row", "rFID (N = 64)"]
    assert not [name for name in tidy(found) if name.startswith("usage")]
    # What is published alone still has its column.
    assert "usage (%)" in words(render(plan, measured)[0])


def test_several_seeds_are_a_mean_with_an_interval() -> None:
    """Values 2, 3 and 4: half of the interval is 4.3027 / sqrt 3."""
    plan = plan_of("mnist", seeds=3)
    found = render(plan, measured_of(plan, images=5000))
    assert words(found[1])["rFID (N = 5,000)"] == ["3.00 ± 2.48"] * 2
    assert any(
        text.startswith("Numbers are means over up to 3 seeds") for text in foot(found, plan)
    )
    assert list(tidy(found)["rFID high"]) == pytest.approx([5.484] * 4, abs=1e-3)


def test_a_number_of_some_seeds_says_how_many_and_is_not_called_outdated() -> None:
    plan = plan_of("mnist", seeds=3)
    measured = measured_of(plan, ("as_published",))
    rest = measured["seed"] > 0
    old, lost = measured.copy(), measured.copy()
    old.loc[rest, ["status", "note"]] = ["outdated", "epochs was 2, is 8"]
    lost.loc[rest, ["status", "note"]] = ["diverged", "the loss became nan"]
    assert render(plan, old)[0].notes == ["1 of 3 seeds measured, 2 outdated"]
    said = "1 of 3 seeds measured, 2 diverged: the loss became nan"
    assert render(plan, lost)[0].notes == [said]


@pytest.mark.parametrize(
    ("other", "best"),
    [([3.0, 4.1, 5.0], True), ([1.0, 4.0, 5.0], False), ([2.0, 3.0, 4.0], False)],
    ids=["supported", "within the interval", "tie"],
)
def test_only_a_supported_difference_is_bold(other: list[float], best: bool) -> None:
    plan = plan_of("mnist", seeds=3)
    measured = measured_of(plan, images=5000)
    for seed, value in enumerate(other):
        one = (
            measured["row"].eq(ROWS[1]) & measured["seed"].eq(seed) & measured["metric"].eq("rFID")
        )
        measured.loc[one, "value"] = value
    found = render(plan, measured)
    assert ("**3.00 ± 2.48**" in markdown(found, plan)) == best
    assert (r"{\textbf{3.00 $\pm$ 2.48}}" in latex(found, plan)) == best
    assert "**50.0" not in markdown(found, plan)


def test_markdown_keeps_trailing_noughts_and_latex_is_escaped() -> None:
    plan = plan_of("mnist", seeds=3)
    found = render(plan, measured_of(plan, images=5000))
    assert "| *published*   |               2.50 |      100.0% |" in markdown(found, plan)
    tex = latex(found, plan)
    assert r"made\_up: 100\% invented" in tex
    assert r"zeta, offline & 3.00 +- 2.48 & 50.0 +- 0.0 \\" in tex
    assert r"\quad published & 2.50 & 100.0\% \\" in tex
    assert r"{lS[table-format=1.2(3)]S[table-format=2.1(1)]}" in tex
    assert tex.count(r"\begin{table}") == tex.count(r"\bottomrule") == 2


def spoilt() -> tuple[list[Block], Plan]:
    """A table with PAYLOAD in its title and caption, a row, a note and published evidence."""
    plan, label = plan_of("mnist", seeds=3), ROWS[0] + PAYLOAD
    rows = [line.model_copy(update={"row": line.row.replace(ROWS[0], label)}) for line in plan.rows]
    table = plans.table([label, ROWS[1]], title=PAYLOAD, caption=PAYLOAD)
    tables = {"title": PAYLOAD, "rows": rows, "tables": {"anchors": table}}
    plan = plan.model_copy(update=tables)
    measured = measured_of(plan, images=5000, alpha=f"diverged: {PAYLOAD}")
    measured.loc[measured["features"] != "", "features"] += PAYLOAD
    published = published_of().assign(row=label, evidence=PAYLOAD)
    return blocks(plan, measured, published, "anchors"), plan


def test_latex_has_no_instruction_from_a_text() -> None:
    text = latex(*spoilt())
    ours = {"begin", "end", "caption", "label", "toprule", "midrule", "bottomrule", "textbf"}
    ours |= {"textbackslash", "textasciitilde", "textasciicircum"}
    ours |= {"textless", "textgreater", "textbar", "textit", "textsuperscript", "sisetup", "quad"}
    ours |= {"par", "noindent", "pm"}
    assert set(re.findall(r"\\([a-zA-Z]+)", text)) <= ours
    # A text that says bold is not bold.
    assert r"\textbackslash{}textbf\{x\}" in text
    # Without our comment and signs, and what is escaped.
    bare = re.sub(r"\\.", "", re.sub(r"\A%.*|\$\\pm\$", "", text))
    body = re.sub(r"^(.begin|.end|.label|\\).*$", "", bare, flags=re.MULTILINE)
    assert not re.search(r"[$#^~<>|]|_|%", re.sub(r"label\{.*?\}|tab:\S*", "", body))
    assert bare.count("{") == bare.count("}")
    rows = [line for line in text.splitlines() if line.endswith(r"\\")]
    counts = {re.sub(r"\\&", "", line).count("&") for line in rows}
    # A table a block, whose rows all have as many cells.
    assert len(counts) <= text.count(r"\begin{tabular}")


def test_markdown_has_no_mark_from_a_text() -> None:
    document = markdown(*spoilt())
    tokens = MarkdownIt("commonmark").enable(["table", "strikethrough"]).parse(document)
    assert not [token for token in tokens if token.type in ("html_block", "fence", "code_block")]
    # A title, and a heading for each protocol.
    assert [token.type for token in tokens].count("heading_open") == 3
    parts = [part for token in tokens for part in token.children or ()]
    assert {part.content for part in parts if part.type == "html_inline"} == {"<sup>", "</sup>"}
    emphasised = [after for part, after in pairwise(parts) if part.type == "em_open"]
    assert {part.content for part in emphasised} == {"published"}
    ours = {"text", "text_special", "html_inline", "em_open", "em_close", "softbreak"}
    assert {part.type for part in parts} <= ours


@pytest.mark.parametrize(
    ("text", "as_markdown", "as_latex"),
    [
        ("RQVAE [22] CVPR'2022", "RQVAE [22] CVPR'2022", "RQVAE [22] CVPR'2022"),
        ("sq_vae", "sq_vae", r"sq\_vae"),
        ("_a_ *b* `c`", r"\_a\_ \*b\* \`c\`", r"\_a\_ *b* `c`"),
        ("a | b\n c", r"a \| b c", r"a \textbar{} b c"),
        ("[a](b) ![c](d) [e]: f", r"[a\](b) \![c\](d) [e\]: f", "{[}a](b) ![c](d) [e]: f"),
        ("&lt; & 1 < 2", r"\&lt; & 1 \< 2", r"\&lt; \& 1 \textless{} 2"),
        ("# a", r"\# a", r"\# a"),
        ("- a", r"\- a", "- a"),
        ("12. a", r"12\. a", "12. a"),
        ("* a", r"\* a", "{*} a"),
        (
            "\\x{~^}$#",
            r"\\x{~^}$#",
            r"\textbackslash{}x\{\textasciitilde{}\textasciicircum{}\}\$\#",
        ),
    ],
)
def test_escapes(text: str, as_markdown: str, as_latex: str) -> None:
    assert escape.markdown(text) == as_markdown
    assert escape.latex(text) == as_latex
    tokens = MarkdownIt("js-default").parse(f"{as_markdown}\n")
    assert [token.type for token in tokens] == ["paragraph_open", "inline", "paragraph_close"]
    assert {part.type for part in tokens[1].children or ()} <= {"text", "text_special"}
    assert "".join(part.content for part in tokens[1].children or ()) == " ".join(text.split())


@pytest.mark.skipif(not shutil.which("pdflatex"), reason="no LaTeX here")
def test_latex_compiles(tmp_path: Path) -> None:
    plan = plan_of("mnist", seeds=3)
    tricky = r"diverged: 100 % of \x{~^} & <$> | # _ became nan"
    tex = latex(render(plan, measured_of(plan)), plan)
    tex += latex(render(plan, measured_of(plan, images=5000, zeta=tricky)), plan)
    head = r"\documentclass{article}\usepackage{booktabs,siunitx}\begin{document}"
    (tmp_path / "all.tex").write_text(head + tex + r"\end{document}", encoding="utf-8")
    call = ["pdflatex", "-halt-on-error", "-interaction=nonstopmode", "all.tex"]
    done = subprocess.run(call, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-2000:]


def test_printing_values() -> None:
    assert formatted("usage", 0.5) == "50.0"
    assert formatted("rFID", -0.001, sign=True) == "0.00"
    assert formatted("SSIM", float("nan")) == "n/a"


def test_rows_of_a_dataset_that_the_budget_lacks_are_printed() -> None:
    gone = Absent(table="anchors", dataset="cifar10", rows=[ROWS[0]], note="not here")
    plan = plan_of("mnist", absent=[gone])
    published = published_of("cifar10").assign(evidence="poster text")
    found = blocks(plan, measured_of(plan), published, "anchors")
    assert [block.dataset for block in found] == ["mnist", "mnist", "cifar10"]
    assert words(found[-1]) == {
        "row": [f"{ROWS[0]}<sup>a</sup>", "*published*"],
        "rFID": ["", "2.50"],
        "usage (%)": ["", "100.0%"],
    }
    assert found[-1].notes == ["not here"]
    assert "Published: poster text." in foot(found, plan)
    assert tidy(found).iloc[-1]["status"] == "not_at_this_budget"


@pytest.mark.parametrize(
    ("wanted", "said"),
    [(2000, "the first 2,000 of 3,600"), (5000, "all 3,600"), (None, "all 3,600")],
)
def test_the_foot_says_how_many_training_images_samples_are_compared_with(
    wanted: int | None, said: str
) -> None:
    plan = plan_of("mnist", stage=2, reference_images=wanted)
    (block,) = blocks(plan, measured_of(plan, ("samples",)), published_of(), "anchors")
    assert f"Samples of <mnist> are compared with {said} training images." in foot([block], plan)
    nothing = measured_of(plan, ("samples",)).iloc[:0]
    (block,) = blocks(plan, nothing, published_of(), "anchors")
    assert not any(text.startswith("Samples") for text in foot([block], plan))


def test_the_foot_names_the_dataset_that_is_too_small_for_a_metric() -> None:
    small = PlannedDataset(
        title="<mnist>", stand_in_for=None, images=3600, too_small_for={"rFID": 31, "LPIPS": 16}
    )
    plan = plan_of("mnist", datasets={"mnist": small})
    sentences = foot(render(plan, measured_of(plan)), plan)
    assert "<mnist> is too small for rFID, which needs 31 pixels a side." in sentences
    # The table does not show LPIPS.
    assert "LPIPS" not in " ".join(sentences)


def test_networks_and_codebooks_that_are_no_setting_are_described(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    plan = plan_of("mnist")
    (first,), (second,) = plan.rows_of("anchors", "mnist").values()
    same = "8 epochs over 3,600 images at batch 64"
    assert captions.describe_training(plan, first) == same
    # The cell asks for more images than the dataset has, and trains on those that there are.
    about = {"dataset": "mnist", "epochs": 8, "batch_size": 8, "perceptual_network": "alex"}
    plan.cells[second] = plans.cell(**about, **VQGAN, train_images=5000, images=3600)
    assert captions.training_sentences(plan, "anchors", {"mnist": ROWS}) == (
        f"<mnist>: {same} ({ROWS[0]}); 8 epochs over 3,600 images at batch 8, VQGAN of 32 "
        f"channels, f = 4, with AlexNet's LPIPS and a critic from step 2 ({ROWS[1]})."
    )
    # Of what is not measured nothing is said.
    assert captions.training_sentences(plan, "anchors", {"mnist": ROWS[:1]}) == f"<mnist>: {same}."
    for codes, words in ((16, "16 codes of"), (None, "no codebook, latents of")):
        method = registry.Method(
            lambda knobs, steps: None, Training, codes=lambda _, n=codes: n, dim=lambda _: 4
        )
        monkeypatch.setitem(registry.METHODS, "toy", method)
        knobs = plan.knobs(first).model_dump(include=set(Training.model_fields))
        toy = Training.model_validate(knobs | {"method": "toy"})
        plan.cells[first] = plan.cells[first].model_copy(update={"knobs": toy})
        assert captions.describe_training(plan, first) == f"{same}, {words} 4 dimensions"


def test_training_is_described_with_its_first_stage() -> None:
    plan = plans.real("lite")
    assert plan.datasets_of("reinitialisation") == ["mnist", "cifar10", "ffhq_subset_64"]
    trained = captions.training_length(plan, plan.cells_of("methods", "mnist"))
    assert trained == "16 epochs over 58,000 images at batch 16"
    table, dataset = "generation_ffhq_imagenet", "cifar10"
    trained = captions.training_length(plan, plan.cells_of(table, dataset))
    assert trained == "6 to 20 epochs over 24,000 images at batch 8 or 32 or 64"
    text = captions.training_sentences(plan, table, {dataset: ["DDPM", "RQ-VAE-LDM"]})
    start = "ImageNet stand-in: 6 epochs over 24,000 images at batch 8, U-Net of "
    assert text.startswith(start)
    end = "on a first stage of 8 epochs over 48,000 images at batch 16 (RQ-VAE-LDM)."
    assert text.endswith(end)
