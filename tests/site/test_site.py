"""The gallery in a real browser: links, sorting, numbers that lead to runs, no other host."""

from __future__ import annotations

import html
import os
import re
import shutil
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from types import SimpleNamespace
from urllib.parse import unquote, urlsplit

import pandas as pd
import pytest
import yaml
from playwright.sync_api import Page, expect

from tests import plans
from tests.plans import PAYLOAD, PIECES
from tests.site import made_up
from workflows.config.grid import ROOM
from workflows.config.plan import Plan
from workflows.config.reading import read_json
from workflows.generators import GENERATORS
from workflows.registry import METHODS
from workflows.render import captions, showing

pytestmark = pytest.mark.slow(seconds=60)

KINDS = (
    "index.html",
    "claims.html",
    "figures.html",
    "figures/codevectors.html",
    "cells.html",
    "quality.html",
    "methods/cvq_vae.html",
    "methods/hard_features.html",
    "methods/ldm.html",
    "tables/methods.html",
    "tables/generation_lsun.html",
    "tables/reinitialisation.html",
    "cells/cifar10/cvq_vae/contrastive/seed1.html",
    f"cells/{made_up.DIVERGED}.html",
    f"cells/{made_up.MISSING}/hard_features/default/seed0.html",
    f"cells/{made_up.NAME}.html",
    "others.html",
)


TABLES = ("methods", "components", "reinitialisation", "two_dimensions", "generation_lsun")
LEFT_OUT = ["large_codebooks", "first_stages", "code_dimension", "successors", "training_length"]
MY_IMAGES = {
    **{"name": "my_images", "title": "My images, 64 x 64", "stand_in_for": None},
    **{"image_size": 64, "channels": 3, "licence": "mine"},
    **{"citation": "none", "reader": "image_folder", "options": {"resize": True}},
    **{"sources": [{"kind": "local", "files": ["my_images"]}], "validation": 90},
    "images": {"train": 900, "test": 100},
}


def write_yaml(file: Path, content: dict) -> None:
    file.write_text(yaml.safe_dump(content), encoding="utf-8")


@pytest.fixture(scope="module")
def gallery(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site of made-up results."""
    return made_up.site(tmp_path_factory.mktemp("made up"), "lite")


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site of a small budget."""
    return made_up.site(tmp_path_factory.mktemp("small"), "smoke", tables=TABLES)


def read(file: Path) -> tuple[list[str], set[str]]:
    """The addresses that a page refers to, and its anchors."""
    targets: list[str] = []
    anchors: set[str] = set()

    class Reader(HTMLParser):
        def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            targets.extend(value or "" for name, value in attrs if name in ("href", "src"))
            anchors.update(value or "" for name, value in attrs if name == "id")

    Reader().feed(file.read_text(encoding="utf-8"))
    return targets, anchors


def ready(page: Page) -> None:
    """Wait until the scripts of a page are done."""
    page.wait_for_selector("html[data-ready]", state="attached")


def opened(page: Page, file: Path, anchor: str = "") -> None:
    """Open a page with its scripts done."""
    page.goto(file.as_uri() + anchor)
    ready(page)


def check_links(gallery: Path) -> int:
    """That every link leads to a file and an anchor of the site; the number of its pages."""
    every = {file: read(file) for file in gallery.rglob("*.html")}
    for file, (targets, _) in every.items():
        for target in targets:
            parts = urlsplit(target)
            if parts.scheme == "data":
                continue
            assert parts.scheme + parts.netloc == "", f"{file}: {target}"
            to = Path(os.path.normpath(file.parent / unquote(parts.path))) if parts.path else file
            assert to.is_relative_to(gallery), f"{file}: {target}"
            assert to.is_file(), f"{file}: {target}"
            assert not parts.fragment or unquote(parts.fragment) in every[to][1], (
                f"{file}: {target}"
            )
    return len(every)


def test_every_link_leads_to_a_file_and_an_anchor_of_the_site(gallery: Path) -> None:
    assert check_links(gallery) > 180


@pytest.mark.parametrize(
    ("roles", "without"),
    [
        # The claims on large codebooks speak of this role, whose images stand for no others.
        # Diffusion models have first stages that no table shows.
        ({"natural": "my_images"}, LEFT_OUT),
        # Figures are of these tables, headlines are of the second.
        ({"digits": "mnist_5k"}, ["codebook_size", "methods", "two_dimensions"]),
    ],
    ids=["own images", "one role"],
)
def test_a_budget_of_ones_own_has_a_site(
    roles: dict[str, str], without: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    room = tmp_path / "room"
    hidden = shutil.ignore_patterns("*.py", "__pycache__", "templates")
    shutil.copytree(ROOM, room, ignore=hidden)
    write_yaml(room / "datasets" / "my_images.yaml", MY_IMAGES)
    budget = yaml.safe_load((room / "budgets" / "smoke.yaml").read_text(encoding="utf-8"))
    others = dict.fromkeys(budget["roles"]) if "digits" in roles else budget["roles"]
    write_yaml(
        room / "budgets" / "mine.yaml",
        budget | {"roles": others | roles, "without": without, "role_knobs": {}},
    )
    # Curves are drawn of first stages alone.
    monkeypatch.setattr(made_up, "DRAWN", "D4")
    assert check_links(made_up.site(tmp_path, "mine", room=room)) > 20


def text_of(file: Path) -> str:
    """The words of a page, in one line."""
    return " ".join(html.unescape(re.sub(r"<[^>]+>", " ", file.read_text("utf-8"))).split())


def test_a_site_of_few_runs_says_what_is_there_and_what_is_not(tmp_path: Path) -> None:
    """Two runs are measured, one is outdated, and the rest was never made."""
    ours, theirs = "photo_patches/cvq_vae/default/seed0", "photo_patches/vq_vae/default/seed0"
    old = "photo_patches/sq_vae/default/seed0"

    def found_as(measured: pd.DataFrame) -> pd.DataFrame:
        outdated = measured[measured["cell"] == old].assign(
            status="outdated", protocol="all", metric="all", value=None, images=pd.NA
        )
        kept = measured["cell"].isin([ours, theirs]) & (measured["status"] == "ok")
        once = outdated.drop_duplicates(["table", "row", "cell"])
        return pd.concat([measured[kept], once])

    site = made_up.site(tmp_path, "smoke", found_as=found_as, tables=("methods", "frozen_latents"))
    check_links(site)
    first = text_of(site / "index.html")
    cells = len(read_json(site.parent / "plan.json", Plan).cells)
    assert f"2 of {cells} runs are measured, {cells - 2} have no numbers (" in first
    assert "1 outdated" in first
    assert "Whether CVQ-VAE + contrastive beats VQ-VAE (l2) is not measured yet." in first
    assert f"CELL={ours}" in first
    # Documents are named and not linked, because a copy of the site lacks them.
    assert "The repository says more in docs/reproduction.md and docs/doubts.md." in first
    assert "undecided (one seed)" in text_of(site / "claims.html")
    listed = re.findall(r"\S+/\S+/\S+/seed\d", text_of(site / "cells.html"))
    assert set(listed[:2]) == {ours, theirs}
    older = text_of(site / f"cells/{old}.html")
    assert "Settings of today" in older
    assert "Provenance of the older run This record is of an older run" in older
    assert "older run" not in text_of(site / f"cells/{ours}.html")
    empty = text_of(site / "tables/frozen_latents.html")
    assert empty.count("Nothing is measured yet.") == 1
    assert "Hover over" not in empty
    assert "Hover over" in text_of(site / "tables/methods.html")


def test_a_first_stage_that_no_table_shows_has_numbers_and_provenance(small: Path) -> None:
    plan = read_json(small.parent / "plan.json", Plan)
    shown = {row.cell for row in plan.rows}
    (cell, *_) = (name for name in plan.cells if name not in shown)
    page = text_of(small / f"cells/{cell}.html")
    for words in ("· measured", "PSNR (dB)", "Reconstructions", "Provenance commit 0123456789ab"):
        assert words in page
    assert f"{len(plan.cells)} of {len(plan.cells)} runs are measured." in text_of(
        small / "index.html"
    )


def test_one_seed_is_said_to_decide_nothing(small: Path) -> None:
    first = text_of(small / "index.html")
    assert "has better numbers than VQ-VAE (l2) on 5 of 5 metrics on" in first
    assert "This is one seed, which decides nothing." in first
    assert "beats" not in first
    assert "the published one" in text_of(small / "tables/methods.html")
    assert "the published one" not in text_of(small / "tables/two_dimensions.html")


def test_the_same_results_make_the_same_bytes(small: Path, tmp_path: Path) -> None:
    """Also in a process that orders sets otherwise."""
    program = (
        "import sys; from pathlib import Path; from tests.site import made_up;"
        f"made_up.site(Path(sys.argv[1]), 'smoke', tables={TABLES})"
    )
    seed = "2" if os.environ.get("PYTHONHASHSEED") == "1" else "1"
    subprocess.run(
        [sys.executable, "-W", "ignore", "-c", program, tmp_path],
        cwd=ROOM.parent,
        env={**os.environ, "PYTHONHASHSEED": seed},
        check=True,
    )
    sites = [
        {file.relative_to(site): file.read_bytes() for file in site.rglob("*") if file.is_file()}
        for site in (small, tmp_path / "smoke" / "site")
    ]
    assert len(sites[0]) > 50
    assert sites[0] == sites[1]


@pytest.mark.parametrize("kind", KINDS)
def test_pages_fit_every_screen_and_show_texts_of_which_nothing_runs(
    gallery: Path, page: Page, complaints: list[str], kind: str
) -> None:
    for width in (1600, 380):
        page.set_viewport_size({"width": width, "height": 800})
        opened(page, gallery / kind)
        assert page.evaluate("document.documentElement.scrollWidth") <= width
    text = " ".join((page.text_content("main") or "").split())
    for piece in PIECES:
        assert " ".join(piece.split()) in text, piece
    # Sorting and filtering put the contents of cells together again.
    for heading in page.locator("table.sortable thead th").all()[:4]:
        heading.dispatch_event("click")  # A wide first column may lie above the heading.
    for search in page.locator("input[type=search]").all()[:1]:
        search.fill(PIECES[0])
    for button in page.locator("[data-copy]").all():
        button.click()
    # Pictures fail late.
    page.wait_for_timeout(200)
    assert page.evaluate("window.pwned") is None
    assert all(frame.url == page.url for frame in page.frames)
    assert complaints == []


def test_a_cell_of_any_name_has_its_page(gallery: Path, page: Page) -> None:
    opened(page, gallery / "cells.html")
    page.get_by_role("link", name=made_up.NAME, exact=True).click()
    ready(page)
    assert page.text_content("h1") == made_up.NAME
    assert f"CELL={made_up.NAME}" in (page.text_content("main .command") or "")


def test_a_column_sorts_by_number_up_and_down(gallery: Path, page: Page) -> None:
    opened(page, gallery / "tables/methods.html")
    table = page.locator("#cifar10-as_published table")
    heading = table.locator("thead th").nth(2)  # PSNR
    rows = table.locator("tbody tr")
    before = rows.evaluate_all("rows => rows.map(row => row.cells[0].textContent)")

    def numbers() -> list[float]:
        texts = rows.evaluate_all("rows => rows.map(row => row.cells[2].dataset.order)")
        return [float(text) for text in texts]

    heading.click()
    expect(heading).to_have_attribute("aria-sort", "ascending")
    assert numbers() == sorted(numbers())
    heading.get_by_role("button").focus()
    page.keyboard.press("Enter")
    expect(heading).to_have_attribute("aria-sort", "descending")
    assert numbers() == sorted(numbers(), reverse=True)
    after = rows.evaluate_all("rows => rows.map(row => row.cells[0].textContent)")
    assert sorted(after) == sorted(before)
    assert after != before


def test_the_switch_shows_one_protocol_and_a_link_its_own(gallery: Path, page: Page) -> None:
    opened(page, gallery / "tables/methods.html")
    published, exact = page.locator("#mnist-as_published"), page.locator("#mnist-exact")
    assert published.is_visible()
    assert not exact.is_visible()
    page.get_by_label("exact protocol").check()
    assert exact.is_visible()
    assert not published.is_visible()
    opened(page, gallery / "tables/methods.html", "#cifar10-exact")
    assert exact.is_visible()


def test_a_number_has_the_published_one_below_and_leads_to_its_run(
    gallery: Path, page: Page
) -> None:
    opened(page, gallery / "tables/methods.html")
    line = page.locator("#mnist-as_published tbody tr", has_text="CVQ-VAE + contrastive")
    psnr, fid = line.locator("td").nth(1), line.locator("td").nth(4)
    assert psnr.locator("small").text_content() == "27.87"
    shown = float(psnr.locator("a").text_content() or "")
    assert "half of the 95 % interval over 3 seeds" in (
        psnr.locator("a").get_attribute("title") or ""
    )
    # 64 images are too few for a distance to stand beside a published one.
    assert "few" in (fid.get_attribute("class") or "")
    assert fid.locator("small").count() == 0
    psnr.locator("a").click()
    ready(page)
    assert page.url.endswith("cells/mnist/cvq_vae/contrastive/seed0.html#as_published-PSNR")
    numbers = page.locator("tr:target td.num").all_text_contents()
    seeds = [float(text) for text in numbers[:3]]
    # The mean in the table is that of the seeds shown here.
    assert abs(sum(seeds) / 3 - shown) <= 0.01
    page.get_by_role("main").get_by_role("link", name="Components").first.click()
    assert "tables/components.html#mnist-as_published" in page.url


def test_the_first_page_answers_and_leads_to_the_evidence(gallery: Path, page: Page) -> None:
    opened(page, gallery / "index.html")
    answer = page.text_content("p.answer") or ""
    metrics = "beats VQ-VAE (l2) on 5 of 5 metrics on MNIST"
    assert answer.startswith(f"CVQ-VAE + contrastive {metrics}")
    assert "and 5 of 5 on CIFAR10, at this length." in answer
    command = "make cell BUDGET=lite CELL=mnist/cvq_vae/contrastive/seed0"
    assert page.get_by_text(command).count() == 1
    line = page.locator("table.grid tbody tr", has_text="better than SQ-VAE, on both")
    squares = line.locator("a.square").all_text_contents()
    # One run of SQ-VAE has an infinite PSNR, which decides nothing.
    assert squares == ["A4/5", "A5/5"]
    line.locator("a.square").nth(1).click()
    ready(page)
    assert page.url.endswith("claims.html#cvq_better_than_sq-cifar10")
    target = page.locator("tr:target")
    assert (target.locator("td").first.text_content() or "").strip() == "CIFAR10"
    plan = read_json(gallery.parent / "plan.json", Plan)
    length = captions.training_length(plan, plan.cells_of("methods", "cifar10"))
    judged = page.locator("section#cvq_better_than_vq")
    assert length in (judged.text_content() or "")
    text = judged.locator("tbody tr", has_text="CIFAR10").filter(has_text="PSNR").text_content()
    assert "24.72" in (text or "")
    assert "[+" in (text or "")


def test_figures_follow_each_other_by_keys(gallery: Path, page: Page) -> None:
    opened(page, gallery / "figures.html")
    page.locator(".tiles a").first.click()
    ready(page)
    first = page.url
    page.keyboard.press("ArrowRight")
    page.wait_for_url(lambda url: url != first)
    ready(page)
    for kind in ("SVG", "PNG", "CSV of what is drawn"):
        assert page.get_by_role("link", name=kind).count() == 1
    page.keyboard.press("ArrowLeft")
    page.wait_for_url(first)


def test_every_method_is_told_with_code_that_exists() -> None:
    assert set(captions.METHODS) <= {*METHODS, *GENERATORS}
    assert all((ROOM.parent / about["code"]).is_file() for about in captions.METHODS.values())


def test_a_method_has_its_equation_settings_rows_and_curves(gallery: Path, page: Page) -> None:
    opened(page, gallery / "methods/cvq_vae.html")
    text = page.text_content("main") or ""
    assert "eₖ ← (1 − αₖ) eₖ + αₖ ẑₖ" in text
    assert "models/quantiser/refresh.py" in text
    assert "probability" in (page.text_content("dl.facts") or "")
    assert page.locator("tbody tr", has_text="Components").count() > 0
    assert page.locator("img[src*='curves.svg']").count() > 0


def test_what_others_report_has_a_page_with_the_digits_of_the_source(
    gallery: Path, page: Page
) -> None:
    opened(page, gallery / "others.html")
    section = page.locator("section").filter(has_text="VQ-WAE paper").filter(has_text="CIFAR10")
    cells = section.locator("tr").filter(has_text="VQ-WAE").locator("td").all_text_contents()
    assert cells == ["0.80", "25.93", "0.23", "54.9", "505.0"]
    assert "other networks" in (section.text_content() or "")


def test_quality_names_what_is_missing_diverged_and_measured_on_too_little(
    gallery: Path, page: Page
) -> None:
    opened(page, gallery / "quality.html")
    checks = page.locator("section.card").all_text_contents()
    found = {check.split(":")[0].strip(): check for check in checks}
    assert made_up.DIVERGED in found["Diverged"]
    assert made_up.MISSING in found["Dataset missing on the machine that made these pages"]
    assert "rFID (N = 64)" in next(text for text in checks if "Fréchet" in text)
    # The pages of such runs say why, too.
    opened(page, gallery / f"cells/{made_up.DIVERGED}.html")
    assert f"diverged: lost {PAYLOAD}" in (page.text_content("p.trouble") or "")
    opened(page, gallery / f"cells/{made_up.MISSING}/cvq_vae/default/seed0.html")
    assert "put the faces there" in (page.text_content("p.trouble") or "")


def test_quality_counts_the_rows_of_one_seed(small: Path) -> None:
    text = text_of(small / "quality.html")
    heading = re.search(r"Rows of one seed, which have no interval and decide nothing: (\d+)", text)
    assert heading
    assert int(heading[1]) > 0
    assert int(heading[1]) == sum(map(int, re.findall(r"(\d+) of \d+ rows", text)))


def test_a_cell_says_which_side_is_better_where_there_is_one(small: Path) -> None:
    (page, *_) = sorted((small / "cells").glob("*/ldm/*/seed0.html"))
    lines = re.findall(r'<tr id="samples-(\S+)">(.*)</tr>', page.read_text(encoding="utf-8"))
    sides = {metric: re.findall(r"<td>(\w*)</td>", line) for metric, line in lines}
    assert sides == {
        "FID": ["lower"],
        "KID": ["lower"],
        "KID-deviation": [""],
        "precision": ["higher"],
        "recall": ["higher"],
    }


def test_an_infinite_number_decides_nothing(gallery: Path, page: Page) -> None:
    opened(page, gallery / f"cells/{made_up.PERFECT}.html")
    assert page.locator("tr#exact-PSNR td").first.text_content() == "inf"
    opened(page, gallery / "claims.html")
    lines = page.locator("section#cvq_better_than_sq tbody tr", has_text="PSNR")
    texts = lines.filter(has_text="MNIST").first.locator("td").all_text_contents()
    assert texts[1] == "undecided at this length"
    assert texts[3].strip() == "-inf"


def test_the_cells_are_filtered_as_one_types(gallery: Path, page: Page) -> None:
    opened(page, gallery / "cells.html")
    every = page.locator("tbody tr").count()
    page.get_by_label("Filter").fill("sq_vae mnist")
    assert 0 < page.locator("tbody tr").count() < every
    page.get_by_label("Filter").fill("")
    page.locator("select[data-column='2']").select_option("rq_vae")
    names = page.locator("tbody th").all_text_contents()
    assert names
    assert all("/rq_vae/" in name for name in names)
    page.locator("select[data-column='4']").select_option("Methods")
    assert page.locator("tbody th").count() == 0


def test_the_site_follows_the_system_into_the_dark(gallery: Path, page: Page) -> None:
    backgrounds = []
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        opened(page, gallery / "tables/methods.html")
        backgrounds.append(page.evaluate("getComputedStyle(document.body).backgroundColor"))
    assert backgrounds[0] == "rgb(255, 255, 255)"
    assert backgrounds[1] != backgrounds[0]


def test_an_error_leaves_the_site_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "index.html").write_text("old")
    made = [("index.html", "new"), ("measured.csv", tmp_path / "missing.csv")]
    monkeypatch.setattr(showing, "contents", lambda *_: iter(made))
    gallery = SimpleNamespace(plan=plans.plan({}, [], results=str(tmp_path)))
    with pytest.raises(FileNotFoundError):
        showing.draw_site(gallery, tmp_path)  # type: ignore[arg-type]
    assert (tmp_path / "site" / "index.html").read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["site"]
