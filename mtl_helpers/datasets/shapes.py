"""Images with one shape in them, made here: what it is, and the box around it."""

from __future__ import annotations

import torch
from torch import Tensor

from mtl_helpers.datasets.base import MultiTaskData, Splits
from mtl_helpers.values import generator as make_generator
from mtl_helpers.values import whole_number

SHAPES = ("ellipse", "rectangle", "triangle")
SIDES = (0.3, 0.6)  # shortest and longest side of a box, as a share of the image


def shapes(
    *,
    train: int = 600,
    valid: int = 200,
    test: int = 500,
    size: int = 24,
    noise: float = 0.3,
    seed: int = 0,
) -> Splits:
    """Draw grey images with one filled shape each, on noise.

    Args:
        train: training images.
        valid: validation images.
        test: test images; the same ones whatever ``train`` is.
        size: height and width of an image, in pixels, at least 12.
        noise: standard deviation of the noise on every pixel; shapes are 0.5 to 1 bright.
        seed: of everything.

    Returns:
        Inputs [N, 1, size, size]. Target ``class`` [N] is an index into ``SHAPES``; ``box`` [N, 4]
        is (centre x, centre y, width, height) as shares of the image; x runs right, y down.

    Raises:
        ValueError: the image is too small for its shapes to be told apart.
    """
    if size < 12:
        raise ValueError(f"shapes need images of at least 12 pixels; found {size}")
    return Splits(
        *(
            _draw(count, size, noise, 1_000_000_000 + 3 * whole_number("seed", seed) + part)
            for part, count in enumerate((train, valid, test))
        )
    )


def _draw(count: int, size: int, noise: float, seed: int) -> MultiTaskData:
    rng = make_generator(seed)
    kind = torch.randint(len(SHAPES), (count,), generator=rng)
    sides, place, bright = (
        torch.rand(count, n, generator=rng, dtype=torch.float64) for n in (2, 2, 1)
    )
    sides = SIDES[0] + (SIDES[1] - SIDES[0]) * sides
    centre = sides / 2 + (1 - sides) * place  # the whole box lies inside the image
    boxes = torch.cat([centre, sides], 1)
    images = render(kind, boxes, size) * (0.5 + bright / 2)[:, :, None]
    images = images + noise * torch.randn(images.shape, generator=rng, dtype=torch.float64)
    return MultiTaskData(images[:, None], {"class": kind, "box": boxes})


def render(kind: Tensor, boxes: Tensor, size: int) -> Tensor:
    """Fill the shapes: class [N] and box [N, 4] -> [N, size, size], 1 where a pixel is inside."""
    pixel = (torch.arange(size, dtype=torch.float64) + 0.5) / size
    cx, cy, w, h = (part[:, None, None] for part in boxes.unbind(1))
    x = (pixel[None, None, :] - cx) / (w / 2)  # -1 and 1 at the sides of the box
    y = (pixel[None, :, None] - cy) / (h / 2)
    ellipse = x**2 + y**2 <= 1
    rectangle = (x.abs() <= 1) & (y.abs() <= 1)
    triangle = (x.abs() <= (y + 1) / 2) & (y <= 1)  # its top at y = -1
    masks = torch.stack(torch.broadcast_tensors(ellipse, rectangle, triangle), 1)
    return masks[torch.arange(len(kind)), kind].to(torch.float64)
