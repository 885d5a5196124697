"""The types of datasets and protocols, as people write them in YAML."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path
from typing import Annotated, Literal, NamedTuple

from pydantic import Field, model_validator

from workflows.config.names import Line, Name, one_of
from workflows.config.reading import read_yaml, yaml_files
from workflows.errors import ConfigError, known
from workflows.knobs import Closed
from workflows.metrics import FEWEST_IMAGES

ROOM = Path(__file__).parents[1]
Md5 = Annotated[str, Field(pattern="^[0-9a-f]{32}$")]
Sha256 = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]


class Reader(NamedTuple):
    """How many files a reader takes, from `fewest` to `most`.

    version: raise the version when the arrays change, and datasets are prepared again.
    """

    fewest: int
    most: int
    version: int = 1


READERS = {
    "mnist_csv": Reader(1, 1),
    "idx": Reader(2, 2),
    "cifar10": Reader(1, 1),
    "image_folder": Reader(1, 1),
    "lmdb": Reader(2, 2),
    "photo_patches": Reader(2, 100),
}


class Options(Closed):
    """Settings of a reader of image files.

    pattern: regular expression that matches the whole name of every image. train, test: the same
    for the training and the test images. shuffle: permute the names, seeded, before the split.
    labels: "folder" takes the last folder of a name as the class. crop: side of a centre crop.
    upright: turn images as their EXIF orientation says, or leave them as stored; None refuses
    images with an orientation. square: crop to the shorter side. resize: allow images of other
    sizes and resize them by `resample`. Crops come before resizing.
    """

    pattern: str | None = None
    train: str | None = None
    test: str | None = None
    shuffle: bool = False
    labels: Literal["folder"] | None = None
    crop: Annotated[int, Field(ge=8)] | None = None
    upright: bool | None = None
    square: bool = False
    resize: bool = False
    resample: Literal["lanczos", "bicubic"] | None = None

    @model_validator(mode="after")
    def _fits_together(self) -> Options:
        for key in ("pattern", "train", "test"):
            try:
                re.compile(getattr(self, key) or "")
            except (re.error, OverflowError, RecursionError) as error:
                raise ValueError(f"{key}: not a regular expression: {error}") from None
        if (self.train is None) != (self.test is None):
            raise ValueError("train and test go together")
        if self.resample is not None and not self.resize:
            raise ValueError("resample: goes with resize: true")
        return self


class Download(Closed):
    """A file to download."""

    url: Annotated[str, Field(pattern=r"^https?://[^/\s]+/([^\s]*/)?[A-Za-z0-9_-][A-Za-z0-9._-]*$")]
    md5: Md5

    @property
    def name(self) -> str:
        """The last part of the address, by which the file is stored."""
        return self.url.rpartition("/")[2]


# Kind of a source on this machine -> pattern of its paths. local: relative to the folder in
# CODEBOOK_DATA. package: package/path, shipped by a Python package. system: absolute, such as those
# of a Debian package.
PATHS = {"local": "[^/].*", "package": "[A-Za-z_][A-Za-z0-9_]*/.+", "system": "/.*"}


class FileSource(Closed):
    """Files on this machine. install: the command that installs the package of the files."""

    kind: Literal["local", "package", "system"]
    files: Annotated[list[str], Field(min_length=1)]
    install: str | None = None

    @model_validator(mode="after")
    def _fits_together(self) -> FileSource:
        for file in self.files:
            if not re.fullmatch(PATHS[self.kind], file) or ".." in file.split("/"):
                raise ValueError(f"files: '{file}' is no path that kind '{self.kind}' can have")
        if (self.kind == "local") != (self.install is None):
            raise ValueError("install: goes with kind package or system, which need it")
        return self


class UrlSource(Closed):
    """Files to download."""

    kind: Literal["url"]
    files: Annotated[list[Download], Field(min_length=1)]


Source = Annotated[FileSource | UrlSource, Field(discriminator="kind")]


class Pixels(Closed):
    """SHA-256 of the bytes of the decoded arrays.

    strict: refuse arrays of another sum; not strict: warn only.
    """

    train: Sha256
    test: Sha256
    strict: bool


class Images(Closed):
    """How many images there are. The training images include those for validation."""

    train: Annotated[int, Field(ge=2, le=1_000_000_000)]
    test: Annotated[int, Field(ge=FEWEST_IMAGES["rFID"], le=1_000_000_000)]


class Dataset(Closed):
    """datasets/<name>.yaml. Images are uint8, (channels, image_size, image_size), in 0..255.

    stand_in_for: the dataset of the paper that this one replaces. sources: tried in order.
    checksums: file name -> MD5 of the unpacked bytes. validation: how many of the training images
    are held back. classes: the number of training labels, or None without labels. advice: what to
    do if no source has the files.
    """

    name: Name
    title: Annotated[Line, Field(max_length=120)]
    stand_in_for: Name | None
    image_size: Annotated[int, Field(ge=8, le=1024)]
    channels: Literal[1, 3]
    licence: Annotated[str, Field(min_length=1)]
    citation: Annotated[str, Field(min_length=1)]
    reader: Annotated[str, one_of(READERS, "reader")]
    options: Options = Options()
    sources: Annotated[list[Source], Field(min_length=1)]
    checksums: dict[str, Md5] = {}
    pixels: Pixels | None = None
    images: Images
    validation: Annotated[int, Field(ge=1)]
    classes: Annotated[int, Field(ge=2, le=1_000_000)] | None = None
    advice: str = ""

    @property
    def trained(self) -> int:
        """The number of training images without those for validation."""
        return self.images.train - self.validation

    @model_validator(mode="after")
    def _fits_together(self) -> Dataset:
        if self.validation >= self.images.train:
            raise ValueError("validation: must be below images.train")
        if self.options.labels and self.classes is None:
            raise ValueError("options.labels: goes with 'classes', which is missing")
        fewest, most, _ = READERS[self.reader]
        for number, source in enumerate(self.sources):
            where, count = f"sources.{number}.files", len(source.files)
            if not fewest <= count <= most:
                takes = f"{fewest}" if fewest == most else f"{fewest} to {most}"
                raise ValueError(f"{where}: {count} given, reader '{self.reader}' takes {takes}")
            if isinstance(source, UrlSource) and len({file.name for file in source.files}) < count:
                raise ValueError(f"{where}: two files have the same name")
        return self


def read_dataset(name: str, room: Path = ROOM) -> Dataset:
    """Return the dataset of that name. Raises ConfigError."""
    files = yaml_files(room / "datasets")
    path = files[known(name, files, "dataset")]
    dataset = read_yaml(path, Dataset)
    if dataset.name != name:
        raise ConfigError(f"{path}: name: is '{dataset.name}', must be the file's name '{name}'")
    return dataset


def read_datasets(room: Path = ROOM) -> dict[str, Dataset]:
    """Return all datasets by name. Raises ConfigError."""
    return {name: read_dataset(name, room) for name in yaml_files(room / "datasets")}


class ProtocolSettings(Closed):
    """protocols/<name>.yaml: what happens to images before they are measured.

    jpeg_quality, fid_resize: None leaves the step out. version: raise the version when a protocol
    changes, and cells are measured again.
    """

    tile_grey: bool
    rounding: Literal["nearest", "truncate"]
    jpeg_quality: Annotated[int, Field(ge=1, le=95)] | None
    fid_resize: Annotated[int, Field(ge=16)] | None
    version: Annotated[int, Field(ge=1)]


@cache
def read_protocol(name: str, room: Path = ROOM) -> ProtocolSettings:
    """Return the protocol of that name. Raises ConfigError."""
    files = yaml_files(room / "protocols")
    return read_yaml(files[known(name, files, "protocol")], ProtocolSettings)
