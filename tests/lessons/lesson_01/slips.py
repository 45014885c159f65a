"""Wrong answers of lesson 01, and a part of what each must be told."""

import runpy
from pathlib import Path

RIGHT = {
    "a": "multi-task", "b": "multi-label", "c": "transfer", "d": "meta-learning",
    "e": "co-training", "f": "single-task", "g": "multi-task", "h": "multi-task",
}  # fmt: skip


def settings(**changes):
    return f"setting = { ({**RIGHT, **changes})!r}"


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

NETWORK = """
def shared_network(inputs, width, counters):
    return nn.Sequential(
        {first}, {second}, {heads},
    )
"""
LAYERS = {
    "first": "nn.Linear(inputs, width), nn.ReLU()",
    "second": "nn.Linear(width, width), nn.ReLU()",
    "heads": "nn.Linear(width, counters)",
}


def network(**changes):
    return NETWORK.format(**{**LAYERS, **changes})


APART = """
class Apart(nn.Module):
    def __init__(self, inputs, width, counters):
        super().__init__()
        self.nets = nn.ModuleList(
            nn.Sequential(nn.Linear(inputs, width), nn.ReLU(), nn.Linear(width, 1))
            for _ in range(counters)
        )

    def forward(self, x):
        return torch.cat([net(x) for net in self.nets], 1)

def shared_network(inputs, width, counters):
    return Apart(inputs, width, counters)
"""
COPIES = """
class Copies(nn.Module):
    def __init__(self, inputs, width, counters):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(inputs, width), nn.ReLU(), nn.Linear(width, 1))
        self.counters = counters

    def forward(self, x):
        return self.net(x).expand(-1, self.counters)

def shared_network(inputs, width, counters):
    return Copies(inputs, width, counters)
"""
FORGOTTEN = """
class Forgotten(nn.Module):
    def __init__(self, inputs, width, counters):
        super().__init__()
        self.trunk = nn.Sequential(nn.Linear(inputs, width), nn.ReLU())
        self.width, self.counters = width, counters

    def forward(self, x):
        return nn.Linear(self.width, self.counters)(self.trunk(x))

def shared_network(inputs, width, counters):
    return Forgotten(inputs, width, counters)
"""
MEAN = """
class Mean(nn.Module):
    def __init__(self, inputs, width, counters):
        super().__init__()
        self.net = nn.Sequential(
            nn.Linear(inputs, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU(),
            nn.Linear(width, counters),
        )

    def forward(self, x):
        return self.net(x - x.mean(0))

def shared_network(inputs, width, counters):
    return Mean(inputs, width, counters)
"""
PAYS = """
from scipy.stats import ttest_ind
from mtl_helpers.metrics import paired_interval

def who_loses(alone, together):
    return [k for k in alone if {}]
"""

SLIPS = {
    "01.1": [
        (network(heads="nn.Linear(width, 1)"), "a column for each counter"),
        (network(second="nn.Identity()"), "expected: "),
        (network(second="nn.Linear(width, width)"), "in another way"),
        (
            "def shared_network(inputs, width, counters):\n"
            "    return nn.ModuleDict({'trunk': nn.Linear(inputs, width)})",
            "no forward",
        ),
        (network(first="nn.Linear(inputs, width)", second="nn.Linear(width, width)"), "is linear"),
        (network(heads="nn.Linear(width, counters, bias=False)"), "in each of the"),
        (APART, "separate networks"),
        (COPIES, "has no parameter of its own"),
        (FORGOTTEN, "in every call"),
        (MEAN, "other examples"),
        (network(second="nn.Dropout(0.2), nn.Linear(width, width), nn.ReLU()"), "random (Dropout)"),
        (
            network().replace("return ", "net = ") + "\n    return net.requires_grad_(False)",
            "no gradient",
        ),
        ("def shared_network(inputs, width, counters):\n    return counters", "an nn.Module"),
    ],
    "01.2": [
        (
            WIDTH.format(
                "stats.t.ppf(.975, n - 1) * np.hypot(a.std(ddof=1), b.std(ddof=1)) / n**.5"
            ),
            "different ones",
        ),
        (
            WIDTH.format("2 * stats.t.ppf(.975, n - 1) * (a - b).std(ddof=1) / n**.5"),
            "the whole width",
        ),
        (WIDTH.format("stats.t.ppf(.95, n - 1) * (a - b).std(ddof=1) / n**.5"), "0.975"),
        (WIDTH.format("1.96 * (a - b).std(ddof=1) / n**.5"), "Student's t"),
        (WIDTH.format("stats.t.ppf(.975, n - 1) * (a - b).std(ddof=1)"), "spreads less"),
        (WIDTH.format("stats.t.ppf(.975, n - 1) * (a - b).std() / n**.5"), "ddof=1"),
        (WIDTH.format("stats.t.ppf(.975, n) * (a - b).std(ddof=1) / n**.5"), "n - 1 degrees"),
        (
            "import numpy as np\nfrom scipy import stats\n\n"
            "def half_width(ours, theirs):\n    ours -= theirs\n    n = len(ours)\n"
            "    return stats.t.ppf(.975, n - 1) * ours.std(ddof=1) / n**.5",
            "changes",
        ),
    ],
    "01.3": [
        (gain(up="True"), "the sign must be turned"),
        (gain(up="not higher_is_better[k]"), "sign of the wrong tasks"),
        (gain(base="multi[k]"), "divided by the multi-task score"),
        (gain(base="1"), "plain differences"),
        (gain(scale="1"), "give percent"),
        (gain(count="1"), "average them over the tasks"),
        (gain(up="k[0] == 'a'"), "your answer is off"),
    ],
    "01.4": [
        (PAYS.format("paired_interval(together[k], alone[k]).high < 0"), "those are the winners"),
        (PAYS.format("sum(together[k]) > sum(alone[k])"), "may be luck"),
        (PAYS.format("paired_interval(together[k], alone[k]).excludes_zero"), "winners too"),
        (PAYS.format("paired_interval(together[k], alone[k]).high > 0"), "Take the lower end"),
        (
            PAYS.format("ttest_ind(together[k], alone[k], alternative='greater').pvalue < 0.025"),
            "seed by seed",
        ),
        (
            PAYS.format("paired_interval(sorted(together[k]), sorted(alone[k])).low > 0"),
            "your answer is off",
        ),
        (PAYS.format("paired_interval(together[k], alone[k], level=0.9).low > 0"), "one of 90 %"),
        (
            PAYS.format("all(a > b for a, b in zip(together[k], alone[k]))"),
            "every seed is worse",
        ),
        ("def who_loses(alone, together):\n    return []", "your answer is off"),
    ],
    "01.5": [
        (SAVING + "(shared + tasks * head) / (tasks * (shared + head))", "what is left to pay"),
        (SAVING + "tasks * (shared + head) / (shared + tasks * head)", "on top"),
        (SAVING + "1 - 1 / tasks", "forgot the heads"),
        (SAVING + "(tasks - 1) * shared", "number of parameters saved"),
        (
            SAVING + "100 - 100 * (shared + tasks * head) / (tasks * (shared + head))",
            "not per cent",
        ),
    ],
    "01.6": [
        (settings(f="multi-task"), "situation f is not multi-task"),
        (settings(f="multi-domain"), "count the questions"),
        (settings(h="single-task"), "situation h is not single-task"),
        (settings(g="single-task"), "(an auxiliary task)"),
        (settings(c="multi-task"), "situation c is not multi-task"),
        (settings(a="both"), "'both' is none of"),
        ("setting = {'a': 'multi-task'}", "one name for each"),
    ],
}
SLIPS |= runpy.run_path(str(Path(__file__).with_name("deeper_slips.py")))["SLIPS"]
