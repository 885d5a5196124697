"""Readers of images: folders or archives of them, and patches of a few large photographs."""

from __future__ import annotations

import io
import re
from pathlib import Path

import numpy as np
from PIL import ExifTags, Image, ImageOps

from workflows.config.datasets import Dataset
from workflows.data import archives
from workflows.data.formats import SEED, Allocate, Decoded, in_memory, permutation
from workflows.errors import DataError

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

    raw: a PNG, JPEG, WebP or BMP, whatever its name says. Pillow converts palettes, one bit a pixel
    and CMYK to grey or RGB, without colour profiles. Transparent pixels are laid on white. Of a
    camera's JPEG with several pictures the first is taken. Raises DataError, naming `where`, for an
    image that is damaged or has more than 2^24 pixels, more than 8 bits a channel (which could be
    converted in several ways) or several frames, and for one that is stored turned by EXIF, unless
    the option `upright` says whether to turn it.
    """
    options, size, crop = dataset.options, dataset.image_size, dataset.options.crop
    try:
        with Image.open(io.BytesIO(raw), formats=FORMATS) as opened:
            _refuse(opened, where)
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
    orientation = opened.getexif().get(ExifTags.Base.Orientation, 1)
    if orientation == 1 or turn is False:
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
    """Images of a folder, tar or zip, split by name patterns, a partition file or counts.

    With `labels: folder` the classes are the folders of the training images, by name. new: gives
    the arrays; beside the arrays, memory holds one image at a time and the names of all images.
    Raises DataError for files that `archives.members` refuses, images that `decode` refuses, and
    numbers of images or classes that differ from the dataset's.
    """
    path = paths[0]
    pattern = dataset.options.pattern or ANY_IMAGE
    sides = _split(dataset, archives.listing(path, pattern), paths)
    # Slot of each training image, and of each test image counted down from -1.
    slots: dict[str, int] = {}
    arrays = []
    for part, chosen in zip(("train", "test"), sides, strict=True):
        expected = getattr(dataset.images, part)
        if len(chosen) != expected:
            raise DataError(f"{path}: {len(chosen)} {part} images, must be {expected}")
        # Only the training images are put into the fixed order; the test ones stay by name.
        if part == "train":
            slots.update((chosen[old], slot) for slot, old in enumerate(permutation(expected)))
        else:
            slots.update((name, -1 - slot) for slot, name in enumerate(chosen))
        shape = (expected, dataset.channels, dataset.image_size, dataset.image_size)
        arrays.append(new(part, shape))
    train, test = arrays
    for name, raw in archives.members(path, pattern):
        if name in slots:
            slot = slots[name]
            pixels = decode(raw, f"{path}: {name}", dataset)
            if slot >= 0:
                train[slot] = pixels
            else:
                test[-1 - slot] = pixels
    return Decoded(train, test, _labels(dataset, sides[0], path))


def _labels(dataset: Dataset, train: list[str], path: Path) -> np.ndarray | None:
    """The labels of the training images in their fixed order; None if the dataset has none."""
    if dataset.options.labels is None:
        return None
    folders = [name.rpartition("/")[0] for name in train]
    known = {folder: label for label, folder in enumerate(sorted(set(folders)))}
    if len(known) != dataset.classes:
        raise DataError(f"{path}: {len(known)} classes, must be {dataset.classes}")
    labels = np.array([known[folder] for folder in folders])
    return labels[permutation(len(labels))]


def _split(
    dataset: Dataset, found: list[str], paths: tuple[Path, ...]
) -> tuple[list[str], list[str]]:
    """The names of the training images and those of the test images."""
    options = dataset.options
    if options.train is not None and options.test is not None:
        train, test = (
            [name for name in found if re.fullmatch(pattern, name)]
            for pattern in (options.train, options.test)
        )
        return train, test
    if options.partition is not None:
        parts = _partition(paths[1])
        by_part: dict[str, list[str]] = {"0": [], "1": [], "2": []}
        for name in found:
            base = name.rpartition("/")[2]
            if base not in parts:
                raise DataError(f"{paths[1]}: lacks {base}, which {paths[0]} holds")
            by_part[parts[base]].append(name)
        return by_part["0"], by_part["2"]
    train_images = dataset.images.train
    total = train_images + dataset.images.test
    if len(found) != total:
        raise DataError(f"{paths[0]}: {len(found)} images, must be {total} (train and test)")
    if options.shuffle:
        found = [found[k] for k in permutation(total)]
    return found[:train_images], sorted(found[train_images:])


def _partition(path: Path) -> dict[str, str]:
    """Name -> 0 for training, 1 for validation, 2 for test, of the lines of a file."""
    try:
        lines = [line.split() for line in path.read_text(encoding="utf-8").splitlines()]
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: unreadable: {error}") from None
    parts: dict[str, str] = {}
    for number, line in enumerate(lines, 1):
        if len(line) != 2 or line[1] not in ("0", "1", "2") or line[0] in parts:
            raise DataError(f"{path}: line {number}: must be 'name 0|1|2', each name once")
        parts[line[0]] = line[1]
    return parts


def read_photo_patches(
    dataset: Dataset, paths: tuple[Path, ...], _: Allocate = in_memory
) -> Decoded:
    """Random 32 x 32 patches; training and test patches come from different photographs."""
    random = np.random.Generator(np.random.PCG64(SEED))
    sides: dict[bool, list[np.ndarray]] = {False: [], True: []}
    for path in paths:
        try:
            with Image.open(path) as opened:
                photograph = np.asarray(opened.convert("RGB"))
        # A damaged file may raise nearly anything.
        except Exception as error:
            raise DataError(f"{path}: not a readable image: {error}") from None
        if min(photograph.shape[:2]) < dataset.image_size * SCALES[-1]:
            raise DataError(f"{path}: too small for a patch of {dataset.image_size * SCALES[-1]}")
        sides[path.name in TEST_PHOTOGRAPHS].append(photograph)
    for side, which in ((False, "training"), (True, "test")):
        if not sides[side]:
            raise DataError(f"{dataset.name}: no {which} photograph among its files")
    train, test = (
        np.stack([_patch(sides[side], dataset.image_size, random) for _ in range(count)])
        for side, count in ((False, dataset.images.train), (True, dataset.images.test))
    )
    return Decoded(train, test)


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
