"""Layouts of published pictures, on small files written here."""

from __future__ import annotations

import gzip
import os
import pickle

import numpy as np
import pytest

from harmonia.core.errors import InputError
from harmonia.data.labelled_pictures import cifar100, medmnist, mini_imagenet, mnist, picture_folders
from harmonia.media import Image

DRAW = np.random.default_rng(0)


def pixels(*shape: int) -> np.ndarray:
    return DRAW.integers(0, 256, shape, dtype=np.uint8)


@pytest.mark.parametrize("inner", [".", "MNIST/raw"])
@pytest.mark.parametrize("suffix", ["", ".gz"], ids=["plain", "gzip"])
def test_mnist(tmp_path, inner, suffix):
    folder = tmp_path / inner
    folder.mkdir(parents=True, exist_ok=True)
    x, y = pixels(5, 4, 3), np.arange(5, dtype=np.uint8)
    for part, count in (("train", 3), ("t10k", 2)):
        for name, array in ((f"{part}-images-idx3-ubyte", x[:count]), (f"{part}-labels-idx1-ubyte", y[:count])):
            raw = bytes((0, 0, 8, array.ndim)) + np.array(array.shape, dtype=">u4").tobytes() + array.tobytes()
            (folder / (name + suffix)).write_bytes(gzip.compress(raw) if suffix else raw)
    found = mnist(tmp_path)
    np.testing.assert_array_equal(found.x, x[:3, None])
    np.testing.assert_array_equal(found.y_test, [0, 1])
    (folder / f"t10k-labels-idx1-ubyte{suffix}").write_bytes(b"damaged")
    with pytest.raises(InputError, match="format"):
        mnist(tmp_path)
    (folder / f"t10k-labels-idx1-ubyte{suffix}").unlink()
    with pytest.raises(InputError, match="no t10k-labels"):
        mnist(tmp_path)


@pytest.mark.parametrize("protocol", [2, 5])
def test_cifar100(tmp_path, protocol):
    folder = tmp_path / "cifar-100-python"
    folder.mkdir()
    x = pixels(3, 3072)
    for name, rows in (("train", x), ("test", x[:1])):
        labels = list(range(len(rows)))
        (folder / name).write_bytes(
            pickle.dumps({"data": rows, "fine_labels": labels, "filenames": ["a"] * len(rows)}, protocol)
        )
    found = cifar100(tmp_path)
    assert found.x_test.shape == (1, 3, 32, 32)
    np.testing.assert_array_equal(found.x[2, 1].ravel(), x[2, 1024:2048])
    np.testing.assert_array_equal(found.y, [0, 1, 2])


def test_pickles_that_do_more_than_arrays_are_refused(tmp_path):
    class Evil:
        def __reduce__(self):
            return os.system, (f"touch {tmp_path / 'done'}",)

    (tmp_path / "train").write_bytes(pickle.dumps({"data": Evil()}))
    with pytest.raises(InputError, match=r"it asks for .*system"):
        cifar100(tmp_path)
    assert not (tmp_path / "done").exists()
    for content, words in ((b"", "cannot be read"), (pickle.dumps({"data": 1}), "cannot be read")):
        (tmp_path / "train").write_bytes(content)
        with pytest.raises(InputError, match=words):
            cifar100(tmp_path)
    with pytest.raises(InputError, match="no such file"):
        mini_imagenet(tmp_path / "none.pickle")
    (tmp_path / "train").write_bytes(pickle.dumps({"data": np.ones((2, 5)), "fine_labels": [0, 1]}))
    with pytest.raises(InputError, match="3,072"):
        cifar100(tmp_path)


def test_mini_imagenet(tmp_path):
    x, y = pixels(6, 4, 5, 3), np.array([0, 1, 0, 1, 0, 1])
    (tmp_path / "m.pickle").write_bytes(pickle.dumps({"images": x, "labels": y}))
    found = mini_imagenet(tmp_path / "m.pickle", train_per_class=2)
    np.testing.assert_array_equal(found.x, x[:4].transpose(0, 3, 1, 2))
    np.testing.assert_array_equal(found.y_test, [0, 1])


@pytest.mark.parametrize("colours", [(), (3,)], ids=["grey", "colour"])
def test_medmnist(tmp_path, colours):
    counts = {"train": 3, "val": 1, "test": 2}
    parts = {name: (pixels(count, 4, 4, *colours), np.arange(count)[:, None]) for name, count in counts.items()}
    arrays = {f"{name}_images": x for name, (x, _) in parts.items()}
    labels = {f"{name}_labels": y for name, (_, y) in parts.items()}
    np.savez(tmp_path / "a.npz", **arrays, **labels)
    found = medmnist(tmp_path / "a.npz")
    assert found.x.shape == (4, 3 if colours else 1, 4, 4)
    np.testing.assert_array_equal(found.y, [0, 1, 2, 0])
    np.testing.assert_array_equal(found.x_test[1, 0], parts["test"][0][1].reshape(4, 4, -1)[:, :, 0])
    np.savez(tmp_path / "b.npz", **arrays, **{name: np.repeat(y, 2, 1) for name, y in labels.items()})
    with pytest.raises(InputError, match="several labels"):
        medmnist(tmp_path / "b.npz")
    (tmp_path / "c.npz").write_bytes(b"nothing")
    with pytest.raises(InputError, match="not a file of MedMNIST"):
        medmnist(tmp_path / "c.npz")


def test_folders(tmp_path):
    for name in ("train/cat/1.png", "train/dog/2.png", "test/cat/3.png"):
        (tmp_path / name).parent.mkdir(parents=True)
        Image(pixels(8, 6, 3)).write(tmp_path / name)
    found = picture_folders(tmp_path, side=4)
    assert found.x.shape == (2, 3, 4, 4)
    assert (list(found.y), list(found.y_test)) == (["cat", "dog"], ["cat"])
    alone = picture_folders(tmp_path / "train")
    assert (len(alone.x), len(alone.x_test)) == (2, 0)
    with pytest.raises(InputError, match="two classes"):
        picture_folders(tmp_path / "test")
