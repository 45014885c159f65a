"""Two overlapping pictures in one, two tasks: what is on the left, what is on the right?

The handwriting is real. Sabour et al. (2017, arXiv 1710.09829) overlaid pairs of MNIST digits;
Sener & Koltun (2018, arXiv 1810.04650) made two tasks of it, the usual small test of multi-task
methods; Lin et al. (2019, arXiv 1912.12854) added pictures of clothes.

The 28x28 sources follow Sener & Koltun's code: the left picture in the top left corner of a black
36x36 canvas, the right one 6 rows down and 6 columns across, the brighter pixel where they meet,
then back to 28x28 by taking the nearest pixel. Different here: pictures are split into training,
validation and test side before they are paired, and each seed draws afresh. The 8x8 digits are
not scaled; their canvas is just large enough for the pair.
"""

from __future__ import annotations

import tempfile
from functools import lru_cache
from pathlib import Path
from types import ModuleType

import torch
import torch.nn.functional as F
from torch import Tensor

from mtl_helpers import files
from mtl_helpers.datasets.base import MultiTaskData, Splits, check_floating
from mtl_helpers.values import generator as make_generator

SOURCES = {
    "digits": ("digits", "digits"),
    "mnist": ("MNIST", "MNIST"),
    "fashion": ("FashionMNIST", "FashionMNIST"),
    "fashion_and_mnist": ("MNIST", "FashionMNIST"),
}
_OTHERWISE = "source='digits' works without any download."

Pictures = tuple[Tensor, Tensor]  # grey values uint8 [N, H, W] and classes long [N]


def overlay(
    left: Tensor,
    right: Tensor,
    offset: tuple[int, int] = (2, 4),
    canvas: tuple[int, int] | None = None,
) -> Tensor:
    """Lay pictures over each other; where they meet, the brighter pixel stays.

    Args:
        left: grey values, 0 is black, [..., H, W]; goes into the top left corner.
        right: the same shape; pushed ``offset`` away from that corner.
        offset: rows down and columns across, in pixels. At (0, 0) nothing says which is left.
        canvas: height and width of the result; None makes it just large enough.

    Returns:
        The canvas, [..., height, width].

    Raises:
        ValueError: the shapes differ, or the offset pushes a picture out of the canvas (without
            a canvas: so far that the two no longer touch).
    """
    if left.shape != right.shape:
        raise ValueError(
            f"left and right must have one shape; found {list(left.shape)}, {list(right.shape)}"
        )
    (height, width), (down, across) = left.shape[-2:], offset
    tall, wide = canvas or (height + down, width + across)
    most = (tall - height, wide - width) if canvas else (height, width)
    if not (0 <= down <= most[0] and 0 <= across <= most[1]):
        raise ValueError(
            f"offset {tuple(offset)} pushes the right picture out: for pictures of "
            f"{height}x{width} it must lie between (0, 0) and {most}"
        )
    return torch.maximum(
        F.pad(left, (0, wide - width, 0, tall - height)),
        F.pad(right, (across, wide - width - across, down, tall - height - down)),
    )


def overlapping_digits(
    source: str = "digits",
    *,
    train: int = 2000,
    valid: int = 500,
    test: int = 1000,
    seed: int = 0,
    offset: tuple[int, int] | None = None,
    download: bool = False,
    device: torch.device | str = "cpu",
    dtype: torch.dtype = torch.float64,
) -> Splits:
    """Draw pairs of overlapping pictures, with the tasks ``left`` and ``right``.

    No picture is on two sides of the split, and the two classes of a pair are independent. A side
    uses its pictures equally often: more pairs than pictures are new pairs of the same pictures,
    which is less than new data. A larger ``train`` begins with the pairs of a smaller one.

    Args:
        source: ``"digits"`` (scikit-learn's 1,797 handwritten 8x8 digits, split 3:1:1 by class),
            ``"mnist"``, ``"fashion"``, or ``"fashion_and_mnist"`` (a digit on the left, a garment
            on the right). The last three split the official training pictures 5:1 by class into
            train and valid; test is the official test set.
        train: number of training pairs.
        valid: number of validation pairs.
        test: number of test pairs.
        seed: redraws the split and the pairs. The same seed gives the same data.
        offset: rows and columns between the two, in pixels: see :func:`overlay`. None is (2, 4)
            for the 8x8 digits, (6, 6) for the others (at most (8, 8) there).
        download: fetch missing files of MNIST or Fashion-MNIST into the data folder.
        device: where the tensors shall be.
        dtype: floating-point type of the inputs.

    Returns:
        Splits with inputs [N, 1, H, W] between 0 and 1 (10x12 by default for ``"digits"``, 28x28
        for the others) and targets ``{"left": long [N], "right": long [N]}``.

    Raises:
        ValueError: an unknown source, an impossible size or offset, a damaged data file.
        TypeError: ``dtype`` is not a floating-point type.
        FileNotFoundError: the files are not there and ``download`` is False.
        ConnectionError: they could not be downloaded.
        ImportError: torchvision, which reads the files, does not import.
    """
    _check_source(source)
    check_floating(dtype)
    small = source == "digits"
    white, canvas = (16, None) if small else (255, (36, 36))
    offset = offset or ((2, 4) if small else (6, 6))
    # one seed for the split, one each for left and right of the three sides
    seeds = torch.randint(2**62, (7,), generator=make_generator(seed)).tolist()
    split = {name: _split(name, seeds[0], download) for name in set(SOURCES[source])}
    left_sides, right_sides = (split[name] for name in SOURCES[source])

    made = []
    for side, size in enumerate((train, valid, test)):
        (left, left_classes), (right, right_classes) = left_sides[side], right_sides[side]
        _check_size(Splits._fields[side], size, len(left), len(right))
        first = _draw(len(left), size, seeds[1 + side])
        second = _draw(len(right), size, seeds[4 + side])
        pictures = overlay(left[first], right[second], offset, canvas)[:, None]
        if not small:
            pictures = F.interpolate(pictures, size=(28, 28), mode="nearest-exact")
        targets = {"left": left_classes[first], "right": right_classes[second]}
        made.append(MultiTaskData(pictures.to(dtype) / white, targets).to(device))
    return Splits(*made)


def class_names(source: str = "digits") -> dict[str, list[str]]:
    """Give the names of the ten classes of each task: ``{"left": [...], "right": [...]}``.

    Raises:
        ValueError: an unknown source.
        ImportError: torchvision, which knows the garments, does not import.
    """
    _check_source(source)
    names = [
        list(_torchvision().FashionMNIST.classes if name == "FashionMNIST" else "0123456789")
        for name in SOURCES[source]
    ]
    return dict(zip(("left", "right"), names, strict=True))


def _check_source(source: str) -> None:
    if source not in SOURCES:
        raise ValueError(f"unknown source {source!r}; use one of {', '.join(SOURCES)}")


def _check_size(side: str, size: int, left: int, right: int) -> None:
    if not isinstance(size, int) or size < 0:
        raise ValueError(f"{side} must be a whole number of pairs, 0 or more; found {size!r}")
    if size > left * right:
        raise ValueError(
            f"{side}={size} is too large: {left} pictures on the left and {right} on the right "
            f"make only {left * right} different pairs"
        )


def _draw(count: int, size: int, seed: int) -> Tensor:
    """Draw ``size`` of ``count`` pictures, in rounds that use each picture once."""
    generator = make_generator(seed)
    rounds = 1 + size // count
    return torch.cat([torch.randperm(count, generator=generator) for _ in range(rounds)])[:size]


def _split(name: str, seed: int, download: bool) -> list[Pictures]:
    """Divide the pictures into train, valid and test, each with its share of every class."""
    generator = make_generator(seed)
    if name == "digits":
        return _divide(_sklearn_digits(), (3 / 5, 4 / 5), generator)
    official_train, official_test = _official(name, download)
    return [*_divide(official_train, (5 / 6,), generator), official_test]


def _divide(
    pictures: Pictures, cuts: tuple[float, ...], generator: torch.Generator
) -> list[Pictures]:
    """Shuffle each class and cut it at these fractions of its length."""
    images, classes = pictures
    pieces = []
    for k in classes.unique():
        rows = (classes == k).nonzero()[:, 0]
        rows = rows[torch.randperm(len(rows), generator=generator)]
        pieces.append(rows.tensor_split([round(cut * len(rows)) for cut in cuts]))
    parts = [torch.cat(part) for part in zip(*pieces, strict=True)]
    return [(images[rows], classes[rows]) for rows in parts]


@lru_cache(maxsize=1)
def _sklearn_digits() -> Pictures:
    """Read the digits that scikit-learn carries: grey values 0..16."""
    from sklearn.datasets import load_digits

    digits = load_digits()
    return torch.tensor(digits.images, dtype=torch.uint8), torch.tensor(digits.target).long()


def _torchvision() -> ModuleType:
    """Import torchvision's data sets, or say how to mend it."""
    try:
        import torchvision.datasets
    except Exception as error:  # a build for another torch raises RuntimeError or OSError
        raise ImportError(
            f"torchvision does not import here ({type(error).__name__}: {error}). Most often it "
            "was built for another torch: the environment check in notebooks/00_start_here.ipynb "
            f"prints the mend. {_OTHERWISE}"
        ) from error
    return torchvision.datasets


def _official(name: str, download: bool) -> tuple[Pictures, Pictures]:
    """Give the official training and test set of MNIST or FashionMNIST, downloaded if asked."""
    dataset = getattr(_torchvision(), name)
    folder = files.data_folder() / name / "raw"
    if download:
        for filename, md5 in dataset.resources:
            _fetch(dataset.mirrors, folder / filename, md5)
    return _read_official(name, folder)


def _fetch(mirrors: list[str], path: Path, md5: str) -> Path:
    """Try one mirror after the other; torchvision's own download is not written whole."""
    for mirror in mirrors:
        try:
            return files.download(f"{mirror}{path.name}", path, md5=md5, otherwise=_OTHERWISE)
        except (ConnectionError, ValueError) as error:
            last = error
    raise last


@lru_cache(maxsize=4)
def _read_official(name: str, folder: Path) -> tuple[Pictures, Pictures]:
    """Read the four .gz files with torchvision, unpacked into a temporary folder.

    torchvision alone unpacks beside the .gz; a folder shared by a class may be read-only.
    """
    datasets = _torchvision()
    dataset = getattr(datasets, name)
    for filename, md5 in dataset.resources:
        path = folder / filename
        if not path.is_file():
            raise FileNotFoundError(
                f"{name} is not here: {path} is missing. Pass download=True where there is a "
                "network, or put the four .gz files that data/README.md names into that folder. "
                f"{_OTHERWISE}"
            )
        if wrong := files.what_is_wrong(path, md5=md5):
            raise ValueError(
                f"{path} is not the official file: {wrong}. Pass download=True to fetch it again, "
                f"or replace it. {_OTHERWISE}"
            )
    with tempfile.TemporaryDirectory() as temporary:
        raw = Path(temporary) / name / "raw"
        raw.mkdir(parents=True)
        for filename, _ in dataset.resources:
            datasets.utils.extract_archive(str(folder / filename), str(raw))
        train, test = (dataset(temporary, train=is_train) for is_train in (True, False))
    return (train.data, train.targets), (test.data, test.targets)
