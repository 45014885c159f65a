"""A small U-Net with one head a task (Ronneberger et al. 2015, arXiv:1505.04597).

GroupNorm in place of batch normalisation: every picture is normalised by itself, so the result does
not depend on which others are in the batch, nor on how many processes share it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mtl_helpers.case_study.tiling import in_tiles
from mtl_helpers.datasets.pictures import check_picture
from mtl_helpers.models.base import MultiTaskModel, by_task

DENSE = ("foreground", "boundary", "distance")  # one number a pixel
WHOLE = {"count": 1, "modality": 3}  # numbers a picture
NAMES = (*DENSE, *WHOLE)


class NucleiNet(MultiTaskModel):
    """Shared encoder and decoder; a 1x1 convolution for each dense task, a linear layer for others.

    Args:
        task_names: some of ``NAMES``.
        widths: channels at each depth; every depth halves the picture. Multiples of 8.

    Raises:
        ValueError: an unknown task, or widths that GroupNorm cannot divide.
    """

    def __init__(
        self, task_names: Sequence[str], widths: Sequence[int] = (16, 32, 64, 128)
    ) -> None:
        super().__init__(task_names)
        if unknown := set(task_names) - set(NAMES):
            raise ValueError(f"unknown task(s) {sorted(unknown)}; use some of {', '.join(NAMES)}")
        if len(widths) < 2 or any(wide % 8 for wide in widths):
            raise ValueError(
                f"widths must be two or more multiples of 8 (for GroupNorm); found {tuple(widths)}"
            )
        self.widths = tuple(widths)
        self.down = nn.ModuleList(
            _Block(before, after) for before, after in zip((3, *widths), widths, strict=False)
        )
        self.up = nn.ModuleList(_Block(deep + flat, flat) for flat, deep in pairwise(widths))
        heads: dict[str, nn.Module] = {}
        for name in task_names:
            if name in WHOLE:
                heads[name] = nn.Linear(widths[-1] + widths[0], WHOLE[name])
            else:
                heads[name] = nn.Conv2d(widths[0], 1, 1)
        self.heads = by_task(heads)

    @property
    def step(self) -> int:
        """Height and width of a picture must be multiples of this."""
        return 2 ** (len(self.widths) - 1)

    def own_modules(self, name: str) -> Iterable[nn.Module]:
        """Give the task's head."""
        return [self.heads[f"task_{name}"]]

    def forward(self, pictures: Tensor) -> dict[str, Tensor]:
        """Give every task's output: [B, 3, H, W] from -1 to 1.

        Returns:
            Foreground and boundary as logits and the distance, [B, 1, H, W]; the logarithm of the
            expected count, [B]; the modality as logits [B, 3].

        Raises:
            ValueError: a picture whose sides are no multiples of ``step``.
        """
        height, width = pictures.shape[-2:]
        if height % self.step or width % self.step:
            raise ValueError(
                f"height and width must be multiples of {self.step}; found {height}x{width}. "
                "predict() pads them"
            )
        kept, x = [], pictures
        for depth, block in enumerate(self.down):
            x = block(x if depth == 0 else F.max_pool2d(x, 2))
            kept.append(x)
        deepest = x.mean((2, 3))
        for block, flat in zip(reversed(self.up), reversed(kept[:-1]), strict=True):
            x = block(torch.cat([F.interpolate(x, scale_factor=2.0, mode="nearest"), flat], dim=1))
        summary = torch.cat([deepest, x.mean((2, 3))], dim=1)
        outputs = {}
        for name in self.task_names:
            head = self.heads[f"task_{name}"]
            outputs[name] = head(summary if name in WHOLE else x)
        if "count" in outputs:  # a rate for each 64x64 pixels, so that a crop is no special case
            area = torch.log(torch.tensor(height * width / 4096.0, device=x.device))
            outputs["count"] = outputs["count"][:, 0] + area
        return outputs


class _Block(nn.Module):
    """Two 3x3 convolutions, each with GroupNorm and ReLU, and a shortcut around both."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(inputs, outputs, 3, padding=1, bias=False)
        self.first_norm = nn.GroupNorm(8, outputs)
        self.second = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
        self.second_norm = nn.GroupNorm(8, outputs)
        self.shortcut = nn.Conv2d(inputs, outputs, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu(self.first_norm(self.first(x)))
        return F.relu(self.second_norm(self.second(y)) + self.shortcut(x))


def receptive_field(depths: int) -> int:
    """Give the side in pixels of the square that a pixel of the output can depend on.

    Args:
        depths: number of depths of the network, its full resolution counted.

    Each block looks 2 pixels further at its own scale, on the way down and up again; a pooling
    adds one pixel of the finer scale, and the nearest upsampling one of the finer scale at most.
    """
    reach = 0
    for depth in range(depths):
        blocks = 1 if depth == depths - 1 else 2
        reach += blocks * 2 * 2**depth
    return 2 * reach + 2 ** (depths - 1)


@torch.no_grad()
def predict(
    model: nn.Module, picture: Tensor, *, step: int = 8, at_once: int = 1_500_000
) -> dict[str, Tensor]:
    """Run a whole picture of any size, and turn the outputs into what they mean.

    A picture of more than ``at_once`` pixels is cut into tiles that overlap by the receptive field.
    Percentiles, GroupNorm and the count are of the whole picture nevertheless (see ``tiling``): in
    single precision each map and the modality differ by less than 0.0001 from what the whole
    picture at once gives, the count by less than a thousandth. Beside the picture and the maps, no
    more memory is needed than for ``at_once`` pixels, about 1 GB. The price is time: about ten
    times that of the whole picture at once. Where there is memory, on a GPU say, raise ``at_once``.

    Args:
        model: a ``NucleiNet``; or the module of an exported one, which must have been exported in
            evaluation mode.
        picture: uint8 [3, H, W].
        step: for an exported module: a picture's sides are padded to multiples of this. A
            ``NucleiNet`` says so itself.
        at_once: the most pixels that go through the network together.

    Returns:
        ``"foreground"`` as a probability, ``"boundary"`` as a number from 0 to 1 (where a border
        pixel counted three times in training, 0.5 means one in four), ``"distance"``, [H, W] each;
        ``"count"``, a scalar; ``"modality"``, three probabilities.

    Raises:
        ValueError: the picture is something else.
    """
    where = next(model.parameters()).device
    pixels = stretched(picture)
    height, width = picture.shape[-2:]
    step = getattr(model, "step", step)
    sides = (height + -height % step, width + -width % step)

    def inputs(place: tuple[slice, slice]) -> Tensor:  # the last row and column are repeated
        rows, columns = (
            torch.arange(part.start, part.stop).clamp(max=side - 1)
            for part, side in zip(place, (height, width), strict=True)
        )
        return as_input(pixels[:, rows[:, None], columns].to(where))[None]

    modes = {module: module.training for module in model.modules()}
    try:
        for module in modes:  # an exported module refuses eval()
            module.training = False
        if height * width <= at_once:
            outputs, area = (
                model(inputs((slice(0, sides[0]), slice(0, sides[1])))),
                math.prod(sides),
            )
            outputs = {n: v[0, 0] if n in DENSE else v[0] for n, v in outputs.items()}
        else:
            around = receptive_field(step.bit_length()) // 2 + step // 2
            around += -around % step
            inner = max(int((at_once / 9) ** 0.5) - 2 * around, 8 * step) // step * step
            outputs, area = in_tiles(
                model, inputs, sides, step=step, around=around, inner=inner, dense=DENSE
            )
    finally:
        for module, mode in modes.items():
            module.training = mode
    found = {}
    for name, value in outputs.items():
        value = value.float().cpu()
        if name in DENSE:
            value = value[:height, :width]
            found[name] = value if name == "distance" else value.sigmoid()
        elif name == "count":
            found[name] = value.exp() * (height * width / area)
        else:
            found[name] = value.softmax(0)
    return found


def stretched(picture: Tensor, low: float = 1.0, high: float = 99.8) -> Tensor:
    """Stretch a picture's grey values: uint8 [3, H, W] -> uint8 [3, H, W].

    The ``low``-th percentile of all its values becomes 0, the ``high``-th 255: faint pictures and
    bright ones then look alike. Colours keep their hue, all channels being stretched alike.

    Raises:
        ValueError: it is no such picture.
    """
    check_picture(picture)
    blocks = picture.split(256, dim=1)  # one at a time, to spare memory
    counts = sum(torch.bincount(block.flatten(), minlength=256) for block in blocks)
    counts = counts.double().cumsum(0)
    total = float(counts[-1])
    dark = int((counts > low / 100 * total).nonzero()[0])
    bright = int((counts >= high / 100 * total).nonzero()[0])
    values = (torch.arange(256.0, device=picture.device) - dark) * (255 / max(bright - dark, 1))
    values = values.clamp(0, 255).round().to(torch.uint8)
    found = torch.empty_like(picture)
    for block, new in zip(blocks, found.split(256, dim=1), strict=True):
        new.copy_(values[block.int()])
    return found


def as_input(pictures: Tensor) -> Tensor:
    """Turn grey values 0 to 255 into what the network reads, -1 to 1: float32."""
    return pictures.float() / 127.5 - 1
