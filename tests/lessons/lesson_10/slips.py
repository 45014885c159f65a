"""Wrong answers of lesson 10, and a part of what each must be told."""

SIDES = "def sides(groups):\n    n = len(groups)\n    slides = sorted(set(groups))\n    return "
BORDER = """
import torch.nn.functional as F

def border(labels):
    numbers = labels.float()[None, None]
    highest, lowest = F.max_pool2d(numbers, 3, 1, 1), -F.max_pool2d(-numbers, 3, 1, 1)
    return {}
"""
AUGMENT = """
import torch
import torch.nn.functional as F

def augment(image, labels, generator):
    draw = lambda: int(torch.randint(4, (1,), generator=generator))
    k = draw()
    j = {}
    image, labels = torch.rot90(image, k, (1, 2)), torch.rot90(labels, j, (0, 1))
    image = F.interpolate(image[None], scale_factor=2.0, mode="bilinear")[0]
    labels = F.interpolate(labels.float()[None, None], scale_factor=2.0, mode="{}")[0, 0]
    return {}
"""
SHARES = """
def shares(scores):
    one_c, one_m = scores["one", "components"], scores["one", "mask"]
    five_c, five_m = scores["five", "components"], scores["five", "mask"]
    five_d = scores["five", "distance"]
    return {}
"""
MARKERS = """
from scipy import ndimage

def markers(mask, distance):
    return {}
"""
DICE = """
def loss_of_pictures(p, t):
    a, b = p.flatten(1), t.flatten(1)
    each = (2 * (a * b).sum(1) + 1) / (a.sum(1) + b.sum(1) + 1)
    return {}
"""

SLIPS = {
    "10.1": [
        (SIDES + "list(range(n // 2)), list(range(n // 2, n))", "pictures on both sides"),
        (SIDES + "slides[1:], slides[:1]", "the numbers of slides"),
        (SIDES + "list(range(n)), []", "one side is empty"),
        (
            SIDES + "[i for i in range(n) if groups[i] == slides[0]], "
            "[i for i in range(n) if groups[i] == slides[1]]",
            "belongs on one side",
        ),
        (SIDES + "list(range(n)), [0]", "is on both sides"),
        (SIDES + "list(range(n))", "give two lists"),
    ],
    "10.2": [
        (
            BORDER.format("_edge((labels > 0).float()[None, None])")
            + "\ndef _edge(m):\n    low = -F.max_pool2d(-m, 3, 1, 1)\n"
            "    return ((m > 0) & (low == 0))[0, 0]\n",
            "compare the numbers",
        ),
        (BORDER.format("(highest != lowest)[0, 0]"), "you mark background pixels too"),
        (
            "import torch\n\ndef border(labels):\n    moves = [(0, 1), (1, 0), (0, -1), (-1, 0)]\n"
            "    inside = torch.nn.functional.pad(labels[None, None].double(), (1, 1, 1, 1), "
            "mode='replicate')[0, 0]\n"
            "    h, w = labels.shape\n"
            "    other = [inside[1 + y:1 + y + h, 1 + x:1 + x + w] != labels for y, x in moves]\n"
            "    return torch.stack(other).any(0) & (labels > 0)\n",
            "you looked at 4 neighbours",
        ),
        (
            "import torch.nn.functional as F\n\ndef border(labels):\n"
            "    numbers = F.pad(labels, (1, 1, 1, 1)).float()[None, None]\n"
            "    high, low = F.max_pool2d(numbers, 3, 1), -F.max_pool2d(-numbers, 3, 1)\n"
            "    return (labels > 0) & (high != low)[0, 0]\n",
            "the picture's edge as a border",
        ),
        (
            "import torch\n\ndef border(labels):\n"
            "    moves = [(y, x) for y in (-1, 0, 1) for x in (-1, 0, 1)]\n"
            "    other = [torch.roll(labels, m, (0, 1)) != labels for m in moves]\n"
            "    return torch.stack(other).any(0) & (labels > 0)\n",
            "torch.roll brings",
        ),
    ],
    "10.3": [
        ("true = [[1, 1, 2, 2, 3, 3]]\nfound = [[1, 1, 1, 1, 1, 0]]", "in one map only"),
        ("true = [[1, 1, 2, 2]]\nfound = [[1, 1, 1, 1]]", "2 true nuclei"),
        ("true = [[1, 1, 2, 2, 3, 3]]\nfound = [[1, 1, 1, 1, 2, 2]]", "still found"),
        ("true = [[1, 2, 3]]\nfound = [[1, 1, 1, 1]]", "one picture"),
        ("true = [[0.5, 1.0]]\nfound = [[1, 1]]", "whole numbers"),
    ],
    "10.4": [
        ("ap = [3 / 4, 1 / 6]", "exactly a half"),
        ("ap = [1 / 2, 1 / 4]", "what was missed counts too"),
        ("ap = [2 / 3, 1 / 3]", "found for nothing"),
        ("ap = [4 / 7, 2 / 7]", "counts a hit twice"),
        ("ap = [2 / 5, 1 / 5]", "lost twice"),
        ("ap = [2 / 5, 2 / 5]", "between the two thresholds"),
        ("ap = [2 / 5, 0.9]", "Count again what is left"),
        ("ap = [0.9, 1 / 6]", "List the IoUs"),
        ("ap = [2 / 5]", "give two numbers, the score"),
        ("ap = [float('nan')] * 2", "are not both numbers"),
    ],
    "10.5": [
        (AUGMENT.format("draw()", "nearest", "image, labels.long()"), "draw once"),
        (AUGMENT.format("k", "bilinear", "image, labels"), "mode='nearest'"),
        (AUGMENT.format("-k", "nearest", "image, labels.long()"), "draw once"),
        (AUGMENT.format("k", "nearest", "image"), "two things back"),
        (AUGMENT.format("k", "nearest", "image, labels[::2, ::2]"), "both doubled"),
        (AUGMENT.format("k", "nearest", "image, labels"), "whole numbers"),
        (AUGMENT.format("k", "nearest", "0 * image, labels.long()"), "is not the one that went in"),
        (AUGMENT.format("k", "nearest", "image.long(), labels.long()"), "decimals"),
        (
            AUGMENT.format("k", "nearest", "image, labels.long()").replace(
                ", generator=generator", ""
            ),
            "two calls with one seed",
        ),
        (
            AUGMENT.format("k", "nearest", "image, labels.flip(0).long()"),
            "the labels are not those",
        ),
        (
            "import torch\n\ndef augment(image, labels, generator):\n"
            "    big = lambda x: x.repeat_interleave(2, -1).repeat_interleave(2, -2)\n"
            "    return big(image), big(labels)\n",
            "should come up",
        ),
    ],
    "10.6": [
        (SHARES.format("five_d - one_m, five_d - five_m"), "the whole difference"),
        (SHARES.format("five_m - one_c, five_d - five_m"), "other steps on both sides"),
        (SHARES.format("five_m - one_m, five_d - one_m"), "changes the network too"),
        (SHARES.format("five_c - one_c, five_d - five_m"), "your first number holds the steps"),
        (SHARES.format("five_m - one_m, five_d - five_c"), "your second number starts from"),
        (SHARES.format("one_m - five_m, five_m - five_d"), "turn the signs round"),
        (SHARES.format("five_d - five_m, five_m - one_m"), "the wrong way round"),
        (SHARES.format("five_c - one_c, five_d - five_c"), "may have markers from its mask"),
    ],
    "10.7": [
        (MARKERS.format("ndimage.label(mask.numpy())[0]"), "share one marker"),
        (MARKERS.format("ndimage.label(distance.numpy() > 0.5)[0]"), "outside the mask"),
        (MARKERS.format("mask & (distance > 0.5)"), "number the connected pieces"),
        (MARKERS.format("ndimage.label((mask & (distance < 0.5)).numpy())[0]"), "*large*"),
    ],
    "10.8": [
        (
            "def loss_of_pictures(p, t):\n    both = (p * t).sum()\n"
            "    return 1 - (2 * both + 1) / (p.sum() + t.sum() + 1)",
            "one large picture",
        ),
        (DICE.format("each.mean()"), "that is Dice"),
        (DICE.format("1 - each"), "give one number"),
        (DICE.format("(1 - each).sum()"), "a sum grows"),
        (
            "def loss_of_pictures(p, t):\n    a, b = p.flatten(1), t.flatten(1)\n"
            "    return (1 - 2 * (a * b).sum(1) / (a.sum(1) + b.sum(1))).mean()",
            "0/0",
        ),
    ],
}
