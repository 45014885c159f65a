"""What the nuclei study costs on a processor, as ratios within one run and times of one picture."""

from __future__ import annotations

import time

import numpy as np
import pytest
import torch
from scipy import ndimage
from skimage.segmentation import find_boundaries
from skimage.transform import AffineTransform, warp

from mtl_helpers.case_study import scores, targets
from mtl_helpers.case_study.batches import Augmentation, make_batch, tiles
from mtl_helpers.case_study.instances import WAYS, separate
from mtl_helpers.case_study.nuclei import draw_nuclei
from mtl_helpers.lessons.lesson_04.studies import time_ratios


@pytest.fixture(scope="module")
def drawn():
    return draw_nuclei(8, 256, seed=0)


def one_by_one(drawn, source, rng, crop=192):
    """Make a batch as usual: for each crop scikit-image moves the picture, SciPy measures."""
    for i in range(len(drawn)):
        image = source.images[i].permute(1, 2, 0).numpy().astype(np.float32)
        label = source.labels[i].numpy().astype(np.float32)
        angle, scale = rng.uniform(-0.26, 0.26), rng.uniform(0.8, 1.25)
        shift = rng.uniform(0, 256 - crop, 2)
        move = AffineTransform(rotation=angle, scale=scale, translation=shift)
        moved = warp(image, move, order=1, mode="reflect", output_shape=(crop, crop))
        number = warp(label, move, order=0, mode="reflect", output_shape=(crop, crop)).astype(int)
        find_boundaries(number, mode="thick")
        targets.distance(number)
        moved *= rng.uniform(0.8, 1.2) / 127.5
        moved += rng.uniform(-1.2, -0.8) + rng.normal(size=(crop, crop, 1)) * 0.05
        np.unique(number)


def test_crops_and_targets_of_a_batch_are_made_faster_than_one_by_one(drawn):
    source = tiles(drawn, 256)
    rng, generator = np.random.default_rng(0), torch.Generator().manual_seed(0)
    chosen = torch.arange(len(drawn))
    ratios = time_ratios(
        {
            "batch": lambda: make_batch(source, chosen, 192, generator, Augmentation()),
            "one by one": lambda: one_by_one(drawn, source, rng),
        },
        "batch",
        rounds=25,
    )
    print("times a batch made at once:", {k: round(v, 2) for k, v in ratios.items()})
    assert ratios["one by one"] >= 3


def brute(found, true):
    """Compare every mask with every mask, as the challenge's kernels do."""
    ours, theirs = ([x == k for k in np.unique(x)[1:]] for x in (found, true))
    table = np.array([[(a & b).sum() / (a | b).sum() for b in theirs] for a in ours])
    return [(table > t).sum() for t in scores.THRESHOLDS]


def test_scores_are_ten_times_faster_than_a_double_loop(drawn):
    true = drawn.labels[0].numpy()
    found = ndimage.label(true > 0)[0]
    assert brute(found, true) == scores.match(found, true).tp.tolist()
    ratios = time_ratios(
        {"match": lambda: scores.match(found, true), "loop": lambda: brute(found, true)},
        "match",
        rounds=5,
    )
    print(f"{int(true.max())} nuclei, times match:", {k: round(v, 1) for k, v in ratios.items()})
    assert ratios["loop"] >= 10


@pytest.mark.parametrize("way", WAYS)
def test_separating_a_picture_takes_at_most_40_ms(drawn, way):
    label = drawn.labels[0]
    maps = {
        "foreground": targets.foreground(label[None])[0, 0].numpy(),
        "boundary": targets.boundary(label[None])[0, 0].numpy(),
        "distance": targets.distance(label),
    }
    seconds = []
    for _ in range(9):
        begun = time.perf_counter()
        separate(maps, way)
        seconds.append(time.perf_counter() - begun)
    print(f"{way}: {1000 * float(np.median(seconds)):.1f} ms for 256x256 pixels")
    assert np.median(seconds) <= 0.04
