"""From the naive training loop to the fast one, a change at a time: ``--speed`` of the command.

Every step keeps the changes of those before it, and trains the same network on crops of the same
kind. What differs is where crops are made, and how numbers lie in memory and are computed with.
"""

from __future__ import annotations

import gc
import math
import os
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from lightning_fabric import Fabric
from scipy import ndimage
from skimage.transform import AffineTransform, warp
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from torch.utils.flop_counter import FlopCounterMode

from mtl_helpers.case_study import targets as make
from mtl_helpers.case_study.batches import Tiles
from mtl_helpers.case_study.model import NucleiNet, as_input
from mtl_helpers.case_study.train import Settings, _Run
from mtl_helpers.training import take_step

STEPS: tuple[tuple[str, dict[str, Any]], ...] = (
    ("naive: float32, crops made one by one by worker processes", {}),
    ("crops and targets made on the device, a batch at once", {}),
    ("channels_last", {"channels_last": True}),
    ("bfloat16 where it is safe", {"precision": "bf16-mixed"}),
    ("torch.compile", {"compile": True}),
)

PEAKS = {  # 10^12 operations a second without sparsity, by NVIDIA's data sheets
    "H200": {"bf16": 989.4, "tf32": 494.7, "fp32": 66.9},
    "H100 PCIe": {"bf16": 756.0, "tf32": 378.0, "fp32": 51.0},
    "H100 80GB HBM3": {"bf16": 989.4, "tf32": 494.7, "fp32": 66.9},
    "A100": {"bf16": 312.0, "tf32": 156.0, "fp32": 19.5},
}


@dataclass(frozen=True)
class Count:
    """How much is measured.

    Attributes:
        warm_up: steps that are not timed: caches fill, a network is compiled.
        steps: steps that are timed.
        workers: processes that make crops for the naive loop; 0 makes them in the loop itself.
    """

    warm_up: int
    steps: int
    workers: int

    @classmethod
    def usual(cls, device: str) -> Count:
        """Give more steps on a GPU, where they are short, than on a processor."""
        workers = max(1, min(16, (os.cpu_count() or 1) - 1))
        # the loader starts with two batches a worker at hand: they must be gone before the clock
        if device == "cuda":
            return cls(warm_up=2 * workers + 10, steps=100, workers=workers)
        return cls(warm_up=2 * workers + 1, steps=10, workers=workers)


class OneByOne(Dataset[tuple[Tensor, dict[str, Tensor]]]):
    """Crops with their targets, each made by itself with scikit-image and SciPy.

    Crop k is drawn as ``make_batch`` draws the crop of a batch of one with the seed ``seed + k``.

    Args:
        source: the tiles; they come in a drawn order, each once before any comes again.
        settings: crop, augmentation and seed.
        length: how many crops there are.
    """

    def __init__(self, source: Tiles, settings: Settings, length: int) -> None:
        self.images = source.images.permute(0, 2, 3, 1).cpu().numpy()
        self.labels = source.labels.cpu().numpy()
        self.modality = source.modality.cpu()
        self.settings, self.length = settings, length
        generator = torch.Generator().manual_seed(settings.seed)
        self.order = torch.randperm(len(source), generator=generator).tolist()

    def __len__(self) -> int:
        """Give the number of crops."""
        return self.length

    def __getitem__(self, k: int) -> tuple[Tensor, dict[str, Tensor]]:
        """Give crop k, [3, crop, crop], and its targets."""
        tile, how = self.order[k % len(self.order)], self.settings.augmentation
        seed = self.settings.seed + k
        draw = torch.rand(9, generator=torch.Generator().manual_seed(seed)).tolist()
        place = AffineTransform(self._matrix(draw))
        shape = (self.settings.crop, self.settings.crop)
        image = self.images[tile].astype(np.float32)
        image = warp(image, place, output_shape=shape, order=1, mode="symmetric")
        number = self.labels[tile].astype(np.float32)
        number = warp(number, place, output_shape=shape, order=0, mode="symmetric")
        number = number.round().astype(np.int64)

        picture = as_input(torch.from_numpy(image).permute(2, 0, 1))
        picture = picture * (1 + how.light * (2 * draw[6] - 1)) + how.light * (2 * draw[7] - 1)
        if how.noise:
            grain = np.random.default_rng(seed).standard_normal(shape, dtype=np.float32)
            picture = picture + how.noise * draw[8] * torch.from_numpy(grain)
        return picture.float().contiguous(), {
            "foreground": torch.from_numpy(number > 0).float()[None],
            "boundary": torch.from_numpy(_boundary(number)).float()[None],
            "distance": torch.from_numpy(make.distance(number))[None],
            "count": torch.tensor(float(np.unique(number[number > 0]).size)),
            "modality": self.modality[tile],
        }

    def _matrix(self, draw: list[float]) -> np.ndarray:
        """Give the map from a pixel of the crop to the place in the tile it shows."""
        crop, size, how = self.settings.crop, self.images.shape[1], self.settings.augmentation
        scale = how.scale ** (2 * draw[0] - 1)
        angle, mirror = math.radians(how.angle * (2 * draw[1] - 1)), 1.0
        if how.flips:
            angle += math.floor(4 * draw[2]) * math.pi / 2
            mirror = -1.0 if draw[3] < 0.5 else 1.0
        room = (size - crop) / 2
        shift = [math.floor(x * (2 * room + 1)) - room for x in draw[4:6]]
        cos, sin = math.cos(angle) / scale, math.sin(angle) / scale
        turn = np.array([[cos * mirror, -sin], [sin * mirror, cos]])
        matrix = np.eye(3)
        matrix[:2, :2] = turn
        matrix[:2, 2] = (size - 1) / 2 + np.array(shift) - turn.sum(1) * (crop - 1) / 2
        return matrix


def _boundary(number: np.ndarray) -> np.ndarray:
    """Mark borders as ``targets.boundary`` does: [H, W] -> bool [H, W]."""
    highest = ndimage.maximum_filter(number, 3, mode="nearest")
    lowest = ndimage.minimum_filter(number, 3, mode="nearest")
    nuclei_only = np.where(number > 0, number, number.max() + 1)
    lowest_nucleus = ndimage.minimum_filter(nuclei_only, 3, mode="nearest")
    inside = (number > 0) & (highest != lowest)
    between = (number == 0) & (highest > 0) & (highest != lowest_nucleus)
    return inside | between


def measure_speed(
    settings: Settings,
    data: Tiles,
    device: str,
    *,
    count: Count | None = None,
    compiled: bool = True,
    say: Callable[[str], None] = print,
) -> list[dict[str, Any]]:
    """Measure training, from the naive loop to the fast one.

    Args:
        settings: the network and its crops; precision, layout and compilation are each step's own.
        data: tiles to cut crops from.
        device: ``"cpu"`` or ``"cuda"``.
        count: how much is measured; as the device usually needs, when left out.
        compiled: whether to measure ``torch.compile``, too.
        say: gets a line a step.

    Returns:
        A row a step: ``"step"`` in words, ``"device"``, ``"pictures_per_second"`` over all timed
        steps, ``"seconds"`` (median of a step), ``"times_the_first"`` (pictures a second over
        those of the first row), ``"peak_memory_mib"`` (GPU only), ``"flops_per_picture"`` (forward
        and backward; a multiplication and an addition are two), ``"share_of_peak"`` (see
        :func:`share_of_peak`) and ``"note"``: what was not measured has None for numbers, and the
        note says why.
    """
    count = count or Count.usual(device)
    name = torch.cuda.get_device_name() if device == "cuda" else "cpu"
    flops = flops_per_picture(settings)
    settings = settings.but(precision="32-true", channels_last=False, compile=False)
    rows: list[dict[str, Any]] = []
    for number, (step, changes) in enumerate(STEPS):
        settings = settings.but(**changes)
        row: dict[str, Any] = {"step": step, "device": name}
        row |= dict.fromkeys(
            ("pictures_per_second", "seconds", "times_the_first", "peak_memory_mib")
        )
        row |= {"flops_per_picture": flops, "share_of_peak": None, "note": ""}
        rows.append(row)
        if settings.compile and not compiled:
            row["note"] = "not measured: compiling pays on a GPU"
        else:
            try:
                seconds, memory = _time(settings, data, device, count, naive=number == 0)
            except RuntimeError as error:  # no compiler, or a type the processor does not know
                if number < 3:
                    raise
                what = str(error).strip().splitlines() or [""]
                row["note"] = f"not measured: {type(error).__name__}: {what[0]}"[:200]
            else:
                rate = settings.batch * len(seconds) / sum(seconds)
                row["pictures_per_second"] = rate
                row["seconds"] = statistics.median(seconds)
                row["times_the_first"] = rate / rows[0]["pictures_per_second"]
                row["peak_memory_mib"] = memory
                row["share_of_peak"] = share_of_peak(flops * rate, name, _kind(settings))
        say(_line(row))
    return rows


def _line(row: Mapping[str, Any]) -> str:
    if row["note"]:
        return f"{row['step']}: {row['note']}"
    return (
        f"{row['step']}: {row['pictures_per_second']:.1f} pictures a second, "
        f"{row['times_the_first']:.2f} times the first"
    )


def _time(
    settings: Settings, data: Tiles, device: str, count: Count, *, naive: bool
) -> tuple[list[float], float | None]:
    """Give the seconds of every timed step, and the largest memory of a GPU in MiB."""
    total = count.warm_up + count.steps
    settings = settings.but(steps=total, evaluate_every=total)
    fabric = Fabric(accelerator=device, devices=1, precision=settings.precision)
    # the naive loop needs no tiles on the device
    on_device = data.subset(torch.tensor([0])) if naive else data
    run = _Run(settings, on_device, None, fabric)
    batches = None
    if naive:
        crops = OneByOne(data, settings, total * settings.batch)
        batches = iter(DataLoader(crops, settings.batch, num_workers=count.workers))
    seconds = []
    for number in range(total):
        if number == count.warm_up and device == "cuda":  # pragma: needs a GPU
            torch.cuda.reset_peak_memory_stats()
        _wait(device)
        begun = time.perf_counter()
        if batches is None:
            run.one_step()
        else:
            _naive_step(run, *next(batches))
        _wait(device)
        if number >= count.warm_up:
            seconds.append(time.perf_counter() - begun)
    memory = None
    if device == "cuda":  # pragma: needs a GPU
        memory = torch.cuda.max_memory_allocated() / 2**20
    del run, batches
    gc.collect()
    if device == "cuda":  # pragma: needs a GPU
        torch.cuda.empty_cache()
    return seconds, memory


def _naive_step(run: _Run, pictures: Tensor, targets: Mapping[str, Tensor]) -> None:
    """Take a step as ``train`` does, on a batch that comes from elsewhere."""
    pictures = pictures.to(run.fabric.device)
    there = {name: target.to(run.fabric.device) for name, target in targets.items()}
    run.network.train()
    losses = take_step(
        run.network, run.balance, run.optimizer, run.tasks, pictures, there,
        {"step": run.step, "epoch": run.step, "steps_per_epoch": 1},
    )  # fmt: skip
    run.schedule.step()
    run.average.update_parameters(run.plain)
    run.step += 1
    run.sums += losses.cpu().double()


def _wait(device: str) -> None:
    """Let a GPU finish what it was given: it works on while the program goes on."""
    if device == "cuda":  # pragma: needs a GPU
        torch.cuda.synchronize()


def flops_per_picture(settings: Settings) -> int:
    """Count the operations of a forward and a backward pass of one crop, without computing any.

    Those of convolutions and linear layers count, a multiplication and an addition as two.
    """
    with torch.device("meta"):  # tensors with a shape and no numbers
        network = NucleiNet(settings.tasks, settings.widths)
        picture = torch.empty(1, 3, settings.crop, settings.crop)
    with FlopCounterMode(display=False) as counter:
        torch.stack([output.sum() for output in network(picture).values()]).sum().backward()
    return counter.get_total_flops()


def share_of_peak(flops_per_second: float, device: str, kind: str) -> float | None:
    """Give the operations a second as a share of what a GPU could do at most.

    Args:
        flops_per_second: what was reached.
        device: what PyTorch calls the GPU.
        kind: ``"bf16"``, ``"tf32"`` (float32 with short factors, what PyTorch's convolutions use on
            such GPUs unless told otherwise) or ``"fp32"``.

    Returns:
        The share, or None where ``PEAKS`` does not hold the device, or only a part of it is used.
    """
    if "MIG" in device or "NVL" in device:  # a slice; a slower sister
        return None
    found = [peak for name, peak in PEAKS.items() if name in device]
    return flops_per_second / (found[0][kind] * 1e12) if found else None


def _kind(settings: Settings) -> str:
    if settings.precision == "bf16-mixed":
        return "bf16"
    return "tf32" if torch.backends.cudnn.allow_tf32 else "fp32"
