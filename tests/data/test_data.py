"""Datasets are decoded as they should be, and files that do not fit are refused."""

import hashlib
import os
import pickle
import re

import numpy as np
import pytest
from PIL import Image

from tests.data.example_files import changed, encoded, idx, png, six, small, tar
from workflows.config.datasets import read_dataset, read_datasets
from workflows.data import cache, formats, images, preparation, sources
from workflows.errors import ConfigError, DataError
from workflows.steps import prepare as step


@pytest.fixture(scope="module")
def embedded(tmp_path_factory):
    root = tmp_path_factory.mktemp("datasets")
    for name in ("mnist_5k", "photo_patches"):
        cache.prepare(read_dataset(name), root / name)
    return root


@pytest.mark.parametrize(
    ("name", "train", "test"),
    [("mnist_5k", (3600, 1, 28, 28), 1000), ("photo_patches", (3600, 3, 32, 32), 500)],
)
def test_embedded_datasets_are_decoded(embedded, name, train, test):
    loaded = cache.load_train(embedded / name)
    assert loaded.train.shape == train
    assert loaded.train.dtype == np.uint8
    assert len(loaded.validation) == 400
    assert len(cache.load_test(embedded / name)[0]) == test
    assert loaded.record.variance == pytest.approx(np.var(loaded.train / 255.0), rel=1e-12)
    assert preparation.is_prepared(embedded / name)
    cache.verify(embedded / name)
    whole = np.load(embedded / name / "train.npy")
    if name == "mnist_5k":  # Decoders of JPEG differ, so photographs' pixels may.
        pixels = read_dataset(name).pixels
        assert hashlib.sha256(whole.tobytes()).hexdigest() == pixels.train


def test_training_opens_train_npy_only(embedded, tmp_path):
    for name in ("train.npy", "dataset.json"):
        (tmp_path / name).write_bytes((embedded / "mnist_5k" / name).read_bytes())
    assert len(cache.load_train(tmp_path).train) == 3600
    with pytest.raises(DataError, match=r"test\.npy"):
        cache.load_test(tmp_path)


def test_missing_dataset_gets_advice(monkeypatch, tmp_path):
    monkeypatch.delenv("CODEBOOK_DATA", raising=False)
    advice = sources.absence(read_dataset("ffhq_subset_64"))
    assert advice
    assert "CODEBOOK_DATA" in advice
    assert "faces/ffhq_256_1100.tar.xz" in advice
    assert sources.absence(read_dataset("mnist")) is None
    monkeypatch.setenv("CODEBOOK_DATA", str(tmp_path / "nowhere"))
    with pytest.raises(ConfigError, match=r"CODEBOOK_DATA=.*nowhere: no such folder"):
        sources.absence(read_dataset("ffhq_subset_64"))


def test_a_dataset_without_a_source_is_noted(monkeypatch, tmp_path, capsys):
    monkeypatch.delenv("CODEBOOK_DATA", raising=False)
    step.main("ffhq_subset_64", tmp_path / "x")
    said = capsys.readouterr().err
    assert re.fullmatch(r"prepare: ffhq_subset_64: not found.*\.\n", said), said
    assert not preparation.is_prepared(tmp_path / "x")
    assert not preparation.changed(read_dataset("ffhq_subset_64"), tmp_path / "x")
    with pytest.raises(DataError, match=r"dataset\.json: ffhq_subset_64: not found; set CODEBOOK"):
        cache.load_train(tmp_path / "x")


def test_bad_idx_files_are_refused(tmp_path):
    dataset = read_dataset("mnist")
    good = idx(tmp_path / "t10k-images-idx3-ubyte.gz")
    with pytest.raises(DataError, match=r"t10k-images-idx3-ubyte: md5 is .* must be 2646ac"):
        formats.read_idx(dataset, (good, good))
    short = idx(tmp_path / "short.gz", cut=5)
    with pytest.raises(DataError, match=r"short\.gz: has 2363 bytes unpacked.* 2368"):
        formats.read_idx(dataset, (short, short))
    (tmp_path / "cut.gz").write_bytes(good.read_bytes()[:-9])
    with pytest.raises(DataError, match=r"cut\.gz: unreadable or cut short"):
        formats.read_idx(dataset, (tmp_path / "cut.gz",) * 2)


def test_hostile_pickle_is_refused():
    class Evil:
        def __reduce__(self):
            return os.system, ("false",)

    with pytest.raises(DataError, match=r"batch: not a CIFAR-10 batch: .*system' is not allowed"):
        formats.unpickle_batch(pickle.dumps(Evil(), 2), "batch")
    with pytest.raises(DataError, match="batch: not a CIFAR-10 batch: "):
        formats.unpickle_batch(pickle.dumps({"data": [1], "labels": [0]}, 2), "batch")


def test_cifar10_with_a_wrong_or_missing_batch_is_refused(tmp_path):
    dataset = read_dataset("cifar10")
    path = tar(tmp_path / "a.tar", [("cifar-10-batches-py/test_batch", b"x")])
    with pytest.raises(DataError, match=r"a\.tar: test_batch: md5"):
        formats.read_cifar10(dataset, (path,))
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match=r"lacks data_batch_1.*test_batch"):
        formats.read_cifar10(dataset, (tmp_path / "empty",))


def test_image_folder(tmp_path):
    with pytest.raises(DataError, match="no image in it; files read: names that end in"):
        images.read_image_folder(small(), (tmp_path,))
    six(tmp_path)
    decoded = images.read_image_folder(small(), (tmp_path,))
    train, test = decoded.train, decoded.test
    assert sorted(train[:, 0, 0, 0]) == [0, 1, 2, 3]
    assert list(test[:, 0, 0, 0]) == [4, 5]
    (tmp_path / "3.png").write_bytes(png(size=20))
    with pytest.raises(DataError, match=r"3\.png: is 20 x 20, must be 16 x 16.*resize: true"):
        images.read_image_folder(small(), (tmp_path,))
    images.read_image_folder(small(options={"resize": True}), (tmp_path,))
    (tmp_path / "3.png").write_bytes(b"not an image")
    with pytest.raises(DataError, match=r"3\.png: not a readable image"):
        images.read_image_folder(small(), (tmp_path,))
    patterns = {"train": r"[0-3]\.png", "test": r"4\.png"}
    with pytest.raises(DataError, match="1 test images, must be 2"):
        images.read_image_folder(small(options=patterns), (tmp_path,))


def test_images_that_are_all_alike_are_refused(tmp_path, monkeypatch):
    """Those to train on; the one for validation and the two to test on may differ from them."""
    monkeypatch.setenv("CODEBOOK_DATA", str(tmp_path))
    dataset = small(sources=[{"kind": "local", "files": ["mine"]}])
    folder = six(tmp_path / "mine")
    held_back = formats.permutation(4)[-1]
    for content in (png(value=7), encoded(Image.effect_noise((16, 16), 9))):
        for k in {0, 1, 2, 3} - {held_back}:
            (folder / f"{k}.png").write_bytes(content)
        message = r"mine: ffhq_subset_64: the 3 images to train on are all alike"
        with pytest.raises(DataError, match=message):
            cache.prepare(dataset, tmp_path / "out")
    assert list((tmp_path / "out").iterdir()) == []
    (folder / f"{(held_back + 1) % 4}.png").write_bytes(png(value=9))
    cache.prepare(dataset, tmp_path / "out")


def test_folders_are_classes_if_asked(tmp_path):
    for k in range(6):
        (tmp_path / f"{'ab'[k % 2]}").mkdir(exist_ok=True)
        (tmp_path / f"{'ab'[k % 2]}" / f"{k}.png").write_bytes(png(value=k))
    options = {"labels": "folder", "shuffle": True}
    dataset = small(options=options, classes=2)
    decoded = images.read_image_folder(dataset, (tmp_path,))
    # An image's value is its number, whose parity is its class.
    assert list(decoded.labels) == list(decoded.train[:, 0, 0, 0] % 2)
    with pytest.raises(DataError, match="2 classes, must be 3"):
        images.read_image_folder(small(options=options, classes=3), (tmp_path,))
    assert images.read_image_folder(small(), (tmp_path,)).labels is None


def test_labels_stay_with_their_images(embedded):
    folder = embedded / "mnist_5k"
    labels, train = cache.load_labels(folder), cache.load_train(folder)
    assert len(labels) == len(train.train) + len(train.validation)
    assert list(np.bincount(labels)) == [400] * 10
    # A one has the least ink of all digits, a nought the most: so in the known set.
    ink = [train.train[labels[: len(train.train)] == k].mean() for k in range(10)]
    assert (np.argmin(ink), np.argmax(ink)) == (1, 0)
    with pytest.raises(DataError, match="photo_patches has no classes"):
        cache.load_labels(embedded / "photo_patches")


@pytest.mark.parametrize(
    ("classes", "message"),
    [
        # Whoever samples would ask a model for a class that it has never seen.
        (12, "none of the 3600 images to train on has label 10"),
        (9, "labels are 0 to 9, must be 0 to 8"),
    ],
)
def test_labels_that_do_not_fit_the_classes_are_refused(tmp_path, classes, message):
    with pytest.raises(DataError, match=rf"mnist_5k\.csv\.gz: (mnist_5k: )?{message}"):
        cache.prepare(changed("mnist_5k", classes=classes), tmp_path / "mnist_5k")
    assert list((tmp_path / "mnist_5k").iterdir()) == []


def test_labels_are_those_that_were_prepared(embedded, tmp_path):
    for file in (embedded / "mnist_5k").iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    np.save(tmp_path / "labels.npy", cache.load_labels(tmp_path)[::-1])
    with pytest.raises(DataError, match=r"labels\.npy: sha256 is not .*; prepare it again$"):
        cache.load_labels(tmp_path)
    with pytest.raises(DataError, match=r"labels\.npy: sha256"):
        cache.verify(tmp_path)


def test_wide_images_are_cropped_to_their_shorter_side(tmp_path):
    wide = np.zeros((16, 40, 3), np.uint8)
    wide[:, 12:28] = 255
    for k in range(6):
        Image.fromarray(wide).save(tmp_path / f"{k}.png")
    decoded = images.read_image_folder(small(options={"square": True}), (tmp_path,))
    assert (decoded.train == 255).all()


@pytest.mark.parametrize(
    ("options", "kernel"),
    [({}, Image.Resampling.LANCZOS), ({"resample": "bicubic"}, Image.Resampling.BICUBIC)],
)
def test_images_are_resized_as_the_dataset_says(options, kernel):
    """lanczos as ever, bicubic as latent diffusion resizes LSUN."""
    pixels = np.random.default_rng(0).integers(0, 256, (40, 40, 3), np.uint8)
    raw = encoded(Image.fromarray(pixels))
    decoded = images.decode(raw, "a.png", small(options={"resize": True, **options}))
    expected = np.asarray(Image.fromarray(pixels).resize((16, 16), kernel))
    assert np.array_equal(decoded, expected.transpose(2, 0, 1))
    for name, dataset in read_datasets().items():
        resample = "bicubic" if name.startswith("lsun_") else None
        assert dataset.options.resample == resample, name


def test_downloads_are_checked(server, tmp_path):
    root, base = server
    content = b"images" * 100
    (root / "a.gz").write_bytes(content)
    md5 = hashlib.md5(content).hexdigest()

    def dataset(name, md5):
        return small(sources=[{"kind": "url", "files": [{"url": f"{base}/{name}", "md5": md5}]}])

    files = sources.obtain(dataset("a.gz", md5), tmp_path / "downloads")
    assert files.paths[0].read_bytes() == content
    (root / "page.gz").write_text("<html>" + "x" * 594)
    with pytest.raises(sources.Unavailable, match=r"download failed.*page\.gz"):
        sources.obtain(dataset("page.gz", md5), tmp_path / "downloads")
    with pytest.raises(sources.Unavailable, match=r"none\.gz.*download failed: 404"):
        sources.obtain(dataset("none.gz", md5), tmp_path / "downloads")
