"""Readers of images: folders or archives of them, and patches of a few large photographs."""

from __future__ import annotations

import io
import re
import sys
from pathlib import Path

import numpy as np
from PIL import ExifTags, Image, ImageOps

from workflows.config.datasets import Dataset
from workflows.data import archives
from workflows.data.formats import SEED, Allocate, Decoded, in_memory, permutation
from workflows.errors import DataError

SUFFIXES = ".png, .jpg, .jpeg, .bmp, .webp"
ANY_IMAGE = r"(?i:.*\.(png|jpe?g|bmp|webp))"
FORMATS = ("PNG", "JPEG", "WEBP", "BMP")
# The option `resample` -> Pillow's filter. Both average over the area that a new pixel covers.
RESAMPLING = {"lanczos": Image.Resampling.LANCZOS, "bicubic": Image.Resampling.BICUBIC}
PIXELS = 2**24  # of one image; refuses decompression bombs before decoding
TEST_PHOTOGRAPHS = ("coffee.png", "flower.jpg")
SCALES = (1, 2, 3, 4)  # pixels of a photograph along one of a patch
FLATTEST = 8.0  # standard deviation in 0..255 below which a patch shows nothing (sky, wall)


def decode(raw: bytes, where: str, dataset: Dataset) -> np.ndarray:
    """Pixels, uint8 (c, h, w), cropped and resized as the options say.

    raw: a PNG, JPEG, WebP or BMP, whatever its name says. Raises DataError, naming `where`, for an
    image that is damaged or that could be converted in several ways.
    """
    options, size, crop = dataset.options, dataset.image_size, dataset.options.crop
    try:
        with Image.open(io.BytesIO(raw), formats=FORMATS) as opened:
            _refuse(opened, where)
            opened.load()
            image = _upright(opened, options.upright, where)
            if image.has_transparency_data:
                above = image.convert("RGBA")
                image = Image.new("RGBA", above.size, "white")
                image.alpha_composite(above)
            image = image.convert("L" if dataset.channels == 1 else "RGB")
    except DataError:
        raise
    # A damaged file may raise nearly anything.
    except Exception as error:
        said = " ".join(str(error).split()) or type(error).__name__
        raise DataError(f"{where}: not a readable image: {said}") from None
    if options.square:
        crop = min(image.size)
    if crop:
        if min(image.size) < crop:
            raise DataError(f"{where}: {image.size} is smaller than crop: {crop}")
        left, top = (image.width - crop) // 2, (image.height - crop) // 2
        image = image.crop((left, top, left + crop, top + crop))
    if image.size != (size, size):
        if not options.resize:
            raise DataError(
                f"{where}: is {image.width} x {image.height}, must be {size} x {size} "
                "(or say resize: true in the dataset's options)"
            )
        image = image.resize((size, size), RESAMPLING[options.resample or "lanczos"])
    pixels = np.asarray(image)
    return pixels[None] if dataset.channels == 1 else pixels.transpose(2, 0, 1)


def _refuse(opened: Image.Image, where: str) -> None:
    """Refuse an image that can become 8-bit pixels in several ways, before it is decoded."""
    if opened.width * opened.height > PIXELS:
        raise DataError(f"{where}: {opened.size} is more than {PIXELS} pixels")
    # Pillow cuts grey levels above 255 off and drops half of a colour's bits.
    if ";16" in str(getattr(opened, "tile", "")):
        raise DataError(f"{where}: has 16 bits a channel, must have 8")
    frames = getattr(opened, "n_frames", 1)
    if frames != 1 and opened.format != "MPO":
        raise DataError(f"{where}: has {frames} frames, must have one")


def _upright(opened: Image.Image, turn: bool | None, where: str) -> Image.Image:
    """The image, turned if asked. EXIF without a valid orientation leaves it as it is stored."""
    try:
        orientation = opened.getexif().get(ExifTags.Base.Orientation)
    # Damaged EXIF may raise nearly anything, and the pixels do not depend on it.
    except Exception:
        orientation = None
    if turn is False or orientation not in range(2, 9):
        return opened
    if turn is None:
        raise DataError(
            f"{where}: is stored turned (EXIF orientation {orientation}); say upright: true in the "
            "dataset's options to turn it, or upright: false to take it as stored"
        )
    return ImageOps.exif_transpose(opened)


def read_image_folder(
    dataset: Dataset, paths: tuple[Path, ...], new: Allocate = in_memory
) -> Decoded:
    """Images of a folder, tar or zip, split by name patterns or counts.

    With `labels: folder` the classes are the folders of the training images, by name. Only the
    training images are put into the fixed order; the test ones stay by name. new: gives the arrays,
    beside which memory holds one image at a time and the names of all files. Raises DataError, also
    for numbers of images or classes that differ from the dataset's.
    """
    (path,) = paths
    pattern = dataset.options.pattern or ANY_IMAGE
    names, others = archives.listing(path, pattern)
    passed_over = _passed_over(others, dataset.options.pattern)
    if not names:
        raise DataError(f"{path}: no image in it; {passed_over}")
    train, test = _split(dataset, names, path, passed_over)
    size = (dataset.channels, dataset.image_size, dataset.image_size)
    arrays = {"train": new("train", (len(train), *size)), "test": new("test", (len(test), *size))}
    places = {name: ("test", slot) for slot, name in enumerate(test)}
    places |= {train[k]: ("train", slot) for slot, k in enumerate(permutation(len(train)))}
    for name, raw in archives.members(path, pattern):
        if name in places:
            part, slot = places[name]
            arrays[part][slot] = decode(raw, f"{path}: {name}", dataset)
    if others and dataset.options.pattern is None:
        print(f"{path}: {passed_over}", file=sys.stderr)
    return Decoded(arrays["train"], arrays["test"], _labels(dataset, train, path))


def _passed_over(others: list[str], pattern: str | None) -> str:
    """Say how many files are not read, with examples, and which files are."""
    read = f"names like {pattern}" if pattern else f"names that end in {SUFFIXES}"
    said = f"files read: {read}, unless they are hidden"
    if not others:
        return said
    examples = ", ".join(sorted(others, key=archives.hidden)[:3])
    return f"files passed over: {len(others)}, such as {examples}; {said}"


def _split(
    dataset: Dataset, names: list[str], path: Path, passed_over: str
) -> tuple[list[str], list[str]]:
    """The names of the training images and those of the test images."""
    options, images = dataset.options, dataset.images
    if options.train is not None and options.test is not None:
        sides = []
        for part, pattern in (("train", options.train), ("test", options.test)):
            side = [name for name in names if re.fullmatch(pattern, name)]
            wanted = getattr(images, part)
            if len(side) != wanted:
                raise DataError(
                    f"{path}: {len(side)} {part} images, must be {wanted}; {passed_over}"
                )
            sides.append(side)
        return sides[0], sides[1]
    total = images.train + images.test
    if len(names) != total:
        raise DataError(
            f"{path}: {len(names)} images, must be {total} (train and test); {passed_over}"
        )
    if options.shuffle:
        names = [names[k] for k in permutation(total)]
    return names[: images.train], sorted(names[images.train :])


def _labels(dataset: Dataset, train: list[str], path: Path) -> np.ndarray | None:
    """The labels of the training images in their fixed order; None if the dataset has none."""
    if dataset.options.labels is None:
        return None
    folders = [name.rpartition("/")[0] for name in train]
    known, labels = np.unique(folders, return_inverse=True)
    if len(known) != dataset.classes:
        raise DataError(f"{path}: {len(known)} classes, must be {dataset.classes}")
    return labels[permutation(len(labels))]


def read_photo_patches(
    dataset: Dataset, paths: tuple[Path, ...], _: Allocate = in_memory
) -> Decoded:
    """Random 32 x 32 patches; training and test patches come from different photographs."""
    random = np.random.Generator(np.random.PCG64(SEED))
    photographs: dict[str, list[np.ndarray]] = {"train": [], "test": []}
    for path in paths:
        try:
            with Image.open(path) as opened:
                photograph = np.asarray(opened.convert("RGB"))
        # A damaged file may raise nearly anything.
        except Exception as error:
            raise DataError(f"{path}: not a readable image: {error}") from None
        if min(photograph.shape[:2]) < dataset.image_size * SCALES[-1]:
            raise DataError(f"{path}: too small for a patch of {dataset.image_size * SCALES[-1]}")
        photographs["test" if path.name in TEST_PHOTOGRAPHS else "train"].append(photograph)
    sides = []
    for part, those in photographs.items():
        if not those:
            raise DataError(f"{dataset.name}: no photograph to {part} on among its files")
        count = getattr(dataset.images, part)
        sides.append(np.stack([_patch(those, dataset.image_size, random) for _ in range(count)]))
    return Decoded(*sides)


def _patch(photographs: list[np.ndarray], size: int, random: np.random.Generator) -> np.ndarray:
    # Means over boxes of whole pixels are the same everywhere; only decoders of JPEG may differ.
    for _ in range(1000):
        photograph = photographs[random.integers(len(photographs))]
        scale = int(random.integers(SCALES[0], SCALES[-1] + 1))
        side = size * scale
        top = random.integers(photograph.shape[0] - side + 1)
        left = random.integers(photograph.shape[1] - side + 1)
        crop = photograph[top : top + side, left : left + side].astype(np.int64)
        sums = crop.reshape(size, scale, size, scale, 3).sum((1, 3))
        patch = ((sums + scale**2 // 2) // scale**2).astype(np.uint8)
        if patch.std() >= FLATTEST:
            return patch.transpose(2, 0, 1)
    raise DataError("photo_patches: the photographs are flat: 1,000 patches without any contrast")
