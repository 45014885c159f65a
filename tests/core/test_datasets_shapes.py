"""Shapes in images: the class is what was drawn, the box is where."""

from __future__ import annotations

import pytest
import torch

from mtl_helpers.datasets.shapes import SHAPES, SIDES, render, shapes


def test_shapes_and_types_of_the_parts():
    splits = shapes(train=7, valid=5, test=3, size=20)
    assert [len(part) for part in splits] == [7, 5, 3]
    assert splits.train.inputs.shape == (7, 1, 20, 20)
    assert splits.train.inputs.dtype == splits.train.targets["box"].dtype == torch.float64
    assert splits.train.targets["class"].dtype == torch.long
    assert splits.train.targets["box"].shape == (7, 4)


def test_boxes_lie_inside_the_image_with_the_sides_stated():
    centre, sides = shapes(train=500).train.targets["box"].split(2, dim=1)
    assert (centre - sides / 2).min() >= 0 and (centre + sides / 2).max() <= 1
    assert sides.min() >= SIDES[0] and sides.max() <= SIDES[1]
    assert sides.max() > 0.55 and sides.min() < 0.35


def test_every_class_is_drawn():
    counts = torch.bincount(shapes(train=600).train.targets["class"], minlength=len(SHAPES))
    assert counts.min() > 150


@pytest.mark.parametrize("kind", range(len(SHAPES)))
def test_the_box_is_the_tight_box_of_the_mask(kind):
    boxes = shapes(train=50).train.targets["box"]
    masks = render(torch.full((50,), kind), boxes, 200) > 0
    for box, mask in zip(boxes, masks, strict=True):
        rows, columns = mask.any(1).nonzero(), mask.any(0).nonzero()
        found = [columns.min(), columns.max() + 1, rows.min(), rows.max() + 1]
        cx, cy, w, h = box.tolist()
        expected = [cx - w / 2, cx + w / 2, cy - h / 2, cy + h / 2]
        assert [float(f) / 200 for f in found] == pytest.approx(expected, abs=0.015)


def test_the_share_of_the_box_that_is_filled_tells_the_classes_apart():
    box = torch.tensor([[0.5, 0.5, 0.6, 0.4]], dtype=torch.float64).expand(3, 4)
    filled = render(torch.arange(3), box, 300).mean((1, 2)) / (0.6 * 0.4)
    assert filled.tolist() == pytest.approx([torch.pi / 4, 1.0, 0.5], abs=0.01)


def test_a_triangle_points_up():
    box = torch.tensor([[0.5, 0.5, 0.6, 0.6]], dtype=torch.float64)
    rows = render(torch.tensor([SHAPES.index("triangle")]), box, 40)[0].sum(1)
    inside = rows[rows > 0]
    assert torch.equal(inside, inside.sort().values) and inside[0] < inside[-1]


def test_noise_is_as_stated_and_shapes_stand_out_of_it():
    data = shapes(train=200, noise=0.1).train
    mask = render(data.targets["class"], data.targets["box"], 24) > 0
    pixels = data.inputs[:, 0]
    assert float(pixels[~mask].std()) == pytest.approx(0.1, rel=0.05)
    assert abs(float(pixels[~mask].mean())) < 0.01
    assert 0.7 < float(pixels[mask].mean()) < 0.8


def test_one_seed_one_data_set_and_parts_that_differ():
    a, b, c = (shapes(train=9, valid=9, test=9, seed=seed) for seed in (4, 4, 5))
    assert torch.equal(a.train.inputs, b.train.inputs)
    assert not torch.equal(a.train.inputs, c.train.inputs)
    assert not torch.equal(a.train.inputs, a.test.inputs)
    assert torch.equal(a.test.inputs, shapes(train=3, valid=9, test=9, seed=4).test.inputs)


def test_a_tiny_image_is_refused():
    with pytest.raises(ValueError, match="at least 12 pixels; found 8"):
        shapes(size=8)
