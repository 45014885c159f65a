"""Wrong answers of the notebooks deeper than lesson 01, and a part of what each must be told."""

SAMPLED = "def sampled_loss(losses, chosen):\n    return "

IOU = """
def iou(first, second):
    low = torch.maximum({low1}, {low2})
    high = torch.minimum({high1}, {high2})
    common = {common}
    return common / ({area} - {minus})
"""
BOX = {
    "low1": "first[:2] - first[2:] / 2", "high1": "first[:2] + first[2:] / 2",
    "low2": "second[:2] - second[2:] / 2", "high2": "second[:2] + second[2:] / 2",
    "common": "(high - low).clamp(min=0).prod()",
    "area": "first[2:].prod() + second[2:].prod()", "minus": "common",
}  # fmt: skip
CORNERS = {
    "low1": "first[:2]", "high1": "first[2:]", "low2": "second[:2]", "high2": "second[2:]",
    "area": "(first[2:] - first[:2]).prod() + (second[2:] - second[:2]).prod()",
}  # fmt: skip


def iou(**changes):
    return IOU.format(**{**BOX, **changes})


LOUD = """
def loudness(loss, trunk):
    slopes = torch.autograd.grad(loss, list(trunk.parameters()), retain_graph=True)
    return {}
"""
BACKWARD = """
def loudness(loss, trunk):
    loss.backward({keep})
    return torch.cat([p.grad.flatten() for p in trunk.parameters()]).norm()
"""
PARTNER = "def best_partner(affinity, target):\n    return "
RANK = """
import numpy as np
from scipy import stats

def rank_correlation(first, second):
    return """
NEEDED = "import numpy as np\n\ndef examples_needed(alone, together):\n    return "
EDGE = "def at_edge(chosen, grid):\n    return "
VECTOR = "import math\n\ndef second_vector(u1, u2, p):\n    return "
PAIRS = {
    "a": ("relatives", "alone"), "b": ("ninth", "relatives"), "c": ("stranger", "ninth"),
    "d": ("stranger", "alone"),
}  # fmt: skip


def pairs(**changes):
    return f"pairs = { ({**PAIRS, **changes})!r}"


SLIPS = {
    "01.11": [
        (iou(common="(high - low).prod()"), "minus times minus"),
        (iou(common="(high - low).prod().clamp(min=0)"), "a negative *area*"),
        (iou(minus="0"), "counts the common part once"),
        (iou(**CORNERS), "two corners"),
        (
            iou(
                low1="first[:2] - first[2:]",
                high1="first[:2] + first[2:]",
                low2="second[:2] - second[2:]",
                high2="second[:2] + second[2:]",
            ),
            "half of the width",
        ),
        ("def iou(first, second):\n    return first[2:].prod()", "your answer is off"),
        (iou(area="torch.minimum(first[2:].prod(), second[2:].prod())", minus="0"), "smaller box"),
    ],
    "01.12": [
        (
            LOUD.replace("list(trunk.parameters())", "list(trunk.parameters())[:2]").format(
                "torch.cat([s.flatten() for s in slopes]).norm()"
            ),
            "of two layers",
        ),
        (LOUD.format("sum(g.norm() for g in slopes)"), "one vector first"),
        (LOUD.format("sum(g.square().sum() for g in slopes)"), "take the root"),
        (LOUD.format("slopes[0].norm()"), "the bias belongs to the trunk too"),
        (LOUD.format("max(g.abs().max() for g in slopes)"), "the largest entry"),
        (LOUD.format("torch.cat([g.flatten() for g in slopes]).abs().mean()"), "that is a mean"),
        (LOUD.format("loss"), "the loss itself"),
        (LOUD.format("loss + 1"), "so the norm is 5"),
        (LOUD.format("torch.cat([g.flatten() for g in slopes])"), "one number per loss"),
        (BACKWARD.format(keep="retain_graph=True"), "adds to the stored"),
        (BACKWARD.format(keep=""), "your function raised"),
    ],
    "01.13": [
        (pairs(c=("stranger", "relatives")), "only *who* the ninth is"),
        (pairs(b=("ninth", "alone")), "a relative joins"),
        (pairs(d=("stranger", "ninth")), "its owner can only choose"),
        (pairs(a=("alone", "alone")), "two different arms"),
        (pairs(a=("alone", "together")), "'together' is none of"),
        ("pairs = {'a': ('alone', 'relatives')}", "two names for each"),
    ],
    "01.14": [
        (NEEDED + "next((n for n in alone if alone[n] <= together), float('inf'))", "first hit"),
        (
            NEEDED + "max((n for n, e in alone.items() if e > together), default=float('inf'))",
            "*not* enough",
        ),
        (
            NEEDED + "max((e for e in alone.values() if e <= together), default=float('inf'))",
            "gave the error",
        ),
        (NEEDED + "max(alone)", "smallest number"),
        (
            NEEDED + "min((n for n, e in alone.items() if e < together), default=float('inf'))",
            "equal is good enough",
        ),
        (NEEDED + "min(n for n, e in alone.items() if e <= together)", "your function raised"),
        (
            NEEDED
            + "float(np.interp(-together, [-alone[n] for n in sorted(alone)], sorted(alone)))",
            "between the measured numbers",
        ),
    ],
    "01.15": [
        (PARTNER + "int(affinity[target].argsort()[-2])", "your answer is off"),
        (PARTNER + "int(affinity[target].argmax())", "the task itself"),
        (
            PARTNER + "int((affinity - 99 * torch.eye(len(affinity)))[:, target].argmax())",
            "looked down a column",
        ),
        (PARTNER + "int(affinity[target].argmin())", "worst partner"),
        (
            PARTNER + "int(torch.cat([affinity[target][:target], "
            "affinity[target][target + 1:]]).argmax())",
            "move by one",
        ),
        (
            PARTNER + "int((affinity * (1 - torch.eye(len(affinity))))[target].argmax())",
            "all partners harm",
        ),
        (
            PARTNER + "int((affinity.abs() - 9 * torch.eye(len(affinity)))[target].argmax())",
            "largest *absolute* value",
        ),
    ],
    "01.16": [
        (RANK + "np.corrcoef(first, second)[0, 1]", "ordinary correlation"),
        (RANK + "np.corrcoef(np.argsort(first), np.argsort(second))[0, 1]", "argsort once"),
        (
            RANK + "np.corrcoef(np.argsort(np.argsort(first)), "
            "-np.argsort(np.argsort(second)))[0, 1]",
            "turned one of them",
        ),
        (RANK + "abs(stats.spearmanr(first, second).statistic)", "the sign is lost"),
        (RANK + "stats.kendalltau(first, second).statistic", "Kendall"),
    ],
    "01.17": [
        (EDGE + "chosen in (0.001, 0.1)", "your answer is off"),
        (EDGE + "chosen == min(grid) or max(grid)", "both sides of"),
        (EDGE + "chosen in (grid[0], grid[-1])", "need not be in order"),
        (EDGE + "chosen == max(grid)", "smallest value is an edge"),
        (EDGE + "chosen == min(grid)", "largest value is an edge"),
        (EDGE + "min(grid) < chosen < max(grid)", "the opposite"),
        (EDGE + "chosen in grid", "your answer is off"),
    ],
    "01.18": [
        (VECTOR + "p * u1 + (1 - p) * u2", "too short"),
        (VECTOR + "math.cos(p) * u1 + math.sin(p) * u2", "not the angle"),
        (VECTOR + "math.sqrt(1 - p**2) * u1 + p * u2", "mixed the two up"),
        (VECTOR + "p * u1 + (1 - p**2) * u2", "the *root* of"),
        (VECTOR + "p * u1", "the part that is left"),
        (VECTOR + "u1 + p * u2", "the length and the cosine"),
    ],
    "01.19": [
        (SAMPLED + "losses[list(chosen)].sum()", "too small"),
        (SAMPLED + "losses[list(chosen)].mean()", "mean over the tasks drawn"),
        (SAMPLED + "len(chosen) / len(losses) * losses[list(chosen)].sum()", "upside down"),
        (SAMPLED + "losses.sum()", "sum over all tasks"),
        (SAMPLED + "len(losses) * losses[list(chosen)].detach().mean()", "no gradient"),
    ],
}
