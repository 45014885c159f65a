"""Run a picture through a network tile by tile, with the result of the whole picture.

Convolutions look at most a receptive field far, so that tiles which overlap by it lose nothing.
GroupNorm and the means over the picture look at all of it. Their numbers are therefore gathered
from all tiles first: the first pass over the tiles runs up to the first GroupNorm and adds up sums
and squares of its input; the next pass, knowing these, up to the second, and so on. The last pass
runs through, and adds up the means over the picture.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Container, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

Place = tuple[slice, slice]  # rows and columns


def in_tiles(
    model: nn.Module,
    inputs: Callable[[Place], Tensor],
    sides: Sequence[int],
    *,
    step: int,
    around: int,
    inner: int,
    dense: Container[str],
) -> tuple[dict[str, Tensor], int]:
    """Run a picture in tiles; what a tile of one colour gives is computed once.

    Args:
        model: a network of convolutions, poolings, GroupNorm and means over [H, W], in evaluation
            mode, without gradients.
        inputs: gives the network's input [1, C, h, w] of a rectangle.
        sides: height and width of the picture, multiples of ``step``.
        step: tiles start at multiples of this, so that they are pooled as the picture is.
        around: how far a pixel looks; a multiple of ``step``.
        inner: side of the part of a tile that is kept; a multiple of ``step``.
        dense: names of the outputs that are maps; the others are of the whole picture.

    Returns:
        Outputs by name, maps as [H, W] on the processor and others as [...] for one picture; and
        the number of pixels that an output which depends on the area was made for.
    """
    whole = _WholePicture()
    maps: dict[str, Tensor] = {}
    places = _places(sides, around, inner)
    while not whole.complete:
        blank: dict[Any, Any] = {}
        whole.begin()
        for own, place, kept in places:
            x = inputs(place).contiguous(memory_format=torch.channels_last)  # faster
            one_colour = bool((x == x[..., :1, :1]).all())
            key = (*x[0, :, 0, 0].tolist(), x.shape[2:], str(kept)) if one_colour else None
            result = blank.get(key) or whole.run(model, x, kept)
            if key is not None:
                blank[key] = result
            whole.add(result[0])
            for name, value in result[1].items():
                if name in dense:
                    new = maps.setdefault(name, torch.empty(*sides, dtype=value.dtype))
                    new[own] = value[0, 0][kept].cpu()
        whole.end()
    outputs = whole.run(model, x, kept)[1]  # once more, now with the means over the picture
    return {n: maps.get(n, value[0]) for n, value in outputs.items()}, x.shape[2] * x.shape[3]


def _places(sides: Sequence[int], around: int, inner: int) -> list[tuple[Place, Place, Place]]:
    """List the tiles: what is kept, what is run, and where in the latter the former lies."""
    found = []
    for top in range(0, sides[0], inner):
        for left in range(0, sides[1], inner):
            own, run, kept = [], [], []
            for start, side in zip((top, left), sides, strict=True):
                stop = min(start + inner, side)
                first = max(start - around, 0)
                own.append(slice(start, stop))
                run.append(slice(first, min(stop + around, side)))
                kept.append(slice(start - first, stop - first))
            found.append((tuple(own), tuple(run), tuple(kept)))
    return found


class _Enough(Exception):  # noqa: N818 (no error)
    """A pass over a tile has seen what it was for."""


class _WholePicture(TorchDispatchMode):
    """Give GroupNorm and means over [H, W] the numbers of the whole picture.

    It works below the modules, on PyTorch's own operations, so that an exported network, which has
    no modules left, is treated alike.
    """

    def __init__(self) -> None:
        super().__init__()
        self.norms: list[tuple[Tensor, Tensor]] = []  # mean and 1 / deviation of each group
        self.means: dict[int, Tensor] = {}  # by channel
        self.complete = False

    def begin(self) -> None:
        """Begin a pass over all tiles."""
        self.totals: dict[Any, Tensor] = {}

    def run(self, model: nn.Module, x: Tensor, kept: Place) -> tuple[dict, dict[str, Tensor]]:
        """Run a tile: what it adds to the sums, and the outputs, if it came so far."""
        self.kept, self.height = kept, x.shape[2]
        self.seen: Counter[str] = Counter()
        self.added: dict[Any, Tensor] = {}
        try:
            with self:
                return self.added, model(x)
        except _Enough:
            return self.added, {}

    def add(self, parts: dict[Any, Tensor]) -> None:
        """Add what a tile gave."""
        for key, part in parts.items():
            self.totals[key] = self.totals[key] + part if key in self.totals else part

    def end(self) -> None:
        """Turn the sums of a pass into statistics."""
        if "norm" in self.totals:
            total, squares, count = self.totals["norm"]
            mean = total / count
            variance = (squares / count - mean**2).clamp(min=0)
            self.norms.append((mean, (variance + self.eps).rsqrt()))
            return
        self.means = {key: total / count for key, (total, count) in self.totals.items()}
        self.complete = True

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if func is torch.ops.aten.native_group_norm.default:
            return self._norm(*args)
        if func is torch.ops.aten.mean.dim and list(args[1]) == [2, 3]:
            return self._mean(args[0])
        return func(*args, **(kwargs or {}))

    def _sums(self, x: Tensor, groups: int) -> Tensor:
        """Sum up the part of a tile that is kept, by group; the last row counts: [3, groups]."""
        scale = self.height // x.shape[2]  # how often it was halved
        rows, columns = (slice(part.start // scale, part.stop // scale) for part in self.kept)
        part = x[0, :, rows, columns].reshape(groups, -1)
        variance, mean = (value.cpu().double() for value in torch.var_mean(part, 1, correction=0))
        count = torch.full_like(mean, part.shape[1])
        return torch.stack([mean * count, (variance + mean**2) * count, count])

    def _norm(
        self, x: Tensor, weight: Tensor, bias: Tensor, n: int, c: int, hw: int, groups: int,
        eps: float,
    ) -> tuple[Tensor, Tensor, Tensor]:  # fmt: skip
        number = self.seen["norm"]
        self.seen["norm"] += 1
        if number == len(self.norms):
            self.eps = eps
            self.added = {"norm": self._sums(x, groups)}
            raise _Enough
        mean, inverse = (part.repeat_interleave(c // groups) for part in self.norms[number])
        slope = inverse * weight.cpu()
        shift = (bias.cpu() - mean * slope).to(x)[:, None, None]
        return torch.addcmul(shift, x, slope.to(x)[:, None, None]), mean, inverse

    def _mean(self, x: Tensor) -> Tensor:
        number = self.seen["mean"]
        self.seen["mean"] += 1
        if self.complete:
            return self.means[number][None].to(x)
        total, _, count = self._sums(x, x.shape[1])
        self.added[number] = torch.stack([total, count])
        return (total / count)[None].to(x)
