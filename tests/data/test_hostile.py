"""Images, folders, archives and databases that are not what they should be."""

from __future__ import annotations

import os
import tarfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.data.made import database, encoded, png, six, small, tar, zipped
from workflows import data
from workflows.config.datasets import read_dataset
from workflows.data import databases, formats, images
from workflows.errors import DataError


def turned(orientation: int) -> bytes:
    """An image, dark above and light below, with an EXIF orientation."""
    image = Image.new("RGB", (16, 16))
    image.paste((255, 255, 255), (0, 8, 16, 16))
    exif = Image.Exif()
    exif[0x0112] = orientation
    return encoded(image, "JPEG", exif=exif, quality=95)


GREY, RED = Image.new("L", (16, 16), 99), Image.new("RGB", (16, 16), "red")


@pytest.mark.parametrize(
    ("raw", "pixel"),
    [
        (encoded(GREY), (99, 99, 99)),
        (encoded(RED.quantize(4)), (255, 0, 0)),
        (encoded(RED, "WEBP", lossless=True), (255, 0, 0)),
        (encoded(RED.convert("CMYK"), "JPEG", quality=100), (254, 0, 0)),
        (encoded(Image.new("RGBA", (16, 16), (9, 9, 9, 0))), (255, 255, 255)),
        (encoded(Image.new("LA", (16, 16), (0, 51))), (204, 204, 204)),
        (encoded(Image.new("P", (16, 16)), transparency=0), (255, 255, 255)),
    ],
    ids=["grey", "palette", "webp", "cmyk", "clear", "thin", "key"],
)
def test_modes_become_grey_or_rgb(raw: bytes, pixel: tuple[int, ...]) -> None:
    pixels = images.decode(raw, "a", small())
    assert pixels.shape == (3, 16, 16)
    assert pixels.dtype == np.uint8
    assert pixels[:, 0, 0].tolist() == pytest.approx(pixel, abs=2)
    assert images.decode(raw, "a", small(channels=1)).shape == (1, 16, 16)


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (b"", "not a readable image"),
        (png()[: len(png()) // 2], "not a readable image"),
        (encoded(Image.new("I;16", (16, 16), 1000)), "has more than 8 bits a channel"),
        (encoded(GREY, "GIF"), "not a readable image"),
        (turned(6), r"is stored turned, by its EXIF orientation; say upright: true"),
    ],
    ids=["empty", "cut", "grey16", "gif", "exif"],
)
def test_an_image_that_has_no_one_meaning_is_refused_by_name(raw: bytes, message: str) -> None:
    with pytest.raises(DataError, match=f"^folder/a\\.png: ({message})"):
        images.decode(raw, "folder/a.png", small())


def test_orientation_is_obeyed_or_not_as_the_dataset_says() -> None:
    """3 is upside down."""
    stored = images.decode(turned(3), "a", small(options={"upright": False}))
    upright = images.decode(turned(3), "a", small(options={"upright": True}))
    assert stored[0, 0, 0] < 50 < 200 < stored[0, -1, 0]
    assert upright[0, 0, 0] > 200 > 50 > upright[0, -1, 0]
    as_is = images.decode(turned(1), "a", small(options={"upright": True}))
    assert as_is[0, 0, 0] < 50


def test_a_link_to_a_file_is_the_file(tmp_path: Path) -> None:
    folder = six(tmp_path / "images")
    (tmp_path / "outside.png").write_bytes(png(value=9))
    for name, target in (("4.png", "3.png"), ("5.png", "../outside.png")):
        (folder / name).unlink()
        (folder / name).symlink_to(target)
    # The folder itself may be elsewhere.
    (tmp_path / "link").symlink_to(folder)
    decoded = images.read_image_folder(small(), (tmp_path / "link",))
    assert list(decoded.test[:, 0, 0, 0]) == [3, 9]


def test_what_is_no_file_is_no_image(tmp_path: Path) -> None:
    """Folders, also as links in a circle, pipes and broken links are passed over."""
    folder = six(tmp_path / "images", ["x.jpg/0.png", "x.jpg/1.png", *(f"{k}.png" for k in "2345")])
    (folder / "y.png").symlink_to(".")
    (folder / "6.png").symlink_to("nothing")
    os.mkfifo(folder / "7.png")
    assert len(images.read_image_folder(small(), (folder,)).train) == 4
    for reader in (images.read_image_folder, formats.read_cifar10):
        with pytest.raises(DataError, match=r"7\.png: no such file"):
            reader(small(), (folder / "7.png",))


def test_a_pattern_says_what_is_read(tmp_path: Path) -> None:
    folder = six(tmp_path, [f"{k}.jfif" for k in range(6)])
    images.read_image_folder(small(options={"pattern": r".*\.jfif"}), (folder,))
    said = r"0 training and 0 test images, must be 4 and 2; files read: names like .*png.*bmp"
    with pytest.raises(DataError, match=said):
        images.read_image_folder(small(), (folder,))


GOOD = [(f"{k}.png", png(value=k)) for k in range(6)]
# What file managers leave beside images.
BESIDE = ["__MACOSX/a/._0.png", ".DS_Store", "a/._0.png", ".hidden.png", ".Trash/0.png"]


@pytest.mark.parametrize("kind", ["tar", "zip", "folder"])
def test_names_of_other_systems_are_read_as_meant(tmp_path: Path, kind: str) -> None:
    prefix = "./" if kind == "tar" else ""
    entries = [(f"{prefix}{'ab'[k % 2]}/é {k}.PNG", png(value=k)) for k in range(6)]
    entries += [(name, b"of a file manager") for name in BESIDE]
    path = tmp_path / f"a.{kind}"
    if kind == "folder":
        for name, content in entries:
            file = path / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(content)
    else:
        write = tar if kind == "tar" else zipped
        write(path, entries)
    dataset = small(options={"labels": "folder"}, classes=2)
    decoded = images.read_image_folder(dataset, (path,))
    # By name: a/0, a/2, a/4, b/1 to train on, b/3 and b/5 to test on.
    assert sorted(decoded.train[:, 0, 0, 0]) == [0, 1, 2, 4]
    assert list(decoded.test[:, 0, 0, 0]) == [3, 5]
    assert decoded.labels is not None
    assert list(decoded.labels) == list(decoded.train[:, 0, 0, 0] % 2)
    with pytest.raises(DataError, match="2 classes, must be 3"):
        images.read_image_folder(small(options={"labels": "folder"}, classes=3), (path,))


def test_links_in_an_archive_are_not_followed_and_nothing_is_written(tmp_path: Path) -> None:
    link = tarfile.TarInfo("5.png")
    link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
    path = tar(tmp_path / "a.tar", [*GOOD[:4], ("../4.png", png()), ("/5.png", png()), (link, b"")])
    before = set(path.parent.parent.rglob("*"))
    assert len(images.read_image_folder(small(), (path,)).train) == 4
    assert set(path.parent.parent.rglob("*")) == before


@pytest.mark.parametrize("name", ["a.tar", "a.tar.gz", "a.tar.xz", "a.tar.bz2"])
def test_an_archive_is_read_if_it_is_whole(tmp_path: Path, name: str) -> None:
    path = tar(tmp_path / name, [(name, raw + os.urandom(3000)) for name, raw in GOOD])
    assert len(images.read_image_folder(small(), (path,)).train) == 4
    whole = path.read_bytes()
    for part in (0.2, 0.75):
        path.write_bytes(whole[: int(len(whole) * part)])
        with pytest.raises(DataError, match=r"a\.tar"):
            images.read_image_folder(small(), (path,))


def test_what_is_no_archive_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.tar.gz"
    path.write_bytes(b"no archive")
    with pytest.raises(DataError, match=r"a\.tar\.gz: unreadable"):
        images.read_image_folder(small(), (path,))


@pytest.fixture
def bedrooms(tmp_path: Path) -> tuple[Path, Path]:
    return database(tmp_path / "train", range(200)), database(tmp_path / "test", [7, 8])


def test_lmdb_that_is_cut_short_empty_or_none_is_refused(bedrooms: tuple[Path, Path]) -> None:
    train, test = bedrooms
    with pytest.raises(DataError, match=r"train: 200 images by its header, must be at least 300"):
        databases.read_lmdb(small(images={"train": 300, "test": 2}), bedrooms)
    (test / "data.mdb").write_bytes((train / "data.mdb").read_bytes()[:9000])
    with pytest.raises(DataError, match=r"test: has 9000 bytes, its header asks for"):
        databases.read_lmdb(small(), bedrooms)
    for garbage in (b"", b"no database at all" * 1000):
        (test / "data.mdb").write_bytes(garbage)
        with pytest.raises(DataError, match=r"test: not a readable LMDB"):
            databases.read_lmdb(small(), bedrooms)
    with pytest.raises(DataError, match=r"nothing: not a readable LMDB.*No such file"):
        databases.read_lmdb(small(), (train.with_name("nothing"),) * 2)


def test_nothing_is_left_of_a_dataset_that_was_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CODEBOOK_DATA", str(tmp_path))
    source = {"kind": "local", "files": ["mine"]}
    dataset, folder = small(sources=[source]), six(tmp_path / "mine")
    data.prepare(dataset, tmp_path / "out")
    whole = {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()}
    (folder / "3.png").write_bytes(b"")
    for out, expected in (("out", whole), ("new", {})):
        with pytest.raises(DataError, match=r"3\.png: not a readable image"):
            data.prepare(dataset, tmp_path / out)
        assert {p.name: p.read_bytes() for p in (tmp_path / out).iterdir()} == expected


def test_the_official_partition_of_celeba_is_by_number() -> None:
    options = read_dataset("celeba_64").options
    names = [f"img_align_celeba/{k:06}.jpg" for k in (1, 162770, 162771, 182637, 182638, 202599)]
    sides = images._split(
        small(options=options.model_dump(exclude_unset=True), images={"train": 2, "test": 2}),
        names,
        Path("celeba"),
    )
    assert sides == (names[:2], names[4:])
