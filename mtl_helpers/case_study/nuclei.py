"""Microscope pictures of cell nuclei, each nucleus outlined: real ones, or drawn ones.

The real ones are image set BBBC038v1 of the Broad Bioimage Benchmark Collection (CC0), the 2018
Data Science Bowl: Caicedo et al. 2019, doi:10.1038/s41592-019-0612-7. The drawn ones need no
network and know the truth of every pixel.

Read with :func:`nuclei`. Reading the official archive takes a minute; what was read is then kept in
a packed form beside it (lossless, a tenth of the files, small enough to travel), from which the
next start takes seconds.
"""

from __future__ import annotations

import hashlib
import io
import json
import math
import re
import warnings
import zipfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import torch
from PIL import Image
from scipy import ndimage
from skimage import measure
from torch import Tensor

from mtl_helpers import files
from mtl_helpers.case_study.scores import consecutive
from mtl_helpers.datasets.pictures import check_picture, decode, existing, grey_levels
from mtl_helpers.datasets.pictures import read_picture as read_picture  # found here too

URL = "https://data.broadinstitute.org/bbbc/BBBC038/stage1_train.zip"
MODALITIES = ("fluorescence", "stained", "brightfield")
_OTHERWISE = "nuclei('synthetic') works without any download."
_MEMBER = re.compile(  # no name begins with a dot: macOS leaves files "._name" behind
    r"(?:stage1_train/)?([^/.][^/]*)/(images|masks)/[^/.][^/]*\.(?i:png|tiff?|jpe?g)"
)
_PACKED_FORMAT = 1


@dataclass(frozen=True, eq=False)
class Nuclei:
    """Pictures and the nuclei in them; entry i of every tuple belongs to picture i.

    Attributes:
        names: what the pictures are called.
        images: uint8 [3, H, W] each; sizes differ. Grey pictures have three equal channels.
        labels: int32 [H, W] each: 0 is background, 1 to n are the n nuclei. Gaps in the numbers
            given are closed.
        groups: pictures with the same number are crops of one slide.
        modalities: one of ``MODALITIES``: see :func:`modality`.
        notes: what had to be repaired while reading, in words.

    Raises:
        ValueError: tuples of different lengths, a picture that is not uint8 [3, H, W], a label map
            of another size, with fractions or with negative numbers, or an unknown modality.
    """

    names: tuple[str, ...]
    images: tuple[Tensor, ...]
    labels: tuple[Tensor, ...]
    groups: tuple[int, ...]
    modalities: tuple[str, ...]
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        lengths = [len(part) for part in (self.images, self.labels, self.groups, self.modalities)]
        if any(length != len(self) for length in lengths):
            raise ValueError(
                f"names, images, labels, groups and modalities must be of one length; found "
                f"{len(self)}, {', '.join(map(str, lengths))}"
            )
        if unknown := set(self.modalities) - set(MODALITIES):
            raise ValueError(f"unknown modality {sorted(unknown)}; use {', '.join(MODALITIES)}")
        labels = []
        for name, image, label in zip(self.names, self.images, self.labels, strict=True):
            check_picture(image, f"picture {name}")
            numbers = consecutive(label, f"the label map of picture {name}")
            if image.shape[1:] != numbers.shape:
                raise ValueError(
                    f"picture {name} has {image.shape[1]}x{image.shape[2]} pixels and its label "
                    f"map {numbers.shape[0]}x{numbers.shape[1]}; they must be of one size"
                )
            labels.append(torch.from_numpy(numbers))
        object.__setattr__(self, "labels", tuple(labels))

    def __len__(self) -> int:
        """Give the number of pictures."""
        return len(self.names)

    def __repr__(self) -> str:
        """Give counts instead of pages of numbers."""
        count = sum(int(label.max()) for label in self.labels)
        return f"Nuclei({len(self)} pictures, {count} nuclei, {len(set(self.groups))} groups)"

    def subset(self, chosen: Iterable[int]) -> Nuclei:
        """Give some of the pictures, by their numbers, in that order."""
        rows = list(chosen)
        parts = (self.names, self.images, self.labels, self.groups, self.modalities)
        return Nuclei(*(tuple(part[i] for i in rows) for part in parts), self.notes)

    def of(self, *modalities: str) -> Nuclei:
        """Give the pictures of some modalities.

        Raises:
            ValueError: there is no such modality.
        """
        if unknown := set(modalities) - set(MODALITIES):
            raise ValueError(f"unknown modality {sorted(unknown)}; use {', '.join(MODALITIES)}")
        return self.subset(i for i, m in enumerate(self.modalities) if m in modalities)

    def split(self, train: float = 0.6, valid: float = 0.2) -> tuple[Nuclei, Nuclei, Nuclei]:
        """Divide into training, validation and test pictures; no group is on two sides.

        Within each modality the groups are put into an order by a hash of their names, and cut
        where the shares are reached. The order does not change from run to run or machine to
        machine, and a picture more or less moves few others.

        Args:
            train: share of the pictures for training.
            valid: share for validation; the rest is for testing.

        Raises:
            ValueError: the shares leave nothing for testing.
        """
        if train <= 0 or valid < 0 or train + valid >= 1:
            raise ValueError(
                "train and valid must be shares that leave some for testing; found "
                f"{train} and {valid}"
            )
        sides: tuple[list[int], ...] = ([], [], [])
        for kind in MODALITIES:
            members: dict[int, list[int]] = {}
            for i, group in enumerate(self.groups):
                if self.modalities[i] == kind:
                    members.setdefault(group, []).append(i)
            total, done = sum(map(len, members.values())), 0
            for rows in sorted(members.values(), key=self._order):
                middle = (done + len(rows) / 2) / total
                sides[(middle >= train) + (middle >= train + valid)].extend(rows)
                done += len(rows)
        return tuple(self.subset(sorted(side)) for side in sides)  # type: ignore[return-value]

    def _order(self, rows: Sequence[int]) -> str:
        first = min(self.names[i] for i in rows)
        return hashlib.sha256(first.encode()).hexdigest()


def nuclei(
    source: str = "synthetic",
    *,
    images: int = 60,
    size: int = 128,
    seed: int = 0,
    download: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> Nuclei:
    """Read or draw pictures of nuclei.

    Args:
        source: ``"synthetic"`` draws them (:func:`draw_nuclei`); ``"bbbc038"`` reads the real ones
            from the data folder (``$MTL_DATA``, else ``data/downloads``): the packed file
            ``BBBC038/nuclei.packed.zip``, the official ``BBBC038/stage1_train.zip``, or a folder
            ``BBBC038/stage1_train`` of the same layout. What was read from the last two is packed
            for the next time, where the folder may be written to.
        images: how many to draw.
        size: height and width of a drawn picture, in pixels.
        seed: of the drawing.
        download: fetch the official archive when it is missing (80 MB).
        progress: called with (pictures read, pictures in all).

    Raises:
        ValueError: an unknown source, or a damaged archive or folder.
        FileNotFoundError: the real pictures are not there.
        ConnectionError: they could not be downloaded.
        OSError: they could not be written, the disk being full, say.
    """
    if source == "synthetic":
        return draw_nuclei(images, size, seed=seed)
    if source != "bbbc038":
        raise ValueError(f"unknown source {source!r}; use 'synthetic' or 'bbbc038'")
    folder = files.data_folder() / "BBBC038"
    archive, unpacked, packed = (
        folder / name for name in ("stage1_train.zip", "stage1_train", "nuclei.packed.zip")
    )
    if download and not packed.is_file():
        files.download(URL, archive, otherwise=_OTHERWISE)
    official = archive if archive.is_file() else unpacked if unpacked.is_dir() else None
    if packed.is_file():
        found, origin = read_packed(packed)
        if official is None or origin == _stamp(official):
            return found
    if official is None:
        raise FileNotFoundError(
            f"the nuclei are not here: {archive} is missing. Pass download=True where there is a "
            f"network, or get {URL} by other means and put it there. {_OTHERWISE}"
        )
    found = read_official(official, progress)
    try:
        write_packed(packed, found, origin=_stamp(official))
    except (OSError, ValueError) as error:
        warnings.warn(f"the next start will be as slow as this one: {error}", stacklevel=2)
    return found


def modality(image: Tensor) -> str:
    """Say how a picture was made, by a rule that looks at its colours.

    Where red, green and blue differ by 5 of 255 or more on average, the slide was *stained*; else,
    a bright picture (mean 100 or more) is *brightfield*, a dark one *fluorescence*.

    Args:
        image: uint8 [3, H, W].
    """
    values = image.float()
    if (values.amax(0) - values.amin(0)).mean() >= 5:
        return "stained"
    return "brightfield" if values.mean() >= 100 else "fluorescence"


# ------------------------------------------------------------------------------- real pictures


def read_official(path: str | Path, progress: Callable[[int, int], None] | None = None) -> Nuclei:
    """Read pictures and masks of the official layout.

    ``<id>/images/<id>.png`` and ``<id>/masks/*.png``, one mask a nucleus, with or without a leading
    ``stage1_train/``. Nothing is unpacked to the disk. Empty masks are left out, and a pixel that
    two masks claim stays with the first; both are said in ``notes``. TIFF (and JPEG for images) is
    read as well, see ``datasets.pictures``. Files whose names begin with a dot are passed over,
    links are followed. Where a picture has one mask only, it may hold all nuclei: a label map, or a
    mask that is split into its connected pieces, as ``read_labels`` reads them.

    Args:
        path: the archive, or a folder of that layout; ``~`` is expanded.
        progress: called with (pictures read, pictures in all).

    Raises:
        ValueError: a damaged archive, a member that points outside, no pictures, a picture without
            masks, or a mask of another size; the message names it.
        FileNotFoundError: there is no such archive or folder, or a link leads nowhere.
    """
    path = Path(path).expanduser()
    names, read = _members(path)
    pictures: dict[str, dict[str, list[str]]] = {}
    for name in names:
        if match := _MEMBER.fullmatch(name):
            kinds = pictures.setdefault(match[1], {"images": [], "masks": []})
            kinds[match[2]].append(name)
    if not pictures:
        raise ValueError(
            f"{path.name} holds no pictures of the layout <id>/images/<id>.png; get {URL}"
        )
    images, labels, notes = [], [], []
    for number, (key, parts) in enumerate(sorted(pictures.items())):
        if len(parts["images"]) != 1 or not parts["masks"]:
            raise ValueError(
                f"picture {key} in {path.name} has {len(parts['images'])} images and "
                f"{len(parts['masks'])} masks; one image and at least one mask are needed. "
                f"Get the archive again from {URL}, or correct the folder {key}"
            )
        name = parts["images"][0]
        images.append(grey_levels(decode(read(name), name), name))
        masks = ((name, decode(read(name), name, raw=True)) for name in sorted(parts["masks"]))
        label, said = _label_map(key, images[-1].shape[:2], masks, single=len(parts["masks"]) == 1)
        labels.append(label)
        notes += said
        if progress is not None:
            progress(number + 1, len(pictures))
    tensors = [torch.tensor(image).permute(2, 0, 1).contiguous() for image in images]
    return Nuclei(
        tuple(sorted(pictures)),
        tuple(tensors),
        tuple(torch.from_numpy(label) for label in labels),
        tuple(slide_groups(images)),
        tuple(modality(image) for image in tensors),
        tuple(notes),
    )


def _members(path: Path) -> tuple[list[str], Callable[[str], bytes]]:
    """List the files of an archive or a folder, and give a function that reads one."""
    if path.is_dir():
        names = [p.relative_to(path).as_posix() for p in _files(path)]
        return names, lambda name: existing(path / name).read_bytes()
    try:
        archive = zipfile.ZipFile(existing(path, "archive or folder"))
        names = archive.namelist()
    except (zipfile.BadZipFile, EOFError) as error:
        raise ValueError(
            f"{path} is not a whole .zip archive ({error}); delete it and fetch it again from {URL}"
        ) from error
    for name in names:
        if name.startswith(("/", "\\")) or ":" in name or ".." in PurePosixPath(name).parts:
            raise ValueError(f"{path.name} is refused: its member {name!r} points outside")

    def read(name: str) -> bytes:
        try:
            return archive.read(name)
        except Exception as error:  # zlib.error, BadZipFile, NotImplementedError, EOFError ...
            raise ValueError(
                f"{name} in {path.name} is damaged ({error}); delete the archive and fetch it "
                f"again from {URL}"
            ) from error

    return names, read


def _files(folder: Path) -> list[Path]:
    """List the files of the official layout in a folder; folders that are links are followed."""
    for place in (*folder.glob("*"), *folder.glob("*/*")):
        if not place.exists():
            raise FileNotFoundError(f"{place} is a link to {place.readlink()}, which is not there")
    tops = ("", "stage1_train/")
    return [
        p for top in tops for kind in ("images", "masks") for p in folder.glob(f"{top}*/{kind}/*")
    ]


def _label_map(
    key: str, shape: tuple[int, int], masks: Iterable[tuple[str, np.ndarray]], *, single: bool
) -> tuple[np.ndarray, list[str]]:
    """Number the masks of one picture: int32 [H, W], and what had to be repaired."""
    label, count, empty, doubled, notes = np.zeros(shape, np.int32), 0, 0, 0, []
    for name, mask in masks:
        if mask.shape[:2] != shape:
            raise ValueError(
                f"the mask {name} has {mask.shape[0]}x{mask.shape[1]} pixels, its picture "
                f"{shape[0]}x{shape[1]}; get the archive again from {URL}, or save the mask in the "
                "picture's size"
            )
        if single and (found := all_nuclei(mask, name)).max() > 1:
            return found, [f"{key}: one mask holds all {found.max()} nuclei"]
        inside = (mask if mask.ndim == 2 else mask.max(axis=2)) > 0
        free = inside & (label == 0)
        doubled += int(inside.sum() - free.sum())
        empty += not free.any()
        if free.any():
            count += 1
            label[free] = count
    if empty:
        notes.append(f"{key}: {empty} empty masks left out")
    if doubled:
        notes.append(f"{key}: {doubled} pixels in two masks, kept by the first")
    return label, notes


def slide_groups(images: Sequence[np.ndarray]) -> list[int]:
    """Find crops of one slide: pictures of one size whose edges continue each other.

    The last column of one picture is compared with the first of another, and the last row with the
    first. They count as neighbours when they correlate by more than 0.95 and differ by less than
    half of their spread, and when there is something to see on both (a spread of 2 of 255 or more).
    Neighbours of neighbours are one group. Crops that meet in empty background are missed.

    Args:
        images: uint8 [H, W, 3] each.

    Returns:
        A number for each picture, from 0 up.
    """
    parent = list(range(len(images)))

    def root(i: int) -> int:
        while parent[i] != i:
            i = parent[i]
        return i

    grey = [image.astype(np.float64).mean(axis=2) for image in images]
    for shape in sorted({picture.shape for picture in grey}):
        rows = [i for i, picture in enumerate(grey) if picture.shape == shape]
        for last, first in (
            ([grey[i][:, -1] for i in rows], [grey[i][:, 0] for i in rows]),
            ([grey[i][-1] for i in rows], [grey[i][0] for i in rows]),
        ):
            for a, b in np.argwhere(_continues(np.stack(last), np.stack(first))):
                if a != b:
                    parent[root(rows[a])] = root(rows[b])
    numbers: dict[int, int] = {}
    return [numbers.setdefault(root(i), len(numbers)) for i in range(len(images))]


def _continues(last: np.ndarray, first: np.ndarray) -> np.ndarray:
    """Say which edges [N, L] go on in which edges [N, L]: bool [N, N]."""
    spread = np.minimum(last.std(axis=1)[:, None], first.std(axis=1)[None])
    a, b = (x - x.mean(axis=1, keepdims=True) for x in (last, first))
    scale = np.sqrt((a**2).sum(1)[:, None] * (b**2).sum(1)[None])
    correlation = a @ b.T / np.maximum(scale, 1e-9)
    apart = np.stack([np.abs(edge - first).mean(axis=1) for edge in last])
    return (correlation > 0.95) & (apart < spread / 2) & (spread >= 2)


def _stamp(path: Path) -> str:
    """Give a hash of what an archive or folder lists, by which a packed form is known to fit."""
    if path.is_dir():
        listed = sorted((p.relative_to(path).as_posix(), p.stat().st_size) for p in _files(path))
    else:
        try:
            with zipfile.ZipFile(path) as archive:
                listed = sorted((i.filename, i.CRC) for i in archive.infolist())
        except (zipfile.BadZipFile, EOFError):
            return "broken"
    return hashlib.sha256(repr(listed).encode()).hexdigest()


# ------------------------------------------------------------------------------ the packed form


def write_packed(path: str | Path, data: Nuclei, *, origin: str = "") -> Path:
    """Write pictures, label maps and groups into one file, without loss, whole or not at all.

    Args:
        path: a ``.zip``: two PNG files a picture (8-bit image, 16-bit labels) and ``index.json``.
        data: what to write.
        origin: a word that ``read_packed`` gives back.

    Raises:
        ValueError: a picture holds more than 65,535 nuclei.
        OSError: see ``files.open_whole``.
    """
    path = Path(path).expanduser()
    index = {
        "format": _PACKED_FORMAT,
        "origin": origin,
        "names": list(data.names),
        "groups": list(data.groups),
        "notes": list(data.notes),
    }
    with files.open_whole(path) as file, zipfile.ZipFile(file, "w") as archive:
        archive.writestr("index.json", json.dumps(index))
        for i, (image, label) in enumerate(zip(data.images, data.labels, strict=True)):
            if int(label.max()) > 65_535:
                raise ValueError(
                    f"picture {data.names[i]} has more than 65,535 nuclei, too many for a packed "
                    "file; leave it out of what is packed"
                )
            grey = bool((image == image[:1]).all())
            pixels = image[0].numpy() if grey else image.permute(1, 2, 0).contiguous().numpy()
            archive.writestr(f"{i}.image.png", _png(pixels))
            archive.writestr(f"{i}.labels.png", _png(label.numpy().astype(np.uint16)))
    return path


def read_packed(path: str | Path) -> tuple[Nuclei, str]:
    """Read what ``write_packed`` wrote; give the pictures and their origin.

    Raises:
        ValueError: the file is cut off or something else; the message says what to do.
        OSError: it is not there or may not be read.
    """
    path = existing(path, "packed file")
    try:
        with zipfile.ZipFile(path) as archive:
            index = json.loads(archive.read("index.json"))
            if index["format"] != _PACKED_FORMAT:
                raise ValueError(f"format {index['format']}, expected {_PACKED_FORMAT}")
            count = len(index["names"])
            images = [
                grey_levels(decode(archive.read(name), name), name)
                for name in (f"{i}.image.png" for i in range(count))
            ]
            labels = [
                decode(archive.read(name), name, raw=True)
                for name in (f"{i}.labels.png" for i in range(count))
            ]
    except (zipfile.BadZipFile, KeyError, EOFError, ValueError) as error:
        raise ValueError(
            f"{path} is not a packed set of nuclei ({error}); delete it, it is made again from the "
            "official archive"
        ) from error
    tensors = tuple(torch.tensor(image).permute(2, 0, 1).contiguous() for image in images)
    maps = tuple(torch.from_numpy(label.astype(np.int32)) for label in labels)
    kinds = tuple(modality(image) for image in tensors)
    found = Nuclei(
        tuple(index["names"]), tensors, maps, tuple(index["groups"]), kinds, tuple(index["notes"])
    )
    return found, index["origin"]


def _png(pixels: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG", optimize=False, compress_level=6)
    return buffer.getvalue()


def read_labels(path: str | Path, *, page: int | None = None) -> Tensor:
    """Read all nuclei of a picture from one file: a label map, or a single mask.

    In a label map each number above 0 is a nucleus; gaps in the numbers are closed. A mask, where
    all pixels above 0 have one value, is split into its connected pieces (also across corners):
    nuclei that touch become one.

    Args:
        path: a PNG or TIFF file; ``~`` and links are followed.
        page: which page of a file of several, counted from 0.

    Returns:
        int32 [H, W]: 0 is background, 1 to n are the nuclei.

    Raises:
        FileNotFoundError: there is no such file.
        OSError: it is a folder, or may not be read.
        ValueError: it has colours, fractions or negative numbers, is a mask with soft edges, or no
            picture at all; the message says what to do.
    """
    path = existing(path)
    with open(path, "rb") as file:
        return torch.from_numpy(all_nuclei(decode(file, path.name, page=page, raw=True), path.name))


def all_nuclei(values: np.ndarray, name: str) -> np.ndarray:
    """Turn what ``decode`` gives into a label map: see :func:`read_labels`."""
    if values.ndim == 3 and (values != values[..., :1]).any():
        raise ValueError(
            f"{name} has colours, and nuclei are told apart by numbers; save the label map as a "
            "grey picture of 16 bits"
        )
    values = values if values.ndim == 2 else values[..., 0]
    numbers = consecutive(values.astype(np.uint8) if values.dtype == bool else values, name)
    pieces, count = measure.label(numbers, connectivity=2), int(numbers.max(initial=0))
    if count <= 1:
        return pieces.astype(np.int32)
    if pieces.max() > 2 * count:
        raise ValueError(
            f"{name} has {count} different numbers in {pieces.max()} pieces, so they do not number "
            "nuclei. Of a mask with soft edges or of classes, save pixels > threshold as a mask "
            "of two values"
        )
    return numbers


# ------------------------------------------------------------------------------ drawn pictures


def draw_nuclei(
    images: int,
    size: int = 128,
    *,
    seed: int = 0,
    touching: float = 0.5,
    blur: float = 1.0,
    noise: float = 0.04,
) -> Nuclei:
    """Draw pictures of nuclei: ellipses, many of them touching, some out of focus, with noise.

    Picture i depends on ``seed`` and i alone, so that more pictures begin with the same ones. Two
    of three are like fluorescence, the rest by turns stained and brightfield.

    Args:
        images: how many.
        size: height and width in pixels, at least 32.
        seed: the same seed gives the same pictures.
        touching: share of the nuclei that are put beside another one.
        blur: width of the blur of a nucleus in focus, in pixels; out of focus it is three times.
        noise: standard deviation of the noise, black to white being 1.

    Raises:
        ValueError: sizes or shares that make no sense.
    """
    if images < 1 or size < 32 or not 0 <= touching <= 1 or blur < 0 or noise < 0:
        raise ValueError(
            "draw_nuclei needs images >= 1, size >= 32, touching in 0..1, blur and noise >= 0; "
            f"found images={images}, size={size}, touching={touching}, blur={blur}, noise={noise}"
        )
    drawn = [_draw(i, size, seed, touching, blur, noise) for i in range(images)]
    names = tuple(f"drawn-{seed}-{i:04d}" for i in range(images))
    pictures, labels, kinds = zip(*drawn, strict=True)
    return Nuclei(names, pictures, labels, tuple(range(images)), kinds)


def _draw(
    number: int, size: int, seed: int, touching: float, blur: float, noise: float
) -> tuple[Tensor, Tensor, str]:
    rng = np.random.default_rng([seed, number])
    kind = MODALITIES[0] if number % 3 else MODALITIES[1 + number // 3 % 2]
    count = max(2, rng.poisson(size * size / 800))
    shapes = _place(rng, count, size, touching)
    y, x = np.mgrid[:size, :size] + 0.5
    nearest, label = np.full((size, size), 1.0), np.zeros((size, size), np.int32)
    for k, shape in enumerate(shapes, start=1):
        distance = _ellipse(y, x, shape)
        mine = distance < nearest
        label[mine], nearest[mine] = k, distance[mine]
    label = _numbered(label)
    light = np.zeros((size, size))
    for k in range(1, label.max() + 1):  # brightness, focus and grain of its own for each
        inside = (label == k) * rng.uniform(0.35, 1.0)
        grain = ndimage.gaussian_filter(rng.normal(size=(size, size)), 2.0)
        inside = inside * (1 + 1.5 * grain)
        light += ndimage.gaussian_filter(inside, blur * (3.0 if rng.random() < 0.25 else 1.0))
    slope = rng.normal(size=2) * 0.08 / size
    light += 0.12 + slope[0] * (y - size / 2) + slope[1] * (x - size / 2)
    return torch.from_numpy(_colour(rng, light, kind, noise)), torch.from_numpy(label), kind


def _place(
    rng: np.random.Generator, count: int, size: int, touching: float
) -> list[Sequence[float]]:
    """Draw ellipses (centre y, x, half axes, angle), some beside the one before."""
    shapes: list[Sequence[float]] = []
    for _ in range(count):
        long, flat, angle = rng.uniform(5, 11), rng.uniform(0.6, 1.0), rng.uniform(0, math.pi)
        centre = rng.uniform(0, size, 2)
        if shapes and rng.random() < touching:
            y, x, a, b, _ = shapes[rng.integers(len(shapes))]
            turn, apart = rng.uniform(0, 2 * math.pi), 0.9 * (a + b + long * (1 + flat)) / 2
            centre = np.array([y + apart * math.sin(turn), x + apart * math.cos(turn)])
        shapes.append((*centre, long, long * flat, angle))
    return shapes


def _ellipse(y: np.ndarray, x: np.ndarray, shape: Sequence[float]) -> np.ndarray:
    """Give the distance from an ellipse's centre, 1 being its outline."""
    cy, cx, a, b, angle = shape
    u = (x - cx) * math.cos(angle) + (y - cy) * math.sin(angle)
    v = (y - cy) * math.cos(angle) - (x - cx) * math.sin(angle)
    return np.sqrt((u / a) ** 2 + (v / b) ** 2)


def _numbered(label: np.ndarray, smallest: int = 12) -> np.ndarray:
    """Keep each nucleus's largest piece, drop crumbs, and number what is left from 1."""
    done, count = np.zeros_like(label), 0
    for k in range(1, label.max() + 1):
        pieces, found = ndimage.label(label == k)
        if not found:
            continue
        sizes = np.bincount(pieces.ravel())[1:]
        if sizes.max() >= smallest:
            count += 1
            done[pieces == 1 + sizes.argmax()] = count
    return done


def _colour(rng: np.random.Generator, light: np.ndarray, kind: str, noise: float) -> np.ndarray:
    """Turn light into uint8 [3, H, W]: as it is, dark on white, or violet on pink."""
    light = np.clip(light, 0, 1.2) / 1.2
    if kind == "stained":
        ground, dye = np.array([0.93, 0.80, 0.90]), np.array([0.45, 0.65, 0.30])
        colours = ground[:, None, None] - dye[:, None, None] * light
    else:
        colours = np.repeat((0.9 - 0.6 * light if kind == "brightfield" else light)[None], 3, 0)
    grain = rng.normal(size=colours.shape if kind == "stained" else light.shape) * noise
    return (np.clip(colours + grain, 0, 1) * 255).round().astype(np.uint8)


def summary(data: Nuclei) -> Mapping[str, Any]:
    """Count pictures, groups and nuclei by modality, and the sizes of the pictures."""
    return {
        kind: {
            "pictures": len(part),
            "groups": len(set(part.groups)),
            "nuclei": sum(int(label.max()) for label in part.labels),
            "sizes": sorted({tuple(label.shape) for label in part.labels}),
        }
        for kind in MODALITIES
        if len(part := data.of(kind))
    }
