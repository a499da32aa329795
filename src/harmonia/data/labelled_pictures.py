"""Labelled pictures: data sets that users have on disk, in the layouts they are published in.

    MNIST           [MNIST/][raw/]{train,t10k}-{images-idx3,labels-idx1}-ubyte[.gz]; Fashion-MNIST and KMNIST alike
    CIFAR-100       [cifar-100-python/]{train,test}: pickles with data and fine_labels
    mini-ImageNet   one pickle of images (60000, 84, 84, 3) and labels
    MedMNIST        <name>.npz of {train,val,test}_{images,labels}
    folders         [{train,test}/]<class>/<picture>

Nothing is shipped or downloaded. Of pickles only arrays, lists and names are read: one that asks for anything else is
refused before it is executed.
"""

from __future__ import annotations

import codecs
import gzip
import pickle
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from jaxtyping import UInt8
from numpy import ndarray

from harmonia.core.errors import InputError
from harmonia.media import Image


@dataclass(frozen=True, eq=False)
class LabelledPictures:
    """Pictures of 8 bits and their classes, in the published split.

    Attributes:
        x, y: To learn from.
        x_test, y_test: To be judged by; none where nothing was published.
    """

    x: UInt8[ndarray, "n channels height width"]
    y: ndarray
    x_test: UInt8[ndarray, "m channels height width"]
    y_test: ndarray

    def __post_init__(self) -> None:
        for x, y in ((self.x, self.y), (self.x_test, self.y_test)):
            if len(x) != len(y):
                raise InputError("every picture has a label", f"{len(x)} and {len(y)}", "Fetch the files again.")


def mnist(root: str | Path) -> LabelledPictures:
    """MNIST, or another set in its format (60,000 and 10,000 grey pictures of 28 by 28).

    Raises:
        InputError: no such files, or damaged ones.
    """
    folders = [Path(root) / inner for inner in (".", "raw", "MNIST/raw")]
    folder = next((f for f in folders if list(f.glob("train-images-idx3-ubyte*"))), None)
    if folder is None:
        raise InputError("this is not MNIST's folder", root, "Expected train-images-idx3-ubyte[.gz] and three others.")
    parts = []
    for part in ("train", "t10k"):
        parts += [_idx(folder, f"{part}-images-idx3-ubyte", 3)[:, None], _idx(folder, f"{part}-labels-idx1-ubyte", 1)]
    return LabelledPictures(parts[0], parts[1].astype(np.int64), parts[2], parts[3].astype(np.int64))


def cifar100(root: str | Path) -> LabelledPictures:
    """CIFAR-100's python version and its 100 fine classes (50,000 and 10,000 pictures of 32 by 32).

    Raises:
        InputError: no such files, or of another form.
    """
    folder = Path(root) / "cifar-100-python" if (Path(root) / "cifar-100-python").is_dir() else Path(root)
    parts: list[ndarray] = []
    for name in ("train", "test"):
        read = _pickled(folder / name, "data", "fine_labels")
        if read[0].ndim != 2 or read[0].shape[1] != 3072:
            raise InputError("a picture of CIFAR-100 has 3,072 bytes", read[0].shape, "Fetch the files again.")
        parts += [read[0].astype(np.uint8).reshape(-1, 3, 32, 32), read[1].astype(np.int64)]
    return LabelledPictures(*parts)


def mini_imagenet(path: str | Path, train_per_class: int = 500) -> LabelledPictures:
    """Mini-ImageNet from one pickle of images and labels, as kernel continual learning reads it.

    Arguments:
        path: ``miniImageNet_full.pickle``.
        train_per_class: The first pictures of each class are learnt, the others judge.

    Raises:
        InputError: no such file, or of another form.
    """
    images, labels = _pickled(Path(path), "images", "labels")
    if images.ndim != 4 or images.shape[3] != 3:
        raise InputError("mini-ImageNet's pictures are (n, height, width, 3)", images.shape, "Pass its pickle.")
    rank = np.empty(len(labels), dtype=np.int64)
    for label in np.unique(labels):
        rows = np.flatnonzero(labels == label)
        rank[rows] = np.arange(len(rows))
    train, x = rank < train_per_class, images.astype(np.uint8).transpose(0, 3, 1, 2)
    return LabelledPictures(x[train], labels[train], x[~train], labels[~train])


def medmnist(path: str | Path) -> LabelledPictures:
    """A set of MedMNIST, one label a picture; those to learn and to validate together.

    Raises:
        InputError: no such file, or of another form.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            read = {name: file[name] for name in file.files}
        x, y = ([read[f"{part}_{of}"] for part in ("train", "val", "test")] for of in ("images", "labels"))
    except (OSError, ValueError, KeyError, AttributeError, zipfile.BadZipFile, zlib.error) as error:
        raise InputError("this is not a file of MedMNIST", error, "Pass <name>.npz.") from None
    if any(labels.ndim != 2 or labels.shape[1] != 1 for labels in y):
        raise InputError("a picture has several labels", y[0].shape, "Pass a set with one label a picture.")
    pictures = [each[:, None] if each.ndim == 3 else each.transpose(0, 3, 1, 2) for each in x]
    classes = [labels[:, 0].astype(np.int64) for labels in y]
    return LabelledPictures(np.concatenate(pictures[:2]), np.concatenate(classes[:2]), pictures[2], classes[2])


def picture_folders(root: str | Path, side: int = 32) -> LabelledPictures:
    """Pictures in a folder for each class, perhaps within ``train`` and ``test``; squeezed into squares.

    Raises:
        InputError: fewer than two classes, or files that are no pictures.
    """
    folder = Path(root)
    halves = [folder / "train", folder / "test"] if (folder / "train").is_dir() else [folder]
    parts: list[ndarray] = []
    for half in halves:
        files = sorted(path for path in half.glob("*/*") if path.suffix.lower() in Image.suffixes)
        pixels = [Image.read(path).resized(side, side).pixels.transpose(2, 0, 1) for path in files]
        empty = np.empty((0, 3, side, side), dtype=np.uint8)
        parts += [np.stack(pixels) if pixels else empty, np.array([path.parent.name for path in files])]
    if len(np.unique(parts[1])) < 2:
        raise InputError("this folder has no pictures of two classes", root, "Expected <class>/<picture>.")
    if len(parts) == 2:
        parts += [parts[0][:0], parts[1][:0]]
    return LabelledPictures(*parts)


def _idx(folder: Path, name: str, axes: int) -> UInt8[ndarray, "..."]:
    """An array of bytes: magic number 8, axes; sizes, big-endian; numbers."""
    path = next((p for p in (folder / name, folder / f"{name}.gz") if p.is_file()), None)
    if path is None:
        raise InputError("this is not MNIST's folder", f"no {name}", f"Put {name}[.gz] beside the others.")
    try:
        raw = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
        sizes = np.frombuffer(raw, ">u4", axes, offset=4)
        if raw[:4] != bytes((0, 0, 8, axes)):
            raise ValueError("another magic number")
        return np.frombuffer(raw, np.uint8, offset=4 + 4 * axes).reshape(sizes)
    except (OSError, EOFError, ValueError, zlib.error) as error:
        raise InputError(f"{path.name} is not in MNIST's format", error, "Fetch it again.") from None


def _pickled(path: Path, *names: str) -> list[ndarray]:
    """Arrays of a pickled dictionary."""
    try:
        with path.open("rb") as file:
            read = _Arrays(file, encoding="latin1").load()
        found = [np.asarray(read[name]) for name in names]
    except OSError:
        raise InputError("there is no such file", path, f"Pass a pickle with {' and '.join(names)}.") from None
    except Exception as error:  # a damaged pickle raises whatever it trips over
        mend = f"Pass a pickle with {' and '.join(names)}."
        raise InputError(f"{path.name} cannot be read as arrays", error, mend) from None
    if found[0].dtype.kind not in "uif" or found[1].ndim != 1:
        raise InputError(f"{path.name} holds no pictures with a label each", found[0].dtype, "Fetch it again.")
    return found


class _Arrays(pickle.Unpickler):
    """Makes arrays and what the language itself brings; nothing else is looked up, so nothing else can be called."""

    _CALLED: ClassVar[dict[str, Any]] = {
        "ndarray": np.ndarray,
        "dtype": np.dtype,
        "encode": codecs.encode,
        "_reconstruct": np.empty(0).__reduce__()[0],
        "_frombuffer": np.empty(0).__reduce_ex__(5)[0],
    }

    def find_class(self, module: str, name: str) -> Any:
        if module.split(".")[0] in ("numpy", "_codecs") and name in self._CALLED:
            return self._CALLED[name]
        raise pickle.UnpicklingError(f"it asks for {module}.{name}")
