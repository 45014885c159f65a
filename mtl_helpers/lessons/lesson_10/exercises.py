"""The checks of lesson 10, the GPU case study: nuclei in microscope pictures."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from scipy import ndimage
from torch import Tensor

from mtl_helpers.case_study.scores import match
from mtl_helpers.teaching.exercises.answers import as_numbers, compare, draws, is_empty
from mtl_helpers.teaching.exercises.core import exercise

# -------------------------------------------------------------------------------- 10.1: the split


@exercise(
    "10.1",
    "No slide on two sides",
    kind="fill one step",
    difficulty=1,
    minutes=5,
    right="whole slides go to one side or the other. A test picture that continues a training "
    "picture asks what was remembered, not what was learned.",
)
def sides(answer: Callable[[list[int]], Any]) -> str | None:
    """Check ``sides(groups)``: numbers of the training and of the test pictures."""
    for groups in ([7, 7, 3, 3, 3, 9], [12, 11, 10, 12, 11, 10, 12, 13], [20, 21]):
        given = answer(list(groups))
        if not isinstance(given, tuple | list) or len(given) != 2:
            return "give two lists back: the training pictures and the test pictures."
        train, test = ([int(i) for i in side] for side in given)
        if message := _wrong_sides(groups, train, test):
            return f"with groups = {groups}: {message}"
    return None


def _wrong_sides(groups: list[int], train: list[int], test: list[int]) -> str | None:
    count = len(groups)
    if {*train, *test} <= set(groups) and max(train + test, default=0) >= count:
        return "these are the numbers of slides; wanted are the places of the pictures, from 0."
    if not train or not test:
        return "one side is empty; both need at least one slide."
    if both := set(train) & set(test):
        return f"picture {min(both)} is on both sides."
    shared = {groups[i] for i in train if i < count} & {groups[i] for i in test if i < count}
    if shared:
        return (
            f"slide {min(shared)} has pictures on both sides: choose among slides, not among "
            "pictures."
        )
    if sorted(train + test) != list(range(count)):
        return f"every picture from 0 to {count - 1} belongs on one side, once."
    return None


# ----------------------------------------------------------------------------- 10.2: the boundary


def _border(labels: Tensor) -> Tensor:
    numbers = labels.float()[None, None]
    highest, lowest = F.max_pool2d(numbers, 3, 1, 1), -F.max_pool2d(-numbers, 3, 1, 1)
    return ((numbers > 0) & (highest != lowest))[0, 0]


def _of_mask(labels: Tensor) -> Tensor:
    return _border((labels > 0).long())


def _both_sides(labels: Tensor) -> Tensor:
    numbers = labels.float()[None, None]
    return (F.max_pool2d(numbers, 3, 1, 1) != -F.max_pool2d(-numbers, 3, 1, 1))[0, 0]


def _four(labels: Tensor) -> Tensor:
    found = torch.zeros(labels.shape, dtype=torch.bool)
    down, right = labels[1:] != labels[:-1], labels[:, 1:] != labels[:, :-1]
    found[1:] |= down
    found[:-1] |= down
    found[:, 1:] |= right
    found[:, :-1] |= right
    return found & (labels > 0)


def _with_edge(labels: Tensor) -> Tensor:
    return _border(F.pad(labels, (1, 1, 1, 1)))[1:-1, 1:-1]


def _wrapped(labels: Tensor) -> Tensor:
    moves = [(y, x) for y in (-1, 0, 1) for x in (-1, 0, 1)]
    other = [torch.roll(labels, move, (0, 1)) != labels for move in moves]
    return torch.stack(other).any(0) & (labels > 0)


def _blocks(g: torch.Generator) -> tuple[Tensor]:
    labels = torch.zeros(9, 10, dtype=torch.long)
    for k in range(1, 5):
        top, left = (int(torch.randint(0, 6, (1,), generator=g)) for _ in range(2))
        labels[top : top + 4, left : left + 4] = k
    return (labels,)


@exercise(
    "10.2",
    "A border between touching nuclei",
    kind="fill one step",
    difficulty=2,
    minutes=6,
    right="two nuclei that touch have no background between them; only their numbers tell them "
    "apart, so the border must be made from the numbers.",
)
def border(answer: Callable[[Tensor], Tensor]) -> str | None:
    """Check ``border(labels)``: which pixels of nuclei have a neighbour of another number."""
    small = torch.tensor(
        [[0, 0, 0, 0, 0, 0], [0, 1, 1, 1, 2, 2], [0, 1, 1, 1, 2, 2], [0, 1, 1, 1, 2, 2],
         [0, 0, 0, 0, 2, 2], [0, 0, 0, 0, 2, 2]]
    )  # fmt: skip
    high = torch.zeros(5, 10, dtype=torch.long)
    high[:, 3:7] = 1  # from edge to edge
    return compare(
        answer,
        right=_border,
        cases=[(small,), (high,), *draws(_blocks)],
        slips={
            "where two nuclei touch you mark nothing: you compared the mask (inside or outside); "
            "compare the numbers.": _of_mask,
            "you mark background pixels too; a border pixel here belongs to a nucleus.": (
                _both_sides
            ),
            "you looked at 4 neighbours; the corners count too, 8 in all.": _four,
            "you count the picture's edge as a border: pad with the pixel's own number, or with "
            "nothing, not with 0.": _with_edge,
            "torch.roll brings the far side of the picture back in: the first row is no "
            "neighbour of the last.": _wrapped,
        },
    )


# ----------------------------------------------------------------- 10.3: mask right, nuclei not


@exercise(
    "10.3",
    "A perfect mask that scores 0",
    kind="adversarial",
    difficulty=2,
    minutes=4,
    right="Dice 1 and score 0. A score over pixels cannot see what separates nuclei, so it cannot "
    "be what the study is judged by.",
)
def perfect_mask(true: Any, found: Any) -> str | None:
    """Check two label maps with the same mask, three true nuclei or more, and none found."""
    maps = [torch.as_tensor(np.asarray(one)) for one in (true, found)]
    if any(one.ndim != 2 or one.is_floating_point() for one in maps):
        return "give two label maps: lists of rows of whole numbers, 0 for background."
    if maps[0].shape != maps[1].shape:
        return f"the maps have shapes {list(maps[0].shape)} and {list(maps[1].shape)}; one picture."
    many = len(maps[0].unique()[maps[0].unique() > 0])
    if many < 3:
        return f"there are {many} true nuclei; at least 3 are asked for."
    inside = [one > 0 for one in maps]
    if (wrong := int((inside[0] != inside[1]).sum())) > 0:
        return f"{wrong} pixels are inside a nucleus in one map only; the masks must be the same."
    result = match(maps[1], maps[0], (0.5,))
    if int(result.tp[0]):
        return (
            f"{int(result.tp[0])} of the nuclei are still found (score {result.ap[0]:.2g}). Which "
            "wrong grouping leaves nobody with more than half?"
        )
    return None


# --------------------------------------------------------------------------------- 10.4: the score


@exercise(
    "10.4",
    "The score by hand",
    kind="explain with numbers",
    difficulty=1,
    minutes=4,
    right="exactly a half is not more than a half; and a pair that misses the threshold costs "
    "twice, as a false positive and as a false negative.",
)
def score(answer: Sequence[float]) -> str | None:
    """Check the score at IoU 0.5 and at 0.75 of the two strips."""
    if not isinstance(answer, tuple | list) or len(answer) != 2:
        return "give two numbers, the score at 0.5 and at 0.75."
    low, high = as_numbers(answer, shape=(2,), finite=False).tolist()
    if not (math.isfinite(low) and math.isfinite(high)):
        return f"give two numbers; {low:g} and {high:g} are not both numbers."
    wrong_low = {
        3 / 4: "a hit needs an IoU of *more* than 0.5: which pair has exactly a half?",
        1 / 2: "that is TP / (TP + FP): what was missed counts too.",
        2 / 3: "that is TP / (TP + FN): what was found for nothing counts too.",
        4 / 7: "that is F1, which counts a hit twice; the score does not.",
    }
    wrong_high = {
        1 / 5: "at 0.75 the pair with IoU 0.6 is lost twice: one more false positive and one more "
        "false negative.",
        2 / 5: "at 0.75 it is not the same: which pair has an IoU between the two thresholds?",
    }
    if not _near(low, 2 / 5):
        named = [text for value, text in wrong_low.items() if _near(low, value)]
        listed = (
            f"at 0.5 you have {low:.3g}. List the IoUs: 1, 3/5, and what else? Then TP, FP, FN."
        )
        return named[0] if named else listed
    if not _near(high, 1 / 6):
        named = [text for value, text in wrong_high.items() if _near(high, value)]
        again = f"the score at 0.5 is right; at 0.75 you have {high:.3g}. Count again what is left."
        return named[0] if named else again
    return None


def _near(value: float, right: float) -> bool:
    return abs(value - right) < 0.006


# ------------------------------------------------------------------------------ 10.5: augmentation


@exercise(
    "10.5",
    "Two silent bugs",
    kind="bug hunt",
    difficulty=2,
    minutes=6,
    right="draw once, move everything by the same draw, and never mix numbers of nuclei. A network "
    "trained on the faulty pairs would not complain: its losses would only stay high.",
)
def augment(answer: Callable[..., Any]) -> str | None:
    """Check ``augment(image, labels, generator)``: turned by quarters and doubled in size."""
    image = torch.arange(48.0).reshape(3, 4, 4)
    labels = torch.tensor([[0, 0, 7, 7], [3, 0, 7, 7], [3, 3, 0, 0], [3, 3, 0, 5]])
    turns = set()
    for seed in range(24):
        given, again = (
            answer(image.clone(), labels.clone(), torch.Generator().manual_seed(seed))
            for _ in range(2)
        )
        if not isinstance(given, tuple | list) or len(given) != 2 or is_empty(given):
            return "give two things back: the picture and its labels."
        moved, numbers = given
        if moved.shape != (3, 8, 8) or numbers.shape != (8, 8):
            return (
                f"shapes {list(moved.shape)} and {list(numbers.shape)} come back; expected "
                "[3, 8, 8] and [8, 8]: both doubled."
            )
        if odd := sorted(set(numbers.unique().tolist()) - {0, 3, 5, 7}):
            return (
                f"a nucleus with the number {odd[0]:.3g} came out; only 3, 5 and 7 went in. The "
                "mean of nucleus 3 and nucleus 7 is no nucleus: enlarge labels with mode='nearest'."
            )
        if numbers.is_floating_point():
            return "labels are whole numbers; these are decimal ones: .long() at the end."
        if not moved.is_floating_point():
            return "the picture came back in whole numbers; it came with decimals, leave it them."
        if not torch.equal(numbers, again[1]):
            return "two calls with one seed give two results: draw with generator=generator."
        turn = [k for k in range(4) if _turned(labels, k, numbers)]
        if not turn:
            return "the labels are not those that went in, turned by quarters and doubled."
        if message := _wrong_picture(image, turn[0], moved):
            return f"with seed {seed} the labels turned by {turn[0]} quarter(s); {message}"
        turns.add(turn[0])
    if len(turns) < 4:
        return f"in 24 draws the turns were {sorted(turns)}; 0, 1, 2 and 3 should come up."
    return None


def _turned(labels: Tensor, k: int, found: Tensor) -> bool:
    doubled = torch.rot90(labels, k, (0, 1)).repeat_interleave(2, 0).repeat_interleave(2, 1)
    return bool((doubled == found).all())


def _wrong_picture(image: Tensor, k: int, found: Tensor) -> str | None:
    """Compare means of 2x2 blocks: they do not depend much on how the picture was enlarged."""
    small = F.avg_pool2d(found.float()[None], 2)[0]
    off = [float((small - torch.rot90(image, j, (1, 2))).abs().mean()) for j in range(4)]
    nearest = min(range(4), key=off.__getitem__)
    if off[nearest] > 0.5:  # neighbouring pixels differ by 1 and by 4
        return "the picture that came with them is not the one that went in, turned and doubled."
    if nearest != k:
        return f"the picture turned by {nearest}: draw once, and turn both by that."
    return None


# --------------------------------------------------------------------------- 10.6: trained or used


def _shares(scores: Mapping[tuple[str, str], float]) -> tuple[float, float]:
    learned = scores["five", "mask"] - scores["one", "mask"]
    used = scores["five", "distance"] - scores["five", "mask"]
    return learned, used


def _cell(g: torch.Generator) -> tuple[dict[tuple[str, str], float]]:
    names = [("one", "components"), ("one", "mask"), ("five", "components"), ("five", "mask"),
             ("five", "distance")]  # fmt: skip
    return (
        dict(zip(names, torch.rand(5, generator=g, dtype=torch.float64).tolist(), strict=True)),
    )


@exercise(
    "10.6",
    "Trained, or used?",
    kind="tell apart",
    difficulty=2,
    minutes=5,
    right="change one thing at a time: the same steps after two networks, then two kinds of steps "
    "after one network. The two parts add up to the whole difference.",
)
def shares(answer: Callable[..., Any]) -> str | None:
    """Check ``shares(scores)``: what the trunk learned, and what using the head brought."""
    names = [("one", "components"), ("one", "mask"), ("five", "components"), ("five", "mask"),
             ("five", "distance")]  # fmt: skip
    small = dict(zip(names, (0.3, 0.5, 0.35, 0.53, 0.6), strict=True))
    keys = {k: (lambda s, k=k: s[k]) for k in names}
    one_c, one_m = keys["one", "components"], keys["one", "mask"]
    five_c, five_m, five_d = (keys["five", n] for n in ("components", "mask", "distance"))
    return compare(
        answer,
        right=_shares,
        cases=[(small,), *draws(_cell)],
        slips={
            "your first number is the whole difference: the network *and* the steps after it "
            "changed. Hold the steps at \"mask\".": (
                lambda s: (five_d(s) - one_m(s), five_d(s) - five_m(s))
            ),
            "your first number compares other steps on both sides: from \"components\" to "
            "\"mask\" nothing was learned.": (
                lambda s: (five_m(s) - one_c(s), five_d(s) - five_m(s))
            ),
            "your second number changes the network too; take the one that was trained on five "
            "tasks on both sides.": lambda s: (five_m(s) - one_m(s), five_d(s) - one_m(s)),
            "your first number holds the steps at \"components\"; the best that need no head are "
            "\"mask\".": lambda s: (five_c(s) - one_c(s), five_d(s) - five_m(s)),
            "your second number starts from \"components\"; the best steps that need no head are "
            "\"mask\".": lambda s: (five_m(s) - one_m(s), five_d(s) - five_c(s)),
            "turn the signs round: a gain is after minus before.": (
                lambda s: (one_m(s) - five_m(s), five_m(s) - five_d(s))
            ),
            "the two are the wrong way round.": (
                lambda s: (five_d(s) - five_m(s), five_m(s) - one_m(s))
            ),
            "your numbers start from \"components\"; the rival without the head may have markers "
            "from its mask: \"mask\".": (
                lambda s: (five_c(s) - one_c(s), five_d(s) - five_c(s))
            ),
        },
    )  # fmt: skip


# ------------------------------------------------------------------------------- 10.7: the markers


def _markers(mask: Tensor, distance: Tensor) -> np.ndarray:
    return ndimage.label(np.asarray(mask) & (np.asarray(distance) > 0.5))[0]


def _hills(g: torch.Generator) -> tuple[Tensor, Tensor]:
    rough = torch.rand(1, 1, 12, 14, generator=g)
    distance = F.avg_pool2d(rough, 3, 1, 1)[0, 0] * 1.2
    return torch.rand(12, 14, generator=g) > 0.2, distance


@exercise(
    "10.7",
    "Where a flood begins",
    kind="fill one step",
    difficulty=1,
    minutes=4,
    right="a marker, a nucleus: two in one piece of the mask cut it in two. (Beside them, a piece "
    "without a marker counts as one, and crumbs are dropped.)",
)
def markers(answer: Callable[..., Any]) -> str | None:
    """Check ``markers(mask, distance)``: the numbered pieces of the mask above 0.5."""
    mask = torch.tensor([[1, 1, 1, 1, 1, 1, 0], [1, 1, 1, 1, 1, 1, 0]], dtype=torch.bool)
    distance = torch.tensor(
        [[0.2, 0.9, 0.4, 0.8, 0.9, 0.1, 0.9], [0.2, 0.7, 0.3, 0.9, 0.9, 0.3, 0]]
    )
    return compare(
        answer,
        right=_markers,
        cases=[(mask, distance), *draws(_hills)],
        slips={
            "you number the pieces of the mask; nuclei that touch then share one marker.": (
                lambda m, d: ndimage.label(np.asarray(m))[0]
            ),
            "some markers lie outside the mask: a marker needs both, mask and distance.": (
                lambda m, d: ndimage.label(np.asarray(d) > 0.5)[0]
            ),
            "that says where markers are; number the connected pieces with ndimage.label.": (
                lambda m, d: np.asarray(m) & (np.asarray(d) > 0.5)
            ),
            "ndimage.label gives two things, the map and the number of pieces; take the first.": (
                lambda m, d: ndimage.label(np.asarray(m) & (np.asarray(d) > 0.5))
            ),
            "the middle of a nucleus has a *large* distance.": (
                lambda m, d: ndimage.label(np.asarray(m) & (np.asarray(d) < 0.5))[0]
            ),
        },
    )  # fmt: skip


# ---------------------------------------------------------------------------- 10.8: Dice in pieces


def _dice(p: Tensor, t: Tensor) -> Tensor:
    p, t = p.flatten(1), t.flatten(1)
    return (1 - (2 * (p * t).sum(1) + 1) / (p.sum(1) + t.sum(1) + 1)).mean()


def _as_one(p: Tensor, t: Tensor) -> Tensor:
    return 1 - (2 * (p * t).sum() + 1) / (p.sum() + t.sum() + 1)


def _pair(g: torch.Generator) -> tuple[Tensor, Tensor]:
    shape = (4, 1, 5, 6)
    size = torch.rand(4, 1, 1, 1, generator=g, dtype=torch.float64)
    there = torch.rand(shape, generator=g, dtype=torch.float64) < size
    return torch.rand(shape, generator=g, dtype=torch.float64), there.double()


@exercise(
    "10.8",
    "A loss that knows its neighbours",
    kind="bug hunt",
    difficulty=2,
    minutes=5,
    right="a mean over pictures can be cut anywhere; a ratio of sums over the batch cannot. Two "
    "processes would have trained on another loss than one.",
)
def dice(answer: Callable[[Tensor, Tensor], Tensor]) -> str | None:
    """Check ``loss_of_pictures(p, t)``: the mean of 1 - Dice, with 1 above and below."""
    p = torch.tensor([[[[0.8, 0.1]]], [[[0.5, 0.0]]]], dtype=torch.float64)
    t = torch.tensor([[[[1.0, 0.0]]], [[[0.0, 0.0]]]], dtype=torch.float64)
    return compare(
        answer,
        right=_dice,
        cases=[(p, t), *draws(_pair)],
        slips={
            "the batch is still one large picture: with the same pictures cut into two halves, the "
            "mean of the two losses is another number. Sum over the pixels of each picture.": (
                _as_one
            ),
            "that is Dice; the loss is 1 minus it.": lambda p, t: 1 - _dice(p, t),
            "give one number, the mean over the pictures.": lambda p, t: torch.stack(
                [_as_one(a, b) for a, b in zip(p, t, strict=True)]
            ),
            "you added up over the pictures; a sum grows with the batch. Take the mean.": (
                lambda p, t: len(p) * _dice(p, t)
            ),
            "the 1 above and below is gone: a picture without nuclei then gives 0/0.": (
                lambda p, t: (1 - 2 * (p * t).flatten(1).sum(1) / (p + t).flatten(1).sum(1)).mean()
            ),
        },
    )
