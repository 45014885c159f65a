"""Wrong answers of lesson 01, and a part of what each must be told."""

RIGHT = {
    "a": "multi-task", "b": "multi-label", "c": "transfer", "d": "meta-learning",
    "e": "co-training", "f": "single-task", "g": "multi-task", "h": "multi-task",
}  # fmt: skip


def settings(**changes):
    return f"setting = { ({**RIGHT, **changes})!r}"


IOU = """
def iou(first, second):
    low = torch.maximum({low1}, {low2})
    high = torch.minimum({high1}, {high2})
    common = (high - low){clamp}.prod()
    return common / ({area} - {minus})
"""
BOX = {
    "low1": "first[:2] - first[2:] / 2", "high1": "first[:2] + first[2:] / 2",
    "low2": "second[:2] - second[2:] / 2", "high2": "second[:2] + second[2:] / 2",
    "clamp": ".clamp(min=0)", "area": "first[2:].prod() + second[2:].prod()", "minus": "common",
}  # fmt: skip
CORNERS = {
    "low1": "first[:2]", "high1": "first[2:]", "low2": "second[:2]", "high2": "second[2:]",
    "area": "(first[2:] - first[:2]).prod() + (second[2:] - second[:2]).prod()",
}  # fmt: skip


def iou(**changes):
    return IOU.format(**{**BOX, **changes})


GAIN = """
def mean_gain(multi, single, higher_is_better):
    gains = []
    for k in multi:
        gain = (multi[k] - single[k]) / {base}
        gains.append(gain if {up} else -gain)
    return {scale} * sum(gains) / {count}
"""


def gain(base="single[k]", up="higher_is_better[k]", scale="100", count="len(gains)"):
    return GAIN.format(base=base, up=up, scale=scale, count=count)


WIDTH = """
import numpy as np
from scipy import stats

def half_width(ours, theirs):
    a, b = np.asarray(ours), np.asarray(theirs)
    n = len(a)
    return {}
"""
SAVING = "def saving(shared, head, tasks):\n    return "
PARTNER = "def best_partner(affinity, target):\n    return "
RANK = "import numpy as np\n\ndef rank_correlation(first, second):\n    return "
NEEDED = "def examples_needed(alone, together):\n    return "

SLIPS = {
    "01.1": [
        (settings(f="multi-task"), "situation f is not multi-task"),
        (settings(h="single-task"), "situation h is not single-task"),
        (settings(g="single-task"), "(an auxiliary task)"),
        (settings(c="multi-task"), "situation c is not multi-task"),
        (settings(a="both"), "'both' is none of"),
        ("setting = {'a': 'multi-task'}", "one name for each"),
    ],
    "01.3": [
        (iou(clamp=""), "minus times minus"),
        (iou(minus="0"), "subtract it from the sum"),
        (iou(**CORNERS), "two corners"),
        (iou(area="second[2:].prod()", minus="0"), "your answer is off"),
        (iou(area="torch.ones(())", minus="0"), "that is the overlap"),
        (
            iou(**{k: BOX[k].replace(" / 2", "") for k in ("low1", "low2", "high1", "high2")}),
            "half of the width",
        ),
    ],
    "01.4": [
        (SAVING + "(shared + tasks * head) / (tasks * (shared + head))", "what is left to pay"),
        (SAVING + "tasks * (shared + head) / (shared + tasks * head)", "on top"),
        (SAVING + "1 - 1 / tasks", "forgot the heads"),
        (SAVING + "(tasks - 1) * shared", "number of parameters saved"),
        (
            SAVING + "100 - 100 * (shared + tasks * head) / (tasks * (shared + head))",
            "not per cent",
        ),
    ],
    "01.5": [
        (gain(up="True"), "the sign must be turned"),
        (gain(up="not higher_is_better[k]"), "sign of the wrong tasks"),
        (gain(base="multi[k]"), "divided by the multi-task score"),
        (gain(base="1"), "plain differences"),
        (gain(scale="1"), "give percent"),
        (gain(count="1"), "average them over the tasks"),
    ],
    "01.2": [
        (
            "lie = {'single': {'A': .8, 'B': .2}, 'multi': {'A': .7, 'B': .2}}",
            "average accuracy does not rise",
        ),
        (
            "lie = {'single': {'A': .8, 'B': .2}, 'multi': {'A': .8, 'B': .3}}",
            "so does delta-m",
        ),
        (
            "lie = {'single': {'A': 80, 'B': 20}, 'multi': {'A': 90, 'B': 15}}",
            "at most at 1",
        ),
        ("lie = {'single': {'A': .8}, 'multi': {'A': .9}}", "tasks A and B"),
    ],
    "01.6": [
        (
            WIDTH.format(
                "stats.t.ppf(.975, n - 1) * np.hypot(a.std(ddof=1), b.std(ddof=1)) / n**.5"
            ),
            "as strangers",
        ),
        (
            WIDTH.format("2 * stats.t.ppf(.975, n - 1) * (a - b).std(ddof=1) / n**.5"),
            "the whole width",
        ),
        (WIDTH.format("stats.t.ppf(.95, n - 1) * (a - b).std(ddof=1) / n**.5"), "0.975"),
        (WIDTH.format("1.96 * (a - b).std(ddof=1) / n**.5"), "Student's t"),
        (WIDTH.format("stats.t.ppf(.975, n - 1) * (a - b).std(ddof=1)"), "spreads less"),
        (WIDTH.format("stats.t.ppf(.975, n - 1) * (a - b).std() / n**.5"), "ddof=1"),
    ],
    "01.7": [
        (PARTNER + "int(affinity[target].argmax())", "the task itself"),
        (
            PARTNER + "int((affinity - 9 * torch.eye(len(affinity)))[:, target].argmax())",
            "looked down a column",
        ),
        (PARTNER + "int(affinity[target].argmin())", "worst partner"),
        (
            PARTNER + "int(torch.cat([affinity[target][:target], "
            "affinity[target][target + 1:]]).argmax())",
            "move by one",
        ),
    ],
    "01.8": [
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
    ],
    "01.9": [
        (RANK + "np.corrcoef(first, second)[0, 1]", "ordinary correlation"),
        (RANK + "np.corrcoef(np.argsort(first), np.argsort(second))[0, 1]", "argsort once"),
        (
            RANK + "np.corrcoef(np.argsort(np.argsort(first)), "
            "-np.argsort(np.argsort(second)))[0, 1]",
            "turned one of them",
        ),
    ],
}
