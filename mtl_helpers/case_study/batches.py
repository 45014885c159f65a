"""Crops with their targets, cut, moved and coloured on the device, a whole batch at once.

All pictures are laid out as tiles of one size in one tensor, once. A batch is then a few tensor
operations: no worker processes, no copies from the host.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from mtl_helpers.case_study import targets as make
from mtl_helpers.case_study.model import as_input, stretched
from mtl_helpers.case_study.nuclei import MODALITIES, Nuclei


@dataclass(frozen=True, eq=False)
class Tiles:
    """Pieces of pictures, all of one size S.

    Attributes:
        images: uint8 [N, 3, S, S], stretched (``model.stretched``).
        labels: int16 [N, S, S], int32 where a picture has more than 32,766 nuclei; numbers are of
            the whole picture.
        distance: uint8 [N, 1, S, S]: 255 is the deepest pixel of a nucleus.
        modality: int64 [N].
    """

    images: Tensor
    labels: Tensor
    distance: Tensor
    modality: Tensor

    def __len__(self) -> int:
        """Give the number of tiles."""
        return len(self.images)

    def to(self, device: torch.device | str) -> Tiles:
        """Move everything to a device."""
        parts = (self.images, self.labels, self.distance, self.modality)
        return Tiles(*(part.to(device) for part in parts))

    def subset(self, chosen: Tensor) -> Tiles:
        """Give some of the tiles, by number."""
        parts = (self.images, self.labels, self.distance, self.modality)
        chosen = chosen.to(self.images.device)
        return Tiles(*(part.index_select(0, chosen) for part in parts))


def tiles(data: Nuclei, size: int = 256) -> Tiles:
    """Cut every picture into the fewest tiles that cover it; neighbours overlap as needed.

    A picture smaller than a tile is mirrored at its edges.

    Args:
        data: pictures and labels.
        size: height and width of a tile, in pixels.

    Raises:
        ValueError: there are no pictures, or a picture is smaller than half a tile.
    """
    if not len(data):
        raise ValueError("tiles needs at least one picture; found none")
    images, labels, distances, kinds = [], [], [], []
    many = max(int(label.max()) for label in data.labels) >= torch.iinfo(torch.int16).max
    for name, image, label, kind in zip(
        data.names, data.images, data.labels, data.modalities, strict=True
    ):
        height, width = label.shape
        if min(height, width) <= size // 2:
            raise ValueError(
                f"picture {name} has {height}x{width} pixels, too few for tiles of {size}; use "
                f"tiles of at most {2 * min(height, width) - 1}"
            )
        deep = torch.from_numpy((make.distance(label) * 255).round()).to(torch.uint8)
        layers = torch.cat([stretched(image), deep[None]]).float()[None]
        layers = torch.cat([layers, label.float()[None, None]], dim=1)
        pad = (0, max(size - width, 0), 0, max(size - height, 0))
        layers = F.pad(layers, pad, mode="reflect")[0]
        for top in _starts(layers.shape[1], size):
            for left in _starts(layers.shape[2], size):
                piece = layers[:, top : top + size, left : left + size]
                images.append(piece[:3].to(torch.uint8))
                distances.append(piece[3:4].to(torch.uint8))
                labels.append(piece[4].to(torch.int32 if many else torch.int16))
                kinds.append(MODALITIES.index(kind))
    return Tiles(
        torch.stack(images), torch.stack(labels), torch.stack(distances), torch.tensor(kinds)
    )


def _starts(length: int, size: int) -> list[int]:
    """Spread the fewest tiles evenly over a side."""
    count = math.ceil(length / size)
    return [round(i * (length - size) / max(count - 1, 1)) for i in range(count)]


@dataclass(frozen=True)
class Augmentation:
    """How much a crop may be changed. All zero or False leaves the picture as it is.

    Attributes:
        flips: mirror and turn by quarters.
        angle: largest turn beyond that, in degrees.
        scale: largest factor of enlargement or reduction (1 for none).
        light: largest change of brightness, black to white being 2, and of contrast, relative.
        noise: largest standard deviation of added noise, black to white being 2.
    """

    flips: bool = True
    angle: float = 15.0
    scale: float = 1.25
    light: float = 0.2
    noise: float = 0.1


def make_batch(
    source: Tiles,
    chosen: Tensor,
    crop: int,
    generator: torch.Generator,
    how: Augmentation | None = None,
    *,
    rows: slice = slice(None),
) -> tuple[Tensor, dict[str, Tensor]]:
    """Cut one crop from each tile chosen, at a drawn place, and make its five targets.

    Picture, labels and distance are moved by one and the same map. Places and changes are drawn on
    the processor, so that they are the same on every device; only the grain of the noise is the
    device's own. What lies beyond a tile's edge is mirrored, a nucleus and its mirror image being
    one number; tiles larger than the crops keep that rare.

    Args:
        source: the tiles, on the device where the batch shall be.
        chosen: numbers of the tiles, [B].
        crop: height and width of a crop in pixels, at most that of a tile.
        generator: draws places and changes.
        how: what may be changed; None for crops as they are.
        rows: which of the B crops to make. All processes draw the same numbers, so that they
            together make the batch that one alone would have made.

    Returns:
        Pictures [B, 3, crop, crop] from -1 to 1, and targets by task.

    Raises:
        ValueError: a crop larger than a tile, or an odd number of pixels smaller.
    """
    size = source.images.shape[-1]
    if crop > size or (size - crop) % 2:
        raise ValueError(
            f"crops must be an even number of pixels smaller than the tiles, or of their size; "
            f"found crops of {crop} and tiles of {size}"
        )
    how = how or Augmentation(False, 0.0, 1.0, 0.0, 0.0)
    draw = torch.rand(len(chosen), 9, generator=generator)
    noise_seed = int(torch.randint(2**31, (1,), generator=generator))
    draw, noise_rows = draw[rows], range(len(chosen))[rows]
    part = source.subset(chosen[rows])
    grid = _grid(draw, crop, size, how, part.images.device)
    layers = torch.cat([part.images, part.distance], dim=1).float()
    layers = F.grid_sample(layers, grid, padding_mode="reflection", align_corners=False)
    labels = F.grid_sample(
        part.labels.float()[:, None],
        grid,
        mode="nearest",
        padding_mode="reflection",
        align_corners=False,
    )[:, 0].to(part.labels.dtype)
    pictures = as_input(layers[:, :3])
    if how.light or how.noise:
        grey = (part.images[:, 1:] ^ part.images[:, :1]).flatten(1).amax(1) == 0  # equal channels
        pictures = _recoloured(pictures, grey, draw, noise_rows, noise_seed, how)
    foreground = make.foreground(labels)
    return pictures, {
        "foreground": foreground,
        "boundary": make.boundary(labels),
        "distance": layers[:, 3:] / 255 * foreground,
        "count": make.count(labels),
        "modality": part.modality,
    }


def _grid(draw: Tensor, crop: int, size: int, how: Augmentation, device: torch.device) -> Tensor:
    """Give where each pixel of the crops comes from, in grid_sample's units: [B, crop, crop, 2].

    Sines and the like are taken on the processor; sums and products are the same on all devices.
    """
    scale = how.scale ** (2 * draw[:, 0] - 1)
    angle = torch.deg2rad(how.angle * (2 * draw[:, 1] - 1))
    mirror = torch.ones(len(draw))
    if how.flips:
        angle = angle + torch.floor(4 * draw[:, 2]) * (math.pi / 2)
        mirror = torch.where(draw[:, 3] < 0.5, -1.0, 1.0)
    ratio = crop / size / scale
    cos, sin = torch.cos(angle) * ratio, torch.sin(angle) * ratio
    room = (1 - crop / size) * size / 2  # whole pixels, so that an unturned crop is exact
    steps = torch.floor(draw[:, 4:6] * (2 * room + 1)) - room
    shift = 2 * steps / size
    across = torch.stack([cos * mirror, sin * mirror], dim=1).to(device)
    down = torch.stack([-sin, cos], dim=1).to(device)
    centre = shift.to(device)
    places = (2 * torch.arange(crop, device=device) + 1) / crop - 1  # centres of pixels, -1 to 1
    along_rows = across[:, None] * places[:, None]
    along_columns = down[:, None] * places[:, None] + centre[:, None]
    return along_columns[:, :, None] + along_rows[:, None]


def _recoloured(
    pictures: Tensor, grey: Tensor, draw: Tensor, rows: range, seed: int, how: Augmentation
) -> Tensor:
    """Change contrast and brightness of each picture, and add noise.

    Noise is drawn once a pixel, random numbers being dear. A grey picture stays grey; in the second
    and third channel of a coloured one the same grain lies upside down and mirrored.
    """
    change = how.light * (2 * draw[:, 6:8] - 1)
    change = change.to(pictures.device)[:, :, None, None, None]
    pictures = (pictures * (1 + change[:, 0])).add_(change[:, 1])
    if how.noise:
        noise = torch.Generator(pictures.device).manual_seed(seed)
        amount = how.noise * draw[:, 8].to(pictures.device)[:, None, None]
        every = (rows.stop, *pictures.shape[2:])
        grain = torch.randn(every, generator=noise, device=pictures.device)[rows.start :: rows.step]
        grain = grain[: len(pictures)] * amount
        pictures[:, 0] += grain
        for channel, axis in ((1, 1), (2, 2)):
            pictures[:, channel] += torch.where(grey[:, None, None], grain, grain.flip(axis))
    return pictures


def plain_batch(source: Tiles) -> tuple[Tensor, Mapping[str, Tensor]]:
    """Give every tile as it is, with its targets: [N, 3, S, S]."""
    size = source.images.shape[-1]
    generator = torch.Generator().manual_seed(0)
    return make_batch(source, torch.arange(len(source)), size, generator)
