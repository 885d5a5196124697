"""Images, folders, archives and databases that are not what they should be."""

from __future__ import annotations

import os
import stat
import tarfile
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.data.example_files import database, encoded, png, six, small, tar, zipped
from workflows.config.datasets import read_dataset
from workflows.data import cache, databases, images
from workflows.errors import DataError


def turned(orientation: int, kind: str = "JPEG") -> bytes:
    """An image, dark above and light below, with an EXIF orientation."""
    image = Image.new("RGB", (16, 16))
    image.paste((255, 255, 255), (0, 8, 16, 16))
    exif = Image.Exif()
    exif[0x0112] = orientation
    return encoded(image, kind, exif=exif, quality=95)


GREY, RED = Image.new("L", (16, 16), 99), Image.new("RGB", (16, 16), "red")


@pytest.mark.parametrize(
    ("raw", "pixel"),
    [
        (encoded(GREY), (99, 99, 99)),
        (encoded(GREY.point(lambda _: 255).convert("1")), (255, 255, 255)),
        (encoded(RED.quantize(4)), (255, 0, 0)),
        (encoded(RED, "WEBP", lossless=True), (255, 0, 0)),
        (encoded(RED, "BMP"), (255, 0, 0)),
        (encoded(RED.convert("CMYK"), "JPEG", quality=100), (254, 0, 0)),
        (encoded(Image.new("RGBA", (16, 16), (9, 9, 9, 0))), (255, 255, 255)),
        (encoded(Image.new("LA", (16, 16), (0, 51))), (204, 204, 204)),
        (encoded(Image.new("RGBA", (16, 16), (9, 8, 7, 255))), (9, 8, 7)),
        (encoded(Image.new("P", (16, 16)), transparency=0), (255, 255, 255)),
        (
            encoded(RED, "MPO", save_all=True, append_images=[GREY.convert("RGB")], quality=100),
            (254, 0, 0),
        ),
    ],
    ids=["grey", "bits", "palette", "webp", "bmp", "cmyk", "clear", "thin", "opaque", "key", "mpo"],
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
        (encoded(Image.new("I;16", (16, 16), 1000)), "has 16 bits a channel, must have 8"),
        (encoded(Image.new("1", (5000, 5000))), r"\(5000, 5000\) is more than 16777216 p"),
        (encoded(GREY, "GIF"), "not a readable image"),
        (encoded(RED, "PNG", save_all=True, append_images=[GREY]), "has 2 frames, must have one"),
        (turned(6), r"is stored turned \(EXIF orientation 6\); say upright: true"),
    ],
    ids=["empty", "cut", "grey16", "large", "gif", "apng", "exif"],
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


@pytest.mark.filterwarnings("ignore:Corrupt EXIF")
@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
@pytest.mark.parametrize("upright", [{}, {"upright": True}, {"upright": False}])
def test_exif_without_a_valid_orientation_turns_nothing(kind: str, upright: Any) -> None:
    dataset = small(options=upright)
    for exif in (bytes(20), b"II", b"Exif\0\0MM\0*\xff\xff\xff\xff"):
        pixels = images.decode(encoded(GREY, kind, exif=exif, quality=100), "a", dataset)
        assert np.abs(pixels.astype(int) - 99).max() <= 2
    for orientation in (0, 1, 9, 65535):
        pixels = images.decode(turned(orientation, kind), "a", dataset)
        assert pixels[0, 0, 0] < 50 < 200 < pixels[0, -1, 0]


def test_names_with_spaces_and_unicode_are_names(tmp_path: Path) -> None:
    names = ["a b.png", "é.png", "画像.PNG", "🙂/x.Png", "-rf.png", "$(x).png"]
    decoded = images.read_image_folder(small(), (six(tmp_path, names),))
    assert len(decoded.train) + len(decoded.test) == 6


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
    """Folders are skipped, also as links in a circle; pipes and broken links are refused."""
    folder = six(tmp_path / "images", ["x.jpg/0.png", "x.jpg/1.png", *(f"{k}.png" for k in "2345")])
    (folder / "y.png").symlink_to(".")
    assert len(images.read_image_folder(small(), (folder,)).train) == 4
    (folder / "6.png").symlink_to("nothing")
    with pytest.raises(DataError, match=r"'6\.png' is a link or a device; must be a file"):
        images.read_image_folder(small(), (folder,))
    (folder / "6.png").unlink()
    os.mkfifo(folder / "6.png")
    with pytest.raises(DataError, match=r"'6\.png' is a link or a device"):
        images.read_image_folder(small(), (folder,))
    with pytest.raises(DataError, match=r"6\.png: no such file"):
        images.read_image_folder(small(), (folder / "6.png",))


@pytest.mark.parametrize("suffix", ["tif", "gif", "jfif"])
def test_files_that_are_skipped_are_named(
    tmp_path: Path, suffix: str, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = six(tmp_path, [f"{k}.{suffix}" for k in range(6)])
    skipped_files = (
        f"files skipped: 6, such as 0.{suffix}, 1.{suffix}, 2.{suffix}; "
        "files read: names that end in .png, .jpg, .jpeg, .bmp, .webp, unless they are hidden"
    )
    with pytest.raises(DataError) as error:
        images.read_image_folder(small(), (folder,))
    assert str(error.value) == f"{folder}: no image in it; {skipped_files}"
    (folder / "a.png").write_bytes(png())
    with pytest.raises(DataError) as error:
        images.read_image_folder(small(), (folder,))
    assert str(error.value) == f"{folder}: 1 images, must be 6 (train and test); {skipped_files}"
    six(folder)
    (folder / "a.png").unlink()
    images.read_image_folder(small(), (folder,))
    assert capsys.readouterr().err == f"{folder}: {skipped_files}\n"


def test_a_pattern_says_what_is_read(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = six(tmp_path, [f"{k}.jfif" for k in range(6)])
    images.read_image_folder(small(options={"pattern": r".*\.jfif"}), (folder,))
    assert capsys.readouterr().err == ""
    with pytest.raises(DataError, match=r"files skipped: 6.*read: names like a\\\.png"):
        images.read_image_folder(small(options={"pattern": r"a\.png"}), (folder,))


GOOD = [(f"{k}.png", png(value=k)) for k in range(6)]
# What archivers and file managers of other systems make of six images in two folders.
NAMES = {
    "tar .": "./{}/{}.png",
    "PowerShell": "{}\\{}.png",
    "Mac": "{}/{}.png",
}
BESIDE = [
    *("__MACOSX/._a", "__MACOSX/a/._0.png", ".DS_Store", "a/._0.png", "a/.DS_Store"),
    *(".hidden.png", ".Trash/0.png"),
]


@pytest.mark.parametrize("kind", ["tar", "zip", "folder"])
@pytest.mark.parametrize("system", NAMES)
def test_names_of_other_systems_are_read_as_meant(
    tmp_path: Path, kind: str, system: str, capsys: pytest.CaptureFixture[str]
) -> None:
    entries = [(NAMES[system].format("ab"[k % 2], k), png(value=k)) for k in range(6)]
    entries += [(name, b"of a file manager") for name in BESIDE]
    if kind == "folder":
        for name, content in entries:
            file = tmp_path / "images" / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(content)
        path = tmp_path / "images"
    else:
        write = tar if kind == "tar" else zipped
        folder: Any = "a\\" if system == "PowerShell" else "./"
        if kind == "tar":
            folder = special(tarfile.DIRTYPE, name="./")
        path = write(tmp_path / f"a.{kind}", [(folder, b""), *entries])
    dataset = small(options={"labels": "folder"}, classes=2)
    decoded = images.read_image_folder(dataset, (path,))
    # By name: a/0, a/2, a/4, b/1 to train on, b/3 and b/5 to test on.
    assert sorted(decoded.train[:, 0, 0, 0]) == [0, 1, 2, 4]
    assert list(decoded.test[:, 0, 0, 0]) == [3, 5]
    assert decoded.labels is not None
    assert list(decoded.labels) == list(decoded.train[:, 0, 0, 0] % 2)
    assert f"files skipped: {len(BESIDE)}, such as " in capsys.readouterr().err


def special(kind: bytes, target: str = "", name: str = "5.png") -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.type, member.linkname = kind, target
    return member


@pytest.mark.parametrize(
    ("member", "message"),
    [
        (special(tarfile.LNKTYPE, "0.png"), r"'5\.png' is a link or a device"),
        (special(tarfile.SYMTYPE, "/etc/passwd"), r"'5\.png' is a link or a device"),
        ("0.png", r"two members of the same name, 0\.png"),
        ("./0.png", r"two members of the same name, 0\.png"),
    ],
)
def test_hostile_members_are_refused_by_name(
    tmp_path: Path, member: tarfile.TarInfo | str, message: str
) -> None:
    path = tar(tmp_path / "a.tar", [*GOOD[:5], (member, b"")])
    with pytest.raises(DataError, match=rf"a\.tar: .*{message}"):
        images.read_image_folder(small(), (path,))


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
    path.write_text("\n<!DOCTYPE html><title>Sign in</title>")
    with pytest.raises(DataError, match=r"a\.tar\.gz: no archive but a page of HTML"):
        images.read_image_folder(small(), (path,))
    path.write_bytes(b"no archive")
    with pytest.raises(DataError, match=r"a\.tar\.gz: unreadable"):
        images.read_image_folder(small(), (path,))


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_hostile_members_of_a_zip_are_refused(tmp_path: Path) -> None:
    twice = zipped(tmp_path / "a.zip", [*GOOD, GOOD[0]])
    with pytest.raises(DataError, match=r"a\.zip: holds two members of the same name, 0\.png"):
        images.read_image_folder(small(), (twice,))
    link = zipfile.ZipInfo("5.png")
    link.create_system, link.external_attr = 3, (stat.S_IFLNK | 0o644) << 16
    linked = zipped(tmp_path / "b.zip", [*GOOD[:5], (link, b"/etc/passwd")])
    with pytest.raises(DataError, match=r"b\.zip: '5\.png' is a link or a device"):
        images.read_image_folder(small(), (linked,))


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
    cache.prepare(dataset, tmp_path / "out")
    whole = {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()}
    (folder / "3.png").write_bytes(b"")
    (tmp_path / "out/.decoding").mkdir()  # of a run that was killed
    for out, expected in (("out", whole), ("new", {})):
        with pytest.raises(DataError, match=r"3\.png: not a readable image"):
            cache.prepare(dataset, tmp_path / out)
        assert {p.name: p.read_bytes() for p in (tmp_path / out).iterdir()} == expected


def test_the_official_partition_of_celeba_is_by_number() -> None:
    options = read_dataset("celeba_64").options
    names = [f"img_align_celeba/{k:06}.jpg" for k in (1, 162770, 162771, 182637, 182638, 202599)]
    sides = images._split(
        small(options=options.model_dump(exclude_unset=True), images={"train": 2, "test": 2}),
        names,
        Path("celeba"),
        "",
    )
    assert sides == (names[:2], names[4:])
