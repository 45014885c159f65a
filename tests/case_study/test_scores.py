"""Scores, targets and separation of nuclei, on maps small enough to count by hand."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mtl_helpers.case_study import scores, targets
from mtl_helpers.case_study.instances import (
    GRID,
    LEVELS,
    WAYS,
    classical,
    otsu_mask,
    separate,
)
from mtl_helpers.case_study.nuclei import draw_nuclei

TWO = np.array(  # two nuclei that touch, and one in the corner
    [
        [0, 0, 0, 0, 0, 3],
        [0, 1, 1, 2, 2, 0],
        [0, 1, 1, 2, 2, 0],
        [0, 1, 1, 2, 2, 0],
        [0, 1, 1, 2, 2, 0],
        [0, 0, 0, 0, 0, 0],
    ]
)


def counts(found, true, thresholds=(0.5,)):
    m = scores.match(np.array(found), np.array(true), thresholds)
    return [m.tp.tolist(), m.fp.tolist(), m.fn.tolist()]


# -------------------------------------------------------------------------------------- scores


def test_perfect_empty_merged_split_and_shifted():
    empty = np.zeros_like(TWO)
    assert counts(TWO, TWO) == [[3], [0], [0]]
    assert scores.match(TWO, TWO).ap.tolist() == [1.0] * 10 == scores.match(TWO, TWO).f1.tolist()
    assert counts(empty, TWO) == [[0], [0], [3]]
    assert counts(TWO, empty) == [[0], [3], [0]]
    nothing = scores.match(empty, empty)
    assert nothing.ap.tolist() == [1.0] * 10 == nothing.f1.tolist()
    merged = np.where(TWO == 2, 1, TWO)  # IoU with each half exactly 0.5: not above it
    assert counts(merged, TWO) == [[1], [1], [2]]
    assert counts(merged, TWO, (0.49,)) == [[2], [0], [1]]  # it can stand for one of them only
    split = TWO.copy()
    split[1:3, 3:5] = 4
    assert counts(split, TWO) == [[2], [2], [1]]
    moved = np.roll(TWO, 1, axis=0)  # one pixel down: 6 of 10 pixels in common for the large ones
    moved[0] = 0
    assert counts(moved, TWO, (0.5, 0.59, 0.6)) == [[2, 2, 0], [1, 1, 3], [1, 1, 3]]


def test_ap_and_f1_by_hand():
    m = scores.match(np.where(TWO == 3, 0, TWO), TWO, (0.5,))
    assert m.ap.tolist() == [2 / 3] and m.f1.tolist() == [2 * 2 / 5]


def test_labels_may_be_any_numbers():
    strange = np.select([TWO == 1, TWO == 2, TWO == 3], [70, 5, 1000])
    np.testing.assert_array_equal(scores.iou_table(strange, TWO), [[0, 1, 0], [1, 0, 0], [0, 0, 1]])
    huge = np.where(TWO > 0, TWO * 10**9, 0)
    np.testing.assert_array_equal(scores.iou_table(huge, TWO), np.eye(3))
    np.testing.assert_array_equal(
        scores.iou_table(torch.tensor(strange), torch.tensor(TWO)), scores.iou_table(strange, TWO)
    )


def brute(found, true):
    ours, theirs = (sorted(set(x.ravel()) - {0}) for x in (found, true))
    table = np.zeros((len(ours), len(theirs)))
    for i, a in enumerate(ours):
        for j, b in enumerate(theirs):
            both, either = (found == a) & (true == b), (found == a) | (true == b)
            table[i, j] = both.sum() / either.sum()
    return table


def largest_matching(hit):
    """Try everything: the first found nucleus takes each true one, or none."""
    if not len(hit):
        return 0
    best = largest_matching(hit[1:])
    for j in np.flatnonzero(hit[0]):
        rest = hit[1:].copy()
        rest[:, j] = False
        best = max(best, 1 + largest_matching(rest))
    return best


@settings(max_examples=150, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 5), st.floats(0, 0.95))
def test_against_brute_force(seed, most, threshold):
    rng = np.random.default_rng(seed)
    found, true = (rng.integers(0, most + 1, (5, 6)).repeat(2, 0) for _ in range(2))
    if rng.random() < 0.5:  # similar ones, so that something matches
        found = np.where(rng.random(true.shape) < 0.85, true, found)
    table = brute(found, true)
    np.testing.assert_allclose(scores.iou_table(found, true), table, atol=1e-12)
    m = scores.match(found, true, (threshold,))
    assert m.tp[0] == largest_matching(table > threshold)
    assert m.tp[0] + m.fp[0] == table.shape[0] and m.tp[0] + m.fn[0] == table.shape[1]


def test_sums_and_means_over_pictures():
    empty = np.zeros_like(TWO)
    several = [scores.match(TWO, TWO, (0.5,)), scores.match(empty, TWO, (0.5,))]
    whole = scores.total(several)
    assert (whole.tp.tolist(), whole.fp.tolist(), whole.fn.tolist()) == ([3], [0], [3])
    assert whole.ap.tolist() == [0.5] and scores.mean_ap(several).tolist() == [0.5]
    several.append(scores.match(TWO[:3], TWO[:3], (0.5,)))
    assert scores.mean_ap(several).tolist() == [2 / 3]
    with pytest.raises(ValueError, match="found 0 with 0 sets"):
        scores.total([])
    with pytest.raises(ValueError, match="found 2 with 2 sets"):
        scores.total([several[0], scores.match(TWO, TWO, (0.6,))])


def test_what_scores_refuse():
    with pytest.raises(ValueError, match=r"shapes \(6, 6\) and \(5, 6\)"):
        scores.match(TWO, TWO[:5])
    for bad in (TWO * 0.5, TWO[0], -TWO):
        with pytest.raises(ValueError, match="found must be a label map"):
            scores.match(bad, TWO)
    for levels in ((), (1.0,), (-0.1,)):
        with pytest.raises(ValueError, match="0 <= t < 1"):
            scores.match(TWO, TWO, levels)


def test_thresholds_are_those_of_the_challenge():
    assert (
        pytest.approx((0.5, 0.55, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95)) == scores.THRESHOLDS
    )
    assert scores.THRESHOLDS[0] == 0.5


def test_boundary_f1():
    line = np.zeros((9, 9), bool)
    line[4] = True
    moved, empty = np.roll(line, 2, axis=0), np.zeros_like(line)
    assert scores.boundary_f1(line, line) == 1.0 == scores.boundary_f1(empty, empty)
    assert scores.boundary_f1(moved, line) == 1.0
    assert scores.boundary_f1(moved, line, tolerance=1.9) == 0.0
    assert scores.boundary_f1(empty, line) == 0.0 == scores.boundary_f1(line, empty)
    half = line.copy()
    half[4, 5:] = False  # all found ones are right; columns 0 to 6 are within 2 of them
    assert scores.boundary_f1(half, line) == pytest.approx(2 * 7 / 9 / (1 + 7 / 9))


# ------------------------------------------------------------------------------------- targets


def test_targets_of_a_map_drawn_by_hand():
    labels = torch.tensor(TWO)[None]
    assert torch.equal(targets.foreground(labels)[0, 0], torch.tensor(TWO > 0).float())
    assert targets.count(labels).tolist() == [3]
    # every pixel of the 2-wide nuclei is on a border; so is the background beside two of them
    expected = torch.tensor(TWO > 0).float()
    for row, column in ((0, 2), (0, 3), (0, 4), (1, 5), (5, 2), (5, 3)):
        expected[row, column] = 1
    assert torch.equal(targets.boundary(labels)[0, 0], expected)
    wide = torch.zeros(1, 6, 6, dtype=torch.long)
    wide[0, 1:, 1:] = 1  # goes on beyond the right and lower edge: no border there
    expected = torch.zeros(6, 6)
    expected[1, 1:] = expected[1:, 1] = 1
    assert torch.equal(targets.boundary(wide)[0, 0], expected)


def test_distance_of_a_map_drawn_by_hand():
    label = np.zeros((6, 6), int)
    label[:5, 1:6] = 2  # columns 1 to 5; the picture ends right of it and above it
    label[5, 0] = 5
    found = targets.distance(torch.tensor(label))
    assert found.dtype == np.float32 and found[5, 0] == 1
    expected = np.array([1, 2, 3, 4, 5])[None] * np.ones((5, 1))  # from the left
    from_below = np.arange(5, 0, -1)[:, None] * np.ones((1, 5))
    nearest = np.minimum(expected, from_below)
    np.testing.assert_allclose(found[:5, 1:], nearest / nearest.max(), rtol=1e-6)
    assert not found[5, 1:].any() and not found[:5, 0].any()


def test_distance_is_one_in_the_middle_of_every_nucleus():
    for label in draw_nuclei(4, 96, seed=3).labels:
        found = targets.distance(label)
        for k in range(1, int(label.max()) + 1):
            assert found[label.numpy() == k].max() == 1 and found[label.numpy() == k].min() > 0
        assert not found[label.numpy() == 0].any()


def test_a_nucleus_that_fills_the_picture():
    assert targets.distance(np.ones((4, 4), int)).tolist() == [[1] * 4] * 4


def test_count_of_a_batch():
    labels = torch.tensor(np.stack([TWO, np.zeros_like(TWO), TWO * 7]))
    assert targets.count(labels).tolist() == [3, 0, 3]


# ---------------------------------------------------------------------------------- separation


def maps_of(label):
    label = torch.as_tensor(label)
    return {
        "foreground": targets.foreground(label[None])[0, 0],
        "boundary": targets.boundary(label[None])[0, 0],
        "distance": targets.distance(label),
    }


def two_discs():
    y, x = np.mgrid[:40, :60]
    first, second = (((y - 20) ** 2 + (x - c) ** 2) < 121 for c in (20, 38))
    return np.where(first, 1, np.where(second, 2, 0))


@pytest.mark.parametrize("way", WAYS[1:])
def test_true_maps_bring_two_touching_nuclei_back(way):
    label = two_discs()
    m = scores.match(separate(maps_of(label), way), label, (0.5, 0.85))
    assert m.ap.tolist() == [1, 1]


def test_components_merge_what_touches():
    assert separate(maps_of(two_discs()), "components").max() == 1


@pytest.mark.parametrize("way", WAYS)
def test_a_piece_without_a_marker_is_one_nucleus(way):
    maps = maps_of(two_discs())
    maps["distance"] = np.zeros_like(maps["distance"])
    maps["boundary"] = torch.ones_like(maps["boundary"])
    found = separate(maps, way)
    mask = maps["foreground"].numpy() > 0
    assert (found[mask] > 0).all() and not found[~mask].any()
    assert found.max() == (2 if way == "mask" else 1) and found.dtype == np.int32


@pytest.mark.parametrize("way", WAYS)
def test_nothing_there_nothing_found_and_crumbs_are_dropped(way):
    maps = {name: np.zeros((20, 20)) for name in ("foreground", "boundary", "distance")}
    assert not separate(maps, way).any()
    maps["foreground"][2:5, 2:5] = maps["distance"][2:5, 2:5] = 1  # 9 pixels
    assert not separate(maps, way).any()
    assert separate(maps, way, smallest=9).max() == 1


def test_threshold():
    maps = {"foreground": np.full((20, 20), 0.4)}
    assert not separate(maps, "mask").any()
    assert separate(maps, "components", threshold=0.3).all()


def test_only_the_maps_that_a_way_names_are_used():
    maps = maps_of(two_discs())
    for way, unused in (("mask", "distance"), ("boundary", "distance"), ("distance", "boundary")):
        spoilt = {**maps, unused: 1 - np.asarray(maps[unused])}
        np.testing.assert_array_equal(separate(spoilt, way), separate(maps, way))


def test_levels_say_what_a_marker_is():
    maps = maps_of(two_discs())  # 18 pixels apart
    for way, low, high in (("mask", 3, 25), ("boundary", 0.5, 1.1), ("distance", 0.5, -0.1)):
        assert separate(maps, way, levels={way: low}).max() == 2
        assert separate(maps, way, levels={way: high}).max() == 1
        default = separate(maps, way)
        np.testing.assert_array_equal(default, separate(maps, way, levels={way: LEVELS[way]}))
        assert LEVELS[way] in GRID[way]
    low, high = {"boundary": 1.1, "distance": 0.5}, {"boundary": 1.1, "distance": -0.1}
    assert separate(maps, "both", levels=low).max() == 2
    assert separate(maps, "both", levels=high).max() == 1


def test_what_separate_refuses():
    maps = maps_of(two_discs())
    with pytest.raises(ValueError, match=r"unknown level\(s\) \['count'\]; use some of mask"):
        separate(maps, "mask", levels={"count": 1})
    with pytest.raises(ValueError, match="unknown way to separate nuclei: 'magic'"):
        separate(maps, "magic")
    with pytest.raises(KeyError, match=r"missing \['distance'\]"):
        separate({"foreground": maps["foreground"]}, "distance")
    with pytest.raises(ValueError, match=r"one shape \[H, W\]; found"):
        separate({**maps, "distance": maps["distance"][1:]}, "distance")


def test_without_learning():
    y, x = np.mgrid[:40, :80]
    discs = sum((((y - 20) ** 2 + (x - c) ** 2) < 100).astype(int) for c in (20, 60))
    picture = np.repeat((30 + 150 * discs)[None], 3, 0).astype(np.uint8)
    for seen in (picture, 255 - picture):  # bright on dark, dark on bright
        m = scores.match(classical(torch.tensor(seen)), discs * (1 + (x > 40)), (0.8,))
        assert m.ap.tolist() == [1]
        assert (otsu_mask(seen) == discs).mean() > 0.97
    assert classical(picture, levels={"mask": 60}).max() == 2  # two pieces, whatever the level
    assert classical(picture, smallest=1000).max() == 0
