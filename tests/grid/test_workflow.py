"""What Snakemake would make, and of what, asked without making it."""

from __future__ import annotations

import pytest

from tests.faults.place import Done, Place, copy_tree

BUDGET = "smoke"


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Place:
    """A copy of the repository without results."""
    root = tmp_path_factory.mktemp("workflow") / "copy"
    copy_tree(root)
    return Place(root)


def ask(place: Place, *targets: str, options: tuple[str, ...] = ("--dry-run",)) -> Done:
    """Snakemake's answer to a request for files of the smoke budget."""
    command = [str(place.root / ".venv/bin/snakemake"), "--cores", "1", *options]
    return place.command_here([*command, "--config", f"budget={BUDGET}", "--", *targets])


def test_labels_can_be_asked_for_where_there_are_classes(place: Place) -> None:
    done = ask(place, ".cache/datasets/mnist_5k/labels.npy")
    assert done.status == 0, done.said
    assert done.says("Job 0: Prepare the images of mnist_5k")
    done = ask(place, ".cache/datasets/photo_patches/labels.npy")
    assert done.status == 1
    assert done.says("MissingRuleException")


@pytest.mark.parametrize(
    ("target", "said"),
    [
        (
            f"figures/{BUDGET}/reconstruction.svg",
            "no figure 'reconstruction'; did you mean reconstructions, ",
        ),
        (f"figures/{BUDGET}/samples_lsun.gif", "no animation 'samples_lsun'; allowed: codevectors"),
        (f"results/{BUDGET}/tables/anchor.md", "no table 'anchor'; did you mean anchors? "),
        (".cache/datasets/mnst/dataset.json", "no dataset 'mnst'; did you mean mnist, "),
    ],
)
def test_a_mistyped_target_is_refused_by_name(place: Place, target: str, said: str) -> None:
    done = ask(place, target)
    assert done.status == 1
    assert done.says(said, "allowed: ")
    assert "KeyError" not in done.said
