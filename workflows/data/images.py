"""Read images from folders or archives, and cut patches out of a few large photographs."""

from __future__ import annotations

import io
import re
import sys
from pathlib import Path

import numpy as np
from PIL import ExifTags, Image, ImageOps

from workflows.config.datasets import Dataset
from workflows.data import archives
from workflows.data.archives import any_error_as_data_error
from workflows.data.formats import SEED, Allocate, Decoded, in_memory, permutation
from workflows.errors import DataError

SUFFIXES = ".png, .jpg, .jpeg, .bmp, .webp"
ANY_IMAGE = r"(?i:.*\.(png|jpe?g|bmp|webp))"
FORMATS = ("PNG", "JPEG", "WEBP", "BMP")
# The option `resample` -> Pillow's filter. Both average over the area that a new pixel covers.
RESAMPLING = {"lanczos": Image.Resampling.LANCZOS, "bicubic": Image.Resampling.BICUBIC}
PIXELS = 2**24  # The most pixels of one image; a larger decompression bomb is never decoded.
TEST_PHOTOGRAPHS = ("coffee.png", "flower.jpg")
SCALES = (1, 2, 3, 4)  # One pixel of a patch covers scale x scale pixels of the photograph.
FLATTEST = 8.0  # A patch of sky or wall has a smaller standard deviation, in 0..255.


def decode(raw: bytes, where: str, dataset: Dataset) -> np.ndarray:
    """Return the pixels, uint8 (c, h, w), cropped and resized as the dataset's options say.

    raw: a PNG, JPEG, WebP or BMP, whatever the file's name. Raises DataError that names `where` for
    an image that is damaged or that could be converted in several ways.
    """
    options, size, crop = dataset.options, dataset.image_size, dataset.options.crop
    with (
        any_error_as_data_error(f"{where}: not a readable image"),
        Image.open(io.BytesIO(raw), formats=FORMATS) as opened,
    ):
        _refuse_ambiguous(opened, where)
        opened.load()
        image = _upright(opened, options.upright, where)
        if image.has_transparency_data:
            transparent = image.convert("RGBA")
            image = Image.new("RGBA", transparent.size, "white")
            image.alpha_composite(transparent)
        image = image.convert("L" if dataset.channels == 1 else "RGB")
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


def _refuse_ambiguous(opened: Image.Image, where: str) -> None:
    """Raise DataError, before decoding, for a huge image or one with several 8-bit versions."""
    if opened.width * opened.height > PIXELS:
        raise DataError(f"{where}: {opened.size} is more than {PIXELS} pixels")
    # Pillow would cut off grey levels above 255 and drop half of the bits of a colour.
    if ";16" in str(getattr(opened, "tile", "")):
        raise DataError(f"{where}: has 16 bits a channel, must have 8")
    frames = getattr(opened, "n_frames", 1)
    if frames != 1 and opened.format != "MPO":
        raise DataError(f"{where}: has {frames} frames, must have one")


def _upright(opened: Image.Image, turn: bool | None, where: str) -> Image.Image:
    """Return the image, turned as its EXIF orientation says if `turn` is true.

    An image without a valid orientation stays as it is stored.
    """
    try:
        orientation = opened.getexif().get(ExifTags.Base.Orientation)
    except Exception:
        # Damaged EXIF may raise nearly any exception, and the pixels do not depend on EXIF.
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
    dataset: Dataset, paths: tuple[Path, ...], allocate: Allocate = in_memory
) -> Decoded:
    """Read images of a folder, tar or zip, which name patterns or counts split into two parts.

    With `labels: folder` the classes are the folders of the training images, by name. Only the
    training images are put into the fixed order; the test images stay ordered by name. Besides the
    allocated arrays, memory holds one image at a time and the names of all files. Raises DataError,
    also if the number of images or classes is not the dataset's.
    """
    (path,) = paths
    pattern = dataset.options.pattern or ANY_IMAGE
    names, others = archives.listing(path, pattern)
    skipped_files = _skipped_files(others, dataset.options.pattern)
    if not names:
        raise DataError(f"{path}: no image in it; {skipped_files}")
    train, test = _split(dataset, names, path, skipped_files)
    size = (dataset.channels, dataset.image_size, dataset.image_size)
    arrays = {
        "train": allocate("train", (len(train), *size)),
        "test": allocate("test", (len(test), *size)),
    }
    places = {name: ("test", index) for index, name in enumerate(test)}
    places |= {train[k]: ("train", index) for index, k in enumerate(permutation(len(train)))}
    for name, raw in archives.members(path, pattern):
        if name in places:
            part, index = places[name]
            arrays[part][index] = decode(raw, f"{path}: {name}", dataset)
    if others and dataset.options.pattern is None:
        print(f"{path}: {skipped_files}", file=sys.stderr)
    return Decoded(arrays["train"], arrays["test"], _labels(dataset, train, path))


def _skipped_files(others: list[str], pattern: str | None) -> str:
    """Say how many files are skipped, with examples, and which files are read."""
    names = f"names like {pattern}" if pattern else f"names that end in {SUFFIXES}"
    files_read = f"files read: {names}, unless they are hidden"
    if not others:
        return files_read
    examples = ", ".join(sorted(others, key=archives.hidden)[:3])
    return f"files skipped: {len(others)}, such as {examples}; {files_read}"


def _split(
    dataset: Dataset, names: list[str], path: Path, skipped_files: str
) -> tuple[list[str], list[str]]:
    """Return the names of the training images and the names of the test images."""
    options, images = dataset.options, dataset.images
    if options.train is not None and options.test is not None:
        parts = []
        for part, pattern in (("train", options.train), ("test", options.test)):
            part_names = [name for name in names if re.fullmatch(pattern, name)]
            expected, count = getattr(images, part), len(part_names)
            if count != expected:
                raise DataError(
                    f"{path}: {count} {part} images, must be {expected}; {skipped_files}"
                )
            parts.append(part_names)
        return parts[0], parts[1]
    total = images.train + images.test
    if len(names) != total:
        counts = f"{len(names)} images, must be {total} (train and test)"
        raise DataError(f"{path}: {counts}; {skipped_files}")
    if options.shuffle:
        names = [names[k] for k in permutation(total)]
    return names[: images.train], sorted(names[images.train :])


def _labels(dataset: Dataset, train: list[str], path: Path) -> np.ndarray | None:
    """Return the labels of the training images in their fixed order, if the dataset has labels."""
    if dataset.options.labels is None:
        return None
    folders, labels = np.unique([name.rpartition("/")[0] for name in train], return_inverse=True)
    if len(folders) != dataset.classes:
        raise DataError(f"{path}: {len(folders)} classes, must be {dataset.classes}")
    return labels[permutation(len(labels))]


def read_photo_patches(
    dataset: Dataset, paths: tuple[Path, ...], _: Allocate = in_memory
) -> Decoded:
    """Cut random patches; training patches and test patches come from different photographs."""
    random = np.random.Generator(np.random.PCG64(SEED))
    size = dataset.image_size
    photographs: dict[str, list[np.ndarray]] = {"train": [], "test": []}
    for path in paths:
        with any_error_as_data_error(f"{path}: not a readable image"), Image.open(path) as opened:
            photograph = np.asarray(opened.convert("RGB"))
        if min(photograph.shape[:2]) < size * SCALES[-1]:
            raise DataError(f"{path}: too small for a patch of {size * SCALES[-1]}")
        photographs["test" if path.name in TEST_PHOTOGRAPHS else "train"].append(photograph)
    parts = []
    for part, part_photographs in photographs.items():
        if not part_photographs:
            raise DataError(f"{dataset.name}: no photograph to {part} on among its files")
        count = getattr(dataset.images, part)
        parts.append(np.stack([_patch(part_photographs, size, random) for _ in range(count)]))
    return Decoded(*parts)


def _patch(photographs: list[np.ndarray], size: int, random: np.random.Generator) -> np.ndarray:
    for _ in range(1000):
        photograph = photographs[random.integers(len(photographs))]
        scale = int(random.integers(SCALES[0], SCALES[-1] + 1))
        side = size * scale
        top = random.integers(photograph.shape[0] - side + 1)
        left = random.integers(photograph.shape[1] - side + 1)
        crop = photograph[top : top + side, left : left + side].astype(np.int64)
        # Means of whole pixels in integers are the same everywhere; only JPEG decoders may differ.
        sums = crop.reshape(size, scale, size, scale, 3).sum((1, 3))
        patch = ((sums + scale**2 // 2) // scale**2).astype(np.uint8)
        if patch.std() >= FLATTEST:
            return patch.transpose(2, 0, 1)
    raise DataError("photo_patches: the photographs are flat: 1,000 patches without any contrast")
